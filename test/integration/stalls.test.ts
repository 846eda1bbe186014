/** Health tells whoever asks from outside that nothing lands, or nothing leaves, whatever the cause is called. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../chaos/rig.ts';
import { type OpenDoor, openDoor } from '../support/door.ts';
import { type HttpProxy, startHttpProxy } from '../support/fault-proxy.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { parsePage } from '../support/prometheus.ts';
import { commandWeir } from '../support/weir.ts';

const TABLE = 'analytics.events_raw_v1';

let stores: Stores;
let proxy: HttpProxy;
let door: OpenDoor;
let authorization: string;

beforeAll(async () => {
  stores = await startStores();
  proxy = await startHttpProxy(stores.clickhouseUrl);
  const quick = { INGEST_FLUSH_INTERVAL: '50ms', DLQ_DRAIN_INTERVAL: '100ms' };
  door = await openDoor({ databaseUrl: stores.databaseUrl, clickhouseUrl: proxy.url }, quick);
  await door.weir.migrated;
  const { id } = await door.weir.projects.create({ name: 'shop', retentionSeconds: null, allowedOrigins: [] });
  const token = await door.weir.tokens.create({ projectId: id, kind: 'public', name: null, imported: null });
  authorization = `Bearer ${token!.plaintext}`;
  await until('at rest', async () => (await reasons()).length === 0);
});
afterAll(async () => {
  await door?.stop();
  await proxy?.stop();
  await stores?.stop();
});

const run = (query: string) => stores.clickhouse.command({ query });
const ask = (query: string) => stores.postgres.pool.query(query);
const reasons = async () => (await door.health())['reasons'] as string[];
const says = async (pattern: RegExp) => (await reasons()).some((reason) => pattern.test(reason));
const send = (event: string) =>
  door.send({ events: [{ event, timestamp: new Date().toISOString() }] }, { authorization });
const page = async () => (await door.ask('/internal/metrics')).text;
const valueOf = (text: string, name: string) => {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? null : Number(line.split(' ')[1]);
};
const stored = async () => (await stores.select<{ n: string }>(`SELECT count() AS n FROM ${TABLE}`))[0]!.n;

/** Sends now and then until health says so: nothing lands, whatever is tried. */
async function untilSaid(pattern: RegExp) {
  await until(
    `health says ${pattern}`,
    async () => {
      await send('stuck');
      return says(pattern);
    },
    50_000,
  );
}

describe('batches that ClickHouse does not take', () => {
  const TROUBLES = [
    {
      name: 'too many parts',
      hurt: async () => {
        await run(`SYSTEM STOP MERGES ${TABLE}`);
        await run(`ALTER TABLE ${TABLE} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0`);
        await send('one part');
        await until('a part is there', async () => Number(await stored()) > 0);
      },
      heal: async () => {
        await run(`ALTER TABLE ${TABLE} RESET SETTING parts_to_throw_insert, parts_to_delay_insert`);
        await run(`SYSTEM START MERGES ${TABLE}`);
      },
      cause: /\(capacity, code 252\)$/,
    },
    {
      name: 'a code that nobody knows',
      hurt: async () => proxy.set({ kind: 'answer', status: 500, code: 9_999 }, { only: 'inserts' }),
      heal: async () => proxy.set(null),
      cause: /\(unknown, code 9999\)$/,
    },
  ];

  test.each(TROUBLES)('$name: degraded until one lands', { timeout: 120_000 }, async ({ hurt, heal, cause }) => {
    await hurt();
    await untilSaid(/^no batch has landed since .+ though \d+ were tried/);
    expect(await door.health()).toMatchObject({ status: 'degraded', breaker: 'closed', clickhouse_connected: true });
    expect((await reasons()).find((reason) => reason.startsWith('no batch has landed'))).toMatch(cause);
    const before = valueOf(await page(), 'weir_last_insert_success_timestamp_seconds');

    await heal();
    await until(
      'health is ok',
      async () => {
        await send('landing');
        return (await door.health())['status'] === 'ok';
      },
      50_000,
    );
    const after = valueOf(await page(), 'weir_last_insert_success_timestamp_seconds')!;
    expect(after).toBeGreaterThan(before ?? 0);
    expect(Math.abs(after - Date.now() / 1_000)).toBeLessThan(600);
  });
});

test('the page is one that Prometheus reads, whatever has happened', async () => {
  expect(parsePage(await page()).problems).toEqual([]);
});

test('a drain that is paused: since when and by whom, until it is resumed', async () => {
  const weir = (...args: string[]) =>
    commandWeir(['dlq', ...args], { cwd: '/nonexistent', env: { DATABASE_URL: stores.databaseUrl } });
  expect((await weir('pause', '--actor', 'ada')).code).toBe(0);
  await until('it is said', () => says(/^the drain has been paused since \d{4}-\S+Z by ada$/));
  expect((await weir('resume', '--actor', 'ada')).code).toBe(0);
  await until('it is over', async () => (await reasons()).length === 0);
});

test('passes over the dead letters that fail, while Postgres answers', { timeout: 120_000 }, async () => {
  await ask('ALTER TABLE failed_events RENAME TO elsewhere');
  try {
    await until('it is said', () => says(/^drain passes have been failing since \S+Z \(42P01\)$/), 50_000);
    expect(await door.health()).toMatchObject({ status: 'degraded', postgres_connected: true });
  } finally {
    await ask('ALTER TABLE elsewhere RENAME TO failed_events');
  }
  const last = valueOf(await page(), 'weir_last_drain_pass_success_timestamp_seconds')!;
  await until('it is over', async () => (await reasons()).length === 0);
  await until(
    'a pass succeeded',
    async () => valueOf(await page(), 'weir_last_drain_pass_success_timestamp_seconds')! > last,
  );
});

test('a Postgres that takes no writes is degraded at once, and said in the log and on the page', async () => {
  await ask('ALTER SYSTEM SET default_transaction_read_only = on');
  await ask('SELECT pg_reload_conf()');
  await until('it is said', () => says(/^Postgres is read-only and cannot store dead letters$/));
  expect(await door.health()).toMatchObject({ status: 'degraded', postgres_connected: true });
  expect(valueOf(await page(), 'weir_postgres_writable')).toBe(0);
  expect(valueOf(await page(), 'weir_postgres_up')).toBe(1);
  expect(door.logged()).toContain('"msg":"postgres is read-only"');

  const connection = await stores.postgres.pool.connect();
  try {
    await connection.query('SET default_transaction_read_only = off');
    await connection.query('ALTER SYSTEM RESET default_transaction_read_only');
    await connection.query('SELECT pg_reload_conf()');
  } finally {
    connection.release(true);
  }
  await until('it is over', async () => (await reasons()).length === 0);
  expect(valueOf(await page(), 'weir_postgres_writable')).toBe(1);
  expect(door.logged()).toContain('"msg":"postgres accepts writes again"');
});
