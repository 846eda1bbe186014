/**
 * Faults of the one database that stores the events, the dead letters and the tokens: a real Weir, and every event
 * accounted for by its id. A longer run of the kills: WEIR_KILL_ROUNDS=200, or `npm run chaos -- --store postgres`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type PostgresRig, type WeirPlace, healthOf, isReady, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { type Grounds, endCleanly, logOf, startPostgresGrounds } from '../support/grounds.ts';
import { type Load, addPoisonConstraint, auditOf, wrongIn } from '../support/load.ts';

const ROUNDS = Number(process.env['WEIR_KILL_ROUNDS'] ?? 4);
const SEED = Number(process.env['WEIR_KILL_SEED'] ?? 1);
/** The statement that ends an insert: what it did is kept, and its answer lost. */
const COMMIT = /\bcommit\b/i;

let grounds: Grounds<PostgresRig>;
let rig: PostgresRig;
let weir: WeirPlace;
let load: Load;

beforeAll(async () => {
  grounds = await startPostgresGrounds();
  rig = grounds.rig;
  weir = await grounds.newWeir({ INGEST_INSERT_TIMEOUT: '2s' });
});
afterAll(() => rig?.stop());
beforeEach(async () => {
  await grounds.clear();
  load = grounds.sender(weir);
  // The token is known from now on, whatever becomes of Postgres.
  expect(await load.send(1, { ack: 'stored' })).toBe('acknowledged');
  // On a slow machine it may have become a dead letter first, its insert in doubt.
  await grounds.rest(weir);
});
afterEach(() => grounds.heal());

const sendMany = async (requests: number, events = 50) => {
  const sent = await Promise.all(Array.from({ length: requests }, () => load.send(events)));
  expect(sent).toEqual(sent.map(() => 'acknowledged'));
};
const lettersNow = async () =>
  (await rig.stores.select<{ letters: number }>('SELECT count(*)::int AS letters FROM failed_events'))[0]!.letters;
const settle = async (stored: number) => {
  expect(await grounds.expectKept(weir)).toMatchObject({ acknowledged: stored, stored, quarantined: 0 });
};

describe('an outage', () => {
  /** A thousand acknowledged events that the database does not take. */
  async function makeHomeless(away: () => Promise<unknown> | void) {
    await away();
    const attempts = Array.from({ length: 20 }, () => load.send(50));
    await until('fatal', async () => (await healthOf(weir.url()))?.status === 'down');
    return Promise.all(attempts);
  }

  test('of the one database keeps everything where it is, says so once, and is over by itself', async () => {
    const sending = makeHomeless(() => rig.postgres.refuse());
    let reasons: readonly string[] = [];
    await until('health says both what is away and what that does to events', async () => {
      reasons = (await healthOf(weir.url()))?.reasons ?? [];
      return (
        reasons.includes('Postgres does not answer') &&
        reasons.some((reason) => /^\d+ batches are in memory only: Postgres does not accept them$/.test(reason))
      );
    });
    expect(reasons.join()).not.toMatch(/clickhouse/i);
    expect(reasons.filter((reason) => reason === 'Postgres does not answer')).toHaveLength(1);
    expect(await isReady(weir.url())).toBe(false);
    await rig.postgres.accept();
    await until('ready without a restart', () => isReady(weir.url()));
    await sending;
    await settle(1_001);
    expect(logOf(weir)).not.toMatch(/clickhouse/i);
  });

  test('a frozen one, thawed', async () => {
    const sending = makeHomeless(() => rig.stores.postgresServer.pause());
    await until('fatal', async () => (await healthOf(weir.url()))?.status === 'down');
    rig.stores.postgresServer.resume();
    await sending;
    await settle(1_001);
  });

  test('with SIGTERM in it: the next start brings everything home', async () => {
    await sendMany(2);
    await rig.postgres.refuse();
    const sending = Promise.all(Array.from({ length: 4 }, () => grounds.post(weir, grounds.newBody(50).body)));
    await sending;
    await endCleanly(weir);
    await weir.start();
    await grounds.heal();
    await until('ready', () => isReady(weir.url()));
    await grounds.rest(weir);
    expect(wrongIn(await auditOf(rig.stores, grounds.tally()))).toEqual([]);
  });

  test('kill -9 of the database in the middle of inserts', async () => {
    const sending = Promise.all(Array.from({ length: 20 }, () => load.send(200)));
    await rig.stores.postgresServer.kill();
    await rig.postgres.refuse();
    await rig.stores.postgresServer.start();
    await rig.postgres.accept();
    await sending;
    await until('ready', () => isReady(weir.url()));
    await settle(4_001);
  });
});

