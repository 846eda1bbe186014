import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createCredentials } from '../src/http/access/credentials.ts';
import { createLog } from '../src/log/log.ts';
import type { Credential } from '../src/pipeline/ports.ts';
import { type ManualClock, createManualClock, settled } from './support/clock.ts';
import { PROJECT } from './support/factory.ts';
import { heldBytes } from './support/garbage.ts';

const MINUTE_MS = 60_000;
const OUTAGE_MS = 15 * MINUTE_MS;
const CREDENTIAL: Credential = {
  projectId: PROJECT,
  kind: 'public',
  retentionSeconds: null,
  allowedOrigins: [],
};

/** A table of tokens that can be away, and slow. `queries` lists how many hashes each query asked for. */
function createTokenTable(clock: ManualClock, live: readonly string[] = ['good']) {
  const hashes = new Set(live.map((token) => hash('sha256', token)));
  const table = { isDown: false, latencyMs: 0, queries: [] as number[], revokeAll: () => hashes.clear(), add };
  return { ...table, lookUp };

  function add(token: string) {
    hashes.add(hash('sha256', token));
  }
  async function lookUp(this: typeof table, asked: readonly string[]) {
    this.queries.push(asked.length);
    // A revocation that comes after the query has read the table is not in its answer.
    const answer = new Map(asked.filter((one) => hashes.has(one)).map((one) => [one, CREDENTIAL]));
    if (this.latencyMs > 0) await clock.sleep(this.latencyMs);
    if (this.isDown) throw new Error('the table is away');
    return answer;
  }
}

function setUp(live?: readonly string[]) {
  const clock = createManualClock();
  const table = createTokenTable(clock, live);
  const credentials = createCredentials({
    lookUp: (asked) => table.lookUp(asked),
    clock,
    log: createLog('silent'),
  });
  return { clock, table, credentials };
}

describe('a found token', () => {
  test('is asked for once in a minute', async () => {
    const { clock, table, credentials } = setUp();
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    await clock.advance(29_999);
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    expect(table.queries).toEqual([1]);
  });

  test('that is in use is asked for again before its minute is over, and nobody waits for that', async () => {
    const { clock, table, credentials } = setUp();
    await credentials.find('good');
    await clock.advance(30_000);
    table.latencyMs = 1_000;
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    await clock.advance(1_000);
    await clock.advance(50_000);
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    expect(table.queries).toEqual([1, 1, 1]);
  });

  test('is refused within 60 s of its revocation, however slow the query was', async () => {
    const { clock, table, credentials } = setUp();
    table.latencyMs = 4_000;
    const first = credentials.find('good');
    await clock.advance(0);
    table.revokeAll();
    await clock.advance(4_000);
    expect(await first).toEqual(CREDENTIAL);
    table.latencyMs = 0;
    await clock.advance(56_000);
    expect(await credentials.find('good')).toBeNull();
  });

  test('that is in constant use is refused within 60 s of its revocation', async () => {
    const { clock, table, credentials } = setUp();
    await credentials.find('good');
    table.revokeAll();
    for (let second = 0; second < 60; second++) {
      await clock.advance(1_000);
      void credentials.find('good');
    }
    await settled();
    expect(await credentials.find('good')).toBeNull();
  });
});

describe('an unknown token', () => {
  test('is asked for every five seconds at most', async () => {
    const { clock, table, credentials } = setUp([]);
    expect(await credentials.find('none')).toBeNull();
    await clock.advance(4_999);
    expect(await credentials.find('none')).toBeNull();
    expect(table.queries).toEqual([1]);
    await clock.advance(1);
    expect(await credentials.find('none')).toBeNull();
    expect(table.queries).toEqual([1, 1]);
  });

  test('works within five seconds of its creation', async () => {
    const { clock, table, credentials } = setUp([]);
    await credentials.find('new');
    table.add('new');
    await clock.advance(5_000);
    expect(await credentials.find('new')).toEqual(CREDENTIAL);
  });

  test('does not displace a good one, however many there are', async () => {
    const { table, credentials } = setUp();
    await credentials.find('good');
    await Promise.all(Array.from({ length: 15_000 }, async (_, i) => credentials.find(`random ${i}`)));
    table.isDown = true;
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
  });
});

