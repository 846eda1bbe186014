/** What an insert leaves to the first merge (decision 64): the answers are the same before it and after it. */
import { Readable } from 'node:stream';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { ROW_FIELDS } from '../../src/event/row.ts';
import type { EventStore } from '../../src/pipeline/ports.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { PROJECT } from '../support/factory.ts';
import { type RowSpec, batchOf, eventIdOf, goodRows, rowOf } from '../support/rows.ts';
import { startClickHouseOnly } from '../support/stores.ts';

const DATABASE = 'analytics';
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'event_users', 'identity_links'];

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let client: ClickHouseClient;
let store: EventStore;

beforeAll(async () => {
  server = await startClickHouseOnly();
  client = createClickHouse({ url: server.url, database: DATABASE });
  await createEventSchema(client, DATABASE).migrate();
  store = createEventStore({ client, clock: systemClock }, { database: DATABASE, timeoutMs: 60_000 });
});
afterAll(async () => {
  await client.close();
  await server.discard();
});
/** No merge but those that a test asks for. */
beforeEach(async () => {
  for (const table of TABLES) {
    await run(`TRUNCATE TABLE ${table}`);
    await run(`SYSTEM STOP MERGES ${table}`);
  }
});

const run = (query: string) => client.command({ query });
async function select<Row = Record<string, unknown>>(query: string): Promise<Row[]> {
  return (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
}
async function merge() {
  for (const table of TABLES) {
    await run(`SYSTEM START MERGES ${table}`);
    await run(`OPTIMIZE TABLE ${table} FINAL`);
  }
}

const SECOND = 1_000;
const AT = Date.UTC(2026, 0, 1, 12);

test('copies within a batch are one event from the first moment, the one that arrived last', async () => {
  const copies: RowSpec[] = [
    { n: 1, receivedAt: AT, properties: '{"copy":1}' },
    { n: 1, receivedAt: AT + SECOND, properties: '{"copy":2}' },
    { n: 2, receivedAt: AT },
  ];
  await store.insert(batchOf(1, copies));
  const answers = async () => ({
    events: await select('SELECT toString(event_id) AS id, properties FROM events ORDER BY event_id'),
    counted: await select(
      'SELECT toUInt32(sum(events)) AS landed, toUInt32(uniqCombined64Merge(users)) AS users FROM event_counts_hourly',
    ),
    places: await select(
      'SELECT seconds, toUInt32(groupBitmapMerge(users)) AS users FROM event_users GROUP BY seconds ORDER BY seconds',
    ),
    found: await store.findStored([...copies, { n: 3, receivedAt: AT }].map(rowOf)),
  });
  const rows = () => select('SELECT toUInt32(count()) AS n FROM events_raw_v1');

  const before = await answers();
  expect(before).toEqual({
    events: [
      { id: eventIdOf(1), properties: '{"copy":2}' },
      { id: eventIdOf(2), properties: '{}' },
    ],
    // What landed, copies included: `event_copies` takes them off (decision 52).
    counted: [{ landed: 3, users: 1 }],
    places: [
      { seconds: 3_600, users: 1 },
      { seconds: 86_400, users: 1 },
    ],
    found: [true, true, true, false],
  });
  expect(await rows()).toEqual([{ n: 3 }]);
  await merge();
  expect(await answers()).toEqual(before);
  expect(await rows()).toEqual([{ n: 2 }]);
});

test('indexes are built by the first merge, and what has none is found all the same', async () => {
  const withIndex = async () =>
    (
      await select<{ name: string }>(
        `SELECT name FROM system.data_skipping_indices WHERE database = '${DATABASE}' AND table = 'events_raw_v1'
         AND data_compressed_bytes > 0 ORDER BY name`,
      )
    ).map(({ name }) => name);
  const ids = [eventIdOf(7), eventIdOf(10_007)];
  const found = () =>
    select(`SELECT toString(event_id) AS id FROM events_raw_v1 WHERE event_id IN ('${ids.join("', '")}') ORDER BY id`);
  const days = () =>
    select(
      `SELECT toUInt32(count()) AS n FROM events_raw_v1 FINAL
       WHERE mortonEncode(toDaysSinceYearZero(timestamp)) = toDaysSinceYearZero(toDate('2026-01-01'))`,
    );

  await store.insert(batchOf(1, goodRows(2_000, 0)));
  expect(await withIndex()).toEqual([]);
  expect(await found()).toEqual([{ id: ids[0] }]);
  await merge();
  expect(await withIndex()).toEqual([
    'anonymous_id_bloom',
    'campaign_id_bloom',
    'day_set',
    'event_id_bloom',
    'job_id_bloom',
    'request_id_bloom',
    'trace_id_bloom',
    'user_id_bloom',
  ]);

  // A part with indexes beside one without.
  await run('SYSTEM STOP MERGES events_raw_v1');
  await store.insert(batchOf(2, goodRows(2_000, 10_000)));
  expect(await found()).toEqual(ids.map((id) => ({ id })));
  expect(await days()).toEqual([{ n: 4_000 }]);
  await merge();
  expect(await found()).toEqual(ids.map((id) => ({ id })));
  expect(await days()).toEqual([{ n: 4_000 }]);
});

test('a batch that an earlier version has inserted is recognised, in the table and behind the views', async () => {
  const batch = batchOf(1, goodRows(50, 0));
  const { stream } = await client.exec({
    query: `INSERT INTO events_raw_v1 (${ROW_FIELDS.join(', ')}) FORMAT JSONEachRow`,
    values: Readable.from(batch.chunks, { objectMode: false }),
    clickhouse_settings: {
      insert_deduplicate: 1,
      deduplicate_blocks_in_dependent_materialized_views: 1,
      insert_deduplication_token: batch.id,
      date_time_input_format: 'best_effort',
      input_format_json_read_objects_as_strings: 1,
      wait_end_of_query: 1,
    },
  });
  stream.resume();
  await store.insert(batch);
  const [landed] = await select(
    `SELECT toUInt32((SELECT count() FROM events_raw_v1 WHERE project_id = '${PROJECT}')) AS rows,
       toUInt32((SELECT sum(events) FROM event_counts_hourly WHERE project_id = '${PROJECT}')) AS counted`,
  );
  expect(landed).toEqual({ rows: 50, counted: 50 });
});