describe('an answer that is lost', () => {
  test.each([
    ['of commits', COMMIT],
    ['of inserts', /event_batches/],
  ])('%s: what was stored is stored once', async (_, message) => {
    const before = rig.postgres.hits();
    rig.postgres.set({ kind: 'commit-then-cut', message }, { times: 3 });
    await sendMany(10);
    await until('it has struck', () => rig.postgres.hits() > before);
    await settle(501);
  });
});

test('poison is isolated, exactly, also while commits are cut; the rest lands', async () => {
  await addPoisonConstraint(rig.stores);
  try {
    rig.postgres.set({ kind: 'commit-then-cut', message: COMMIT }, { times: 2 });
    await Promise.all(Array.from({ length: 8 }, () => load.send(50, { poisoned: 3 })));
    await until('all poison is quarantined', async () => {
      const audit = await auditOf(rig.stores, grounds.tally());
      return audit.quarantined === 24;
    });
    expect(await grounds.expectKept(weir)).toMatchObject({ stored: 377, quarantined: 24 });
  } finally {
    await rig.stores.select('ALTER TABLE analytics.events_raw DROP CONSTRAINT no_poison');
  }
});

test('a table that is missing quarantines nothing: its events wait as letters, and land when it is back', async () => {
  await rig.stores.select('ALTER TABLE analytics.event_batches RENAME TO event_batches_away');
  try {
    await sendMany(6);
    await until('they wait as letters', async () => (await lettersNow()) > 0);
    await until('health says so', async () => (await healthOf(weir.url()))?.status === 'degraded');
  } finally {
    await rig.stores.select('ALTER TABLE analytics.event_batches_away RENAME TO event_batches');
  }
  await settle(301);
});

describe('the process', () => {
  const TROUBLES: Record<string, () => unknown> = {
    none: () => {},
    'the database frozen': () => rig.stores.postgresServer.pause(),
    'commits cut': () => rig.postgres.set({ kind: 'commit-then-cut', message: COMMIT }, { times: 3 }),
    'the database away': () => rig.postgres.refuse(),
  };

  test.each(['kill', 'terminate'] as const)(
    `%s under load, ${ROUNDS} times: of what was answered nothing is missing, nothing is doubled`,
    { timeout: 60_000 + ROUNDS * 60_000 },
    async (way) => {
      const random = randomOf(SEED);
      const place = await grounds.newWeir({ INGEST_INSERT_TIMEOUT: '1s', INGEST_SHUTDOWN_GRACE: '3s' });
      const names = Object.keys(TROUBLES);
      let answered = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const trouble = names[round % names.length]!;
        const stop = new AbortController();
        const running = grounds.load(place, { seed: SEED + round, stop: stop.signal });
        await sleep(random() * 400);
        await TROUBLES[trouble]!();
        await sleep(50 + random() * 500);
        const code = await (way === 'kill' ? place.kill() : place.terminate());
        if (way === 'terminate') expect({ round, trouble, code }).toMatchObject({ code: 0 });
        await place.start();
        await sleep(random() * 300);
        await grounds.heal();
        await until('ready', () => isReady(place.url()));
        stop.abort();
        await running.done;
        answered += running.acknowledged();
        await grounds.rest(place);
        const audit = await auditOf(rig.stores, grounds.tally());
        expect({ round, trouble, seed: SEED, wrong: wrongIn(audit) }).toMatchObject({ wrong: [] });
      }
      expect(answered).toBeGreaterThan(ROUNDS);
      await place.kill();
    },
  );
});