describe('while the table cannot be asked', () => {
  test('a known token goes on for 15 minutes beyond its minute, and no longer', async () => {
    const { clock, table, credentials } = setUp();
    await credentials.find('good');
    table.isDown = true;
    await clock.advance(MINUTE_MS + OUTAGE_MS - 1);
    expect(credentials.hasUsable()).toBe(true);
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    await clock.advance(1);
    expect(credentials.hasUsable()).toBe(false);
    await expect(credentials.find('good')).rejects.toThrow('the table is away');
  });

  test('an unknown token is an error, never an unknown one', async () => {
    const { table, credentials } = setUp();
    table.isDown = true;
    await expect(credentials.find('good')).rejects.toThrow('the table is away');
    table.isDown = false;
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
  });

  test('known tokens in use do not wait for the table again and again', async () => {
    const { clock, table, credentials } = setUp();
    await credentials.find('good');
    await clock.advance(MINUTE_MS);
    Object.assign(table, { isDown: true, latencyMs: 5_000 });
    const first = credentials.find('good');
    await clock.advance(5_000);
    expect(await first).toEqual(CREDENTIAL);
    for (let second = 0; second < 60; second++) {
      expect(await credentials.find('good')).toEqual(CREDENTIAL);
      await clock.advance(1_000);
    }
  });

  test('a revocation that was missed takes effect at the first use after the outage', async () => {
    const { clock, table, credentials } = setUp();
    await credentials.find('good');
    table.isDown = true;
    await clock.advance(MINUTE_MS);
    expect(await credentials.find('good')).toEqual(CREDENTIAL);
    table.isDown = false;
    table.revokeAll();
    await clock.advance(MINUTE_MS);
    expect(await credentials.find('good')).toBeNull();
  });
});

describe('many at once', () => {
  test('share one query, each hash once', async () => {
    const { table, credentials } = setUp();
    await Promise.all(['good', 'good', 'a', 'b', 'good'].map(async (token) => credentials.find(token)));
    expect(table.queries).toEqual([3]);
  });

  test('ten thousand random tokens cost a handful of queries', async () => {
    const { table, credentials } = setUp();
    await Promise.all(Array.from({ length: 10_000 }, async (_, i) => credentials.find(`random ${i}`)));
    expect(table.queries.length).toBeLessThanOrEqual(21);
  });

  test('wait in bounded numbers: one too many fails at once', async () => {
    const { clock, table, credentials } = setUp();
    table.latencyMs = 1_000;
    const waiting = Promise.allSettled(Array.from({ length: 20_000 }, async (_, i) => credentials.find(`random ${i}`)));
    await expect(credentials.find('one too many')).rejects.toThrow('too many token look-ups');
    await clock.advance(60_000);
    await waiting;
    expect(await Promise.race([credentials.find('one too many'), clock.advance(1_000)])).toBeNull();
  });

  test('wait no longer than two failing queries take, however many wait', async () => {
    const { clock, table, credentials } = setUp();
    Object.assign(table, { isDown: true, latencyMs: 5_000 });
    let failed = 0;
    for (let i = 0; i < 5_000; i++) void Promise.resolve(credentials.find(`random ${i}`)).catch(() => failed++);
    await clock.advance(10_000);
    expect(failed).toBe(5_000);
  });
});

test('a token that stood in a body does not keep the body', async () => {
  const { credentials } = setUp();
  const before = heldBytes();
  for (let sent = 0; sent < 100; sent += 1) {
    const body = Buffer.alloc(1_000_000, `${sent} is no token that anybody has; `).toString('latin1');
    await credentials.find(body.slice(0, 40));
  }
  expect(heldBytes() - before).toBeLessThan(30_000_000);
});
