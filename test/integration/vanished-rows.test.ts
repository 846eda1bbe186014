/** What a killed ClickHouse takes for stored and does not have: it wrote the token of a part, and the part never got its name. */
import { rmSync, utimesSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { migrateClickHouse } from '../../src/clickhouse/migrations/migrate.ts';
import { openClickHouse } from '../../src/clickhouse/event-storage.ts';
import { createLog } from '../../src/log/log.ts';
import type { EventStore } from '../../src/pipeline/ports.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { batchOf } from '../support/rows.ts';
import { startClickHouseOnly } from '../support/stores.ts';

const DATABASE = 'analytics';
const TABLE = `${DATABASE}.events_raw_v1`;
const [JANUARY, MARCH, APRIL, MAY] = [0, 2, 3, 4].map((month) => Date.UTC(2026, month, 1, 12)) as [
  number,
  number,
  number,
  number,
];

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let client: ClickHouseClient;
let store: EventStore;
let vanished: { batchId: string; events: number }[];

beforeAll(async () => {
  server = await startClickHouseOnly();
  client = createClickHouse({ url: server.url, database: DATABASE, maxConnections: 8 });
  await migrateClickHouse(client, DATABASE);
});
afterAll(async () => {
  await client?.close();
  await server?.discard();
});
beforeEach(() => {
  vanished = [];
  store = createEventStore(
    { client, clock: systemClock, onVanished: (rows) => vanished.push(rows) },
    { database: DATABASE, timeoutMs: 20_000 },
  );
});

async function select<Row>(query: string): Promise<Row[]> {
  const answer = await client.query({ query, format: 'JSONEachRow' });
  return answer.json<Row>();
}

/** Ends ClickHouse as in the middle of inserts: their tokens are written, their parts are not there. */
async function loseParts(condition: string): Promise<void> {
  const parts = await select<{ path: string }>(
    `SELECT path FROM system.parts WHERE active AND database = '${DATABASE}' AND table = 'events_raw_v1' AND ${condition}`,
  );
  expect(parts.length).toBeGreaterThan(0);
  await server.kill();
  for (const { path } of parts) rmSync(path, { recursive: true });
  await server.start();
}

const numbersStored = async ([first, end]: readonly [number, number]) => {
  const rows = await select<{ n: number }>(`SELECT toUInt32(substring(toString(event_id), 25)) AS n FROM ${TABLE}`);
  return rows
    .map(({ n }) => n)
    .filter((n) => n >= first && n < end)
    .sort((a, b) => a - b);
};
const counted = async () => {
  const [row] = await select<{ n: string }>(`SELECT toString(sum(events)) AS n FROM ${DATABASE}.event_counts_hourly`);
  return Number(row!.n);
};
/** Where the server keeps everything. */
const dataPath = async () => {
  const [disk] = await select<{ path: string }>(`SELECT path FROM system.disks WHERE name = 'default'`);
  return disk!.path;
};
const tables = () => select(`SELECT name FROM system.tables WHERE database = '${DATABASE}' AND name LIKE '%put_back%'`);
const numbers = (first: number, end: number) => Array.from({ length: end - first }, (_, index) => first + index);
const specs = (first: number, end: number, receivedAt = JANUARY) => numbers(first, end).map((n) => ({ n, receivedAt }));

test('a batch of which only the token was written lands when it is sent again, once, and is counted once', async () => {
  const before = await counted();
  const batch = batchOf(1, specs(0, 500));
  await store.insert(batch);
  await loseParts("partition_id = '202601'");
  // The memory of ClickHouse says that it is there.
  await store.insert(batch);
  expect(await numbersStored([0, 500])).toEqual([]);

  await store.insert({ ...batch, mayHaveLanded: true });
  expect(await numbersStored([0, 500])).toEqual(numbers(0, 500));
  expect(await counted()).toBe(before + 500);
  expect(vanished).toEqual([{ batchId: batch.id, events: 500 }]);

  await store.insert({ ...batch, mayHaveLanded: true });
  expect(await numbersStored([0, 500])).toEqual(numbers(0, 500));
  expect(vanished).toHaveLength(1);
  expect(await tables()).toEqual([]);
});

test('of a batch over two months only the part that is not there is put back', async () => {
  const before = await counted();
  const batch = batchOf(2, [...specs(1_000, 1_003, MARCH), ...specs(1_003, 1_010, APRIL)]);
  await store.insert(batch);
  await loseParts("partition_id = '202604'");
  await store.insert({ ...batch, mayHaveLanded: true });
  expect(await numbersStored([1_000, 1_010])).toEqual(numbers(1_000, 1_010));
  expect(await counted()).toBe(before + 10);
  expect(vanished).toEqual([{ batchId: batch.id, events: 7 }]);
});

test('what an earlier attempt left half done is begun anew', async () => {
  const batch = batchOf(3, specs(2_000, 2_005, MAY));
  await store.insert(batch);
  await loseParts("partition_id = '202605'");
  const name = `${TABLE}_put_back_${batch.id.replaceAll('-', '')}`;
  await client.command({ query: `CREATE TABLE ${name} AS ${TABLE}` });
  await client.command({ query: `INSERT INTO ${name} SELECT * FROM ${TABLE} LIMIT 3` });
  await store.insert({ ...batch, mayHaveLanded: true });
  expect(await numbersStored([0, 3_000])).toEqual([
    ...numbers(0, 500),
    ...numbers(1_000, 1_010),
    ...numbers(2_000, 2_005),
  ]);
  expect(await tables()).toEqual([]);
});

test('a batch that never arrived, and is in doubt, lands as any other', async () => {
  const batch = batchOf(4, specs(3_000, 3_004));
  await store.insert({ ...batch, mayHaveLanded: true });
  expect(await numbersStored([3_000, 3_004])).toEqual(numbers(3_000, 3_004));
  expect(vanished).toEqual([]);
});

test('a table that was left is dropped by the next check of the schema, unless it may be in use', async () => {
  const storage = openClickHouse(
    {
      access: { url: server.url, username: 'default', password: '', key: null },
      database: DATABASE,
      maxInFlight: 1,
      insertTimeoutMs: 20_000,
      maxQueries: 1,
      workers: 1,
    },
    { clock: systemClock, log: createLog('silent') },
  );
  onTestFinished(() => storage.close());
  await client.command({ query: `CREATE TABLE ${TABLE}_put_back_left AS ${TABLE}` });
  await storage.schema.check();
  expect(await tables()).toEqual([{ name: 'events_raw_v1_put_back_left' }]);

  const twoHoursAgo = new Date(Date.now() - 2 * 3_600_000);
  const [left] = await select<{ path: string }>(
    `SELECT metadata_path AS path FROM system.tables WHERE name = 'events_raw_v1_put_back_left'`,
  );
  utimesSync(isAbsolute(left!.path) ? left!.path : join(await dataPath(), left!.path), twoHoursAgo, twoHoursAgo);
  expect(await storage.schema.check()).toEqual([]);
  expect(await tables()).toEqual([]);
  expect(await select(`EXISTS ${TABLE}`)).toEqual([{ result: 1 }]);
});
