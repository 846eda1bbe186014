/** What the tables of events need from time to time: partitions ahead, an end of what has expired, old batches forgotten. */
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { monthAfter } from '../../src/postgres/event-store/arrivals.ts';
import { addPartitions } from '../../src/postgres/event-tables/partitions.ts';
import { missingReader } from '../../src/postgres/reading/reader-role.ts';
import {
  anyRow,
  batchWith,
  openEventsAt,
  type PostgresEvents,
  startPostgresEvents,
} from '../support/postgres-events.ts';
import { isolatedUrl } from '../support/stores.ts';

let events: PostgresEvents;
let next = 0;

beforeAll(async () => {
  events = await startPostgresEvents();
});
afterAll(() => events.stop());

const upkeep = (storage = events.storage) => storage.upkeep.doSome(60);
/** Until nothing is left; how much each turn did. */
async function upkeepToTheEnd(): Promise<number[]> {
  const done: number[] = [];
  for (let did = await upkeep(); did > 0; did = await upkeep()) done.push(did);
  return done;
}

const partitions = async () =>
  (
    await events.select<{ name: string }>(
      `SELECT relname AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
       WHERE inhparent = 'analytics.events_raw'::regclass ORDER BY relname`,
    )
  ).map(({ name }) => name.replace('events_raw_', ''));

const has = async (month: string) => (await partitions()).includes(month);
const monthNow = () => new Date().toISOString().slice(0, 7);
const rowsIn = async (month: string) =>
  (await events.select<{ n: number }>(`SELECT count(*)::int AS n FROM analytics.events_raw_${month}`))[0]!.n;

/** Stores so many rows that arrived in a month of long ago, and expire that much later. */
async function store(count: number, receivedAt: number, retentionSeconds: number | null): Promise<void> {
  next += 10_000;
  const rows = Array.from({ length: count }, (_, n) => anyRow(next + n, { receivedAt, retentionSeconds }));
  await events.storage.events.insert(batchWith(next, rows));
}

const HOUR = 3_600;
const CENTURY = 100 * 365 * 24 * HOUR;

test('partitions are made ahead, for two months', async () => {
  const months = [0, 1, 2].map((by) => monthAfter(monthNow(), by).replace('-', '_'));
  expect(await partitions()).toEqual(months);
  await events.select(`DROP TABLE analytics.events_raw_${months[2]}, analytics.events_raw_${months[0]}`);
  expect(await events.storage.schema.check()).toMatchObject([
    { problem: 'has no partition for this month', remedy: 'SELECT analytics.add_partition(now())' },
  ]);
  expect(await upkeepToTheEnd()).toEqual([2]);
  expect(await partitions()).toEqual(months);
  expect(await events.storage.schema.check()).toEqual([]);
});

describe('two at once, where transactions have another isolation by default,', () => {
  /** Runs both while a lock on a function's turn keeps them from it. */
  async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T[]> {
    const holder = new Client({ connectionString: events.server.url });
    await holder.connect();
    await holder.query(`SELECT pg_advisory_lock(x'77656972'::int, ${key}::oid::int)`);
    const working = Promise.allSettled([work(), work()]);
    const waiting = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`;
    while ((await events.select(waiting)).length < 2) await delay(10);
    await holder.end();
    return (await working).map((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
  }
  const openPool = () => {
    const url = isolatedUrl(events.server.url, 'repeatable read');
    const { pool } = createPostgres({ url, maxConnections: 2 }, createLog('silent'));
    onTestFinished(() => pool.end());
    return pool;
  };

  test('make a partition once', async () => {
    const pool = openPool();
    await inTurn("'analytics.events_raw'::regclass", () => addPartitions(pool, ['1981-01']));
    expect(await has('1981_01')).toBe(true);
    await events.select('DROP TABLE analytics.events_raw_1981_01');
  });

  test('prepare the role of readers once', async () => {
    const pool = openPool();
    await events.select('DROP POLICY of_project ON analytics.identities');
    const missing = await inTurn("'analytics.prepare_reader'::regproc", () => missingReader(pool));
    expect(missing).toEqual([null, null]);
  });
});

test('a partition goes as a whole when everything in it has expired, and comes back for what arrives late', async () => {
  await store(100, Date.UTC(2020, 2, 3), HOUR);
  await store(100, Date.UTC(2020, 3, 3), CENTURY);
  await store(100, Date.UTC(2020, 4, 3), null);
  expect(await upkeepToTheEnd()).toEqual([1]);
  expect(await has('2020_03')).toBe(false);
  expect([await rowsIn('2020_04'), await rowsIn('2020_05')]).toEqual([100, 100]);
  await store(3, Date.UTC(2020, 2, 3), CENTURY);
  expect(await rowsIn('2020_03')).toBe(3);
});

test('of a partition with others, the rows that have expired go, some at a time', async () => {
  await store(6_000, Date.UTC(2021, 0, 3), HOUR);
  await store(10, Date.UTC(2021, 0, 4), CENTURY);
  await store(10, Date.UTC(2021, 0, 5), null);
  // Where the rest never expires, the index says nothing of it.
  await store(20, Date.UTC(2021, 1, 3), HOUR);
  await store(10, Date.UTC(2021, 1, 5), null);
  const done = await upkeepToTheEnd();
  expect([...done].sort((a, b) => a - b)).toEqual([20, 1_000, 5_000]);
  expect([await rowsIn('2021_01'), await rowsIn('2021_02')]).toEqual([20, 10]);
  // What has expired stays counted.
  const [counted] = await events.select<{ n: string }>(
    `SELECT sum(events) AS n FROM analytics.event_counts_hourly WHERE hour BETWEEN '2021-01-01' AND '2021-03-01'`,
  );
  expect(counted!.n).toBe('6050');
});

test('a partition that somebody reads is left, its rows are deleted, and it goes later', async () => {
  await store(50, Date.UTC(2022, 0, 3), HOUR);
  const reader = new Client({ connectionString: events.server.url });
  await reader.connect();
  await reader.query('BEGIN; SELECT count(*) FROM analytics.events_raw');
  expect(await upkeepToTheEnd()).toEqual([50]);
  expect(await has('2022_01')).toBe(true);
  await reader.query('COMMIT');
  await reader.end();
  await events.select('VACUUM analytics.events_raw_2022_01');
  expect(await upkeepToTheEnd()).toEqual([1]);
  expect(await has('2022_01')).toBe(false);
});

test('a partition in which a row arrives while it is to go stays', async () => {
  await store(50, Date.UTC(2022, 5, 3), HOUR);
  const writer = new Client({ connectionString: events.server.url });
  await writer.connect();
  await writer.query(`BEGIN; INSERT INTO analytics.events_raw
    SELECT (jsonb_populate_record(r, jsonb_build_object('event_id', gen_random_uuid(), 'expires_at', null))).*
    FROM analytics.events_raw_2022_06 AS r LIMIT 1`);
  const did = upkeep();
  // Until it waits; not for ever, and then it has given up.
  const waits = `SELECT count(*)::int AS n FROM pg_locks WHERE relation = 'analytics.events_raw_2022_06'::regclass AND NOT granted`;
  const over = did.then(() => true);
  const isWaiting = async () => (await events.select<{ n: number }>(waits))[0]!.n > 0;
  while (!(await Promise.race([over, isWaiting()])));
  await writer.query('COMMIT');
  await writer.end();
  expect(await did).toBe(50);
  expect(await rowsIn('2022_06')).toBe(1);
});

test('one process at a time does it', async () => {
  await store(50, Date.UTC(2022, 0, 3), HOUR);
  const other = new Client({ connectionString: events.server.url });
  await other.connect();
  await other.query(`BEGIN; SELECT pg_advisory_xact_lock(x'77656972'::int, 1)`);
  expect(await upkeep()).toBe(0);
  await other.query('COMMIT');
  await other.end();
  const others = openEventsAt(events.server.url);
  const done = await Promise.all([upkeep(), upkeep(others), upkeep(others)]);
  await others.close();
  expect(done.reduce((sum, did) => sum + did)).toBe(1);
});

test('batches are forgotten after ninety days, and what was in them stays known as a sum', async () => {
  await store(7, Date.UTC(2026, 0, 1), null);
  await events.storage.events.insert(batchWith(next + 1, [anyRow(next)]));
  const ids = [batchWith(next, []).id, batchWith(next + 1, []).id];
  await events.select(
    `UPDATE analytics.event_batches SET stored_at = stored_at - interval '90 days 1 second' WHERE id = ANY ($1)`,
    [ids],
  );
  expect(await upkeepToTheEnd()).toEqual([2]);
  expect(await events.select('SELECT * FROM analytics.forgotten_batches')).toEqual([
    { batches: '2', events: '8', copies: '1' },
  ]);
  const day = 24 * HOUR * 1_000;
  expect(await events.storage.events.countInserts(89 * day)).toBeGreaterThan(3);
  expect(await events.storage.events.countInserts(90 * day)).toBe(Infinity);
});
