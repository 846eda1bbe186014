/** What the real engine's errors are taken for. Each test hurts the table in one way and repairs it. */
import { randomUUID } from 'node:crypto';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { migrateClickHouse } from '../../src/clickhouse/migrations/migrate.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { InsertFailure } from '../../src/pipeline/ports.ts';
import { startClickHouseOnly } from '../support/stores.ts';
import { PROJECT } from '../support/factory.ts';

const DATABASE = 'analytics';
const TABLE = `${DATABASE}.events_raw_v1`;

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let client: ClickHouseClient;

beforeAll(async () => {
  server = await startClickHouseOnly();
  client = createClickHouse({ url: server.url, database: DATABASE, maxConnections: 8 });
});
afterAll(async () => {
  await client?.close();
  await server?.discard();
});
// A table of its own for every test: none of them has to repair what it broke.
beforeEach(async () => {
  await run(`DROP DATABASE IF EXISTS ${DATABASE} SYNC`);
  await migrateClickHouse(client, DATABASE);
});

async function run(query: string): Promise<void> {
  // The client's own database may not be there: the first one named counts.
  await client.command({ query, clickhouse_settings: { database: 'default' } });
}

async function countRows(table = TABLE): Promise<number> {
  const answer = await client.query({ query: `SELECT count() AS rows FROM ${table}`, format: 'JSONEachRow' });
  return Number((await answer.json<{ rows: string }>())[0]!.rows);
}

/** A row as Weir writes it, with some fields as the test wants them. */
function row(fields: Record<string, unknown> = {}): Buffer {
  const given = {
    project_id: PROJECT,
    event_id: randomUUID(),
    event: 'visit',
    anonymous_id: null,
    user_id: null,
    timestamp: '2026-01-01T00:00:00.000Z',
    session_id: null,
    properties: {},
    extras: {},
    source: 'native',
    received_at: '2026-01-01T00:00:00.000Z',
  };
  return Buffer.from(`${JSON.stringify({ ...given, ...fields })}\n`);
}

type Circumstances = { using?: ClickHouseClient; database?: string; timeoutMs?: number; id?: string };

/** What an insert of the rows met; null when they landed. */
async function failureOfInsert(
  rows: readonly Buffer[],
  { using = client, database = DATABASE, timeoutMs = 10_000, id = randomUUID() }: Circumstances = {},
): Promise<InsertFailure | null> {
  const store = createEventStore({ client: using, clock: systemClock }, { database, timeoutMs });
  try {
    await store.insert({ id: id as BatchId, chunks: rows });
    return null;
  } catch (error) {
    if (error instanceof InsertFailure) return error;
    throw error;
  }
}

/** The client with settings that only inserts get. */
function withSettings(settings: ClickHouseSettings): ClickHouseClient {
  return Object.assign(Object.create(client) as ClickHouseClient, {
    exec: (params: Parameters<ClickHouseClient['exec']>[0]) =>
      client.exec({ ...params, clickhouse_settings: { ...params.clickhouse_settings, ...settings } }),
  });
}

const addView = async (select: string, name = 'extra_view') => {
  await run(`CREATE TABLE ${DATABASE}.extra (x String) ENGINE = MergeTree ORDER BY x`);
  await run(`CREATE MATERIALIZED VIEW ${DATABASE}.${name} TO ${DATABASE}.extra AS ${select} FROM ${TABLE}`);
};

const operator = (code: number): unknown =>
  expect.objectContaining({ failureClass: 'operator', code, mayHaveLanded: false });

const data = (code: number, rowHint: number | null): unknown =>
  expect.objectContaining({ failureClass: 'data', code, rowHint, mayHaveLanded: false });

describe('schema and rights', () => {
  test('a missing table', async () => {
    await run(`DROP TABLE ${TABLE}`);
    expect(await failureOfInsert([row()])).toEqual(operator(60));
  });
  test('a missing database', async () => {
    expect(await failureOfInsert([row()], { database: 'nowhere' })).toEqual(operator(81));
  });
  test('a missing column', async () => {
    await run(`ALTER TABLE ${TABLE} DROP COLUMN session_id`);
    expect(await failureOfInsert([row()])).toEqual(operator(16));
  });
  test('a user who may only read', async () => {
    expect(await failureOfInsert([row()], { using: withSettings({ readonly: '1' }) })).toEqual(operator(164));
  });
  test('a setting the server does not know', async () => {
    const using = withSettings({ no_such_setting: 1 });
    expect(await failureOfInsert([row()], { using })).toEqual(operator(115));
  });
  test('a user the server does not know', async () => {
    const using = createClickHouse({ url: server.url, database: DATABASE, username: 'nobody' });
    expect(await failureOfInsert([row()], { using })).toEqual(operator(516));
    await using.close();
  });
  test('a view whose target is gone', async () => {
    await addView('SELECT event AS x');
    await run(`DROP TABLE ${DATABASE}.extra`);
    expect(await failureOfInsert([row()])).toEqual(operator(60));
  });
});

describe('a materialized view that fails', () => {
  const throwing = `SELECT toString(throwIf(event = 'boom')) AS x`;

  test.each([
    ['a plain name', 'extra_view'],
    ['a name with spaces, dots and brackets', '`my view. (OK) (version 1)`'],
  ])('is for the operator: %s', async (_, name) => {
    await addView(throwing, name);
    expect(await failureOfInsert([row(), row({ event: 'boom' })])).toMatchObject({
      failureClass: 'operator',
      code: 395,
    });
  });

  test('has let the rows into the table, and the failure says that they may have landed', async () => {
    await addView(throwing);
    const failure = await failureOfInsert([row(), row({ event: 'boom' })]);
    expect(await countRows()).toBe(2);
    expect(failure).toMatchObject({ mayHaveLanded: true });
  });

  test('takes what it missed when the same bytes come again under the same id, and nothing twice', async () => {
    await addView(throwing);
    const [rows, id] = [[row(), row({ event: 'boom' })], randomUUID()];
    await failureOfInsert(rows, { id });
    await run(`DROP VIEW ${DATABASE}.extra_view`);
    expect(await failureOfInsert(rows, { id })).toBe(null);
    expect(await countRows()).toBe(2);
    const counted = await client.query({
      query: `SELECT toString(sum(events)) AS events FROM ${DATABASE}.event_counts_hourly`,
      format: 'JSONEachRow',
    });
    expect(await counted.json()).toEqual([{ events: '2' }]);
  });

  test('is named to the operator, without a word of the event', async () => {
    await addView(`SELECT toString(toUInt8(JSONExtractString(properties, 'n'))) AS x`);
    const failure = await failureOfInsert([row({ properties: { n: 'secret' } })]);
    expect(failure!.message).toContain(`${DATABASE}.extra_view`);
    expect(failure!.message).not.toContain('secret');
  });

  test('too slow for the time allowed', async () => {
    await addView(`SELECT toString(sleepEachRow(1.5)) AS x`);
    const failure = await failureOfInsert([row()], { timeoutMs: 1_200 });
    expect(failure).toMatchObject({ mayHaveLanded: true });
    expect(failure!.failureClass).toMatch(/^(ambiguous|operator)$/);
  });

  test('whose target has too many parts is short of capacity, and the rows have landed', async () => {
    await run(
      `ALTER TABLE ${DATABASE}.event_counts_hourly MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1`,
    );
    await failureOfInsert([row()]);
    const before = await countRows();
    const failure = await failureOfInsert([row()]);
    expect(failure).toMatchObject({ failureClass: 'capacity', code: 252, mayHaveLanded: true });
    expect(await countRows()).toBe(before + 1);
  });
});

describe('capacity', () => {
  test('too many parts', async () => {
    await run(`SYSTEM STOP MERGES ${TABLE}`);
    await run(`ALTER TABLE ${TABLE} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1`);
    await failureOfInsert([row()]);
    expect(await failureOfInsert([row()])).toMatchObject({ failureClass: 'capacity', code: 252 });
  });
  test('memory', async () => {
    const rows = Array.from({ length: 10_000 }, () => row());
    const using = withSettings({ max_memory_usage: '100000' });
    expect(await failureOfInsert(rows, { using })).toMatchObject({ failureClass: 'capacity', code: 241 });
  });
});

describe('rows that cannot be stored', () => {
  test.each([
    ['a text that is no time', { timestamp: 'yesterday' }, 41],
    ['a number that is no time', { timestamp: 1e300 }, 27],
    ['a text that is no UUID', { event_id: 'x' }, 376],
  ])('%s', async (_, fields, code) => {
    expect(await failureOfInsert([row(), row(fields), row()])).toEqual(data(code, 1));
  });

  test('a text that is no JSON', async () => {
    expect(await failureOfInsert([row(), Buffer.from('{"event": no}\n')])).toEqual(data(27, 1));
  });
  test('text in a column that was changed to numbers', async () => {
    await run(`ALTER TABLE ${TABLE} MODIFY COLUMN session_id Nullable(UInt64)`);
    const failure = await failureOfInsert([row({ session_id: '5' }), row({ session_id: 'five' })]);
    expect(failure).toMatchObject({ failureClass: 'data', rowHint: 1 });
  });
  test('a constraint', async () => {
    await run(`ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event != 'wild'`);
    expect(await failureOfInsert([row(), row(), row({ event: 'wild' })])).toEqual(data(469, 2));
  });
  test('a column that is computed from them', async () => {
    await run(`ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(JSONExtractString(properties, 'n'))`);
    const failure = await failureOfInsert([row({ properties: { n: '7' } }), row({ properties: { n: 'seven' } })]);
    expect(failure).toEqual(data(6, null));
  });
  test('more partitions than one insert may touch: none is, and they land', async () => {
    await run('CREATE DATABASE IF NOT EXISTS parted');
    await run(
      `CREATE OR REPLACE TABLE parted.events_raw_v1 AS ${TABLE} ENGINE = MergeTree PARTITION BY event_id ORDER BY event`,
    );
    const rows = Array.from({ length: 101 }, () => row());
    expect(await failureOfInsert(rows, { database: 'parted', timeoutMs: 50_000 })).toBeNull();
    expect(await countRows('parted.events_raw_v1')).toBe(101);
  });
  test('more than one failure: none of the rows is stored', async () => {
    await failureOfInsert([row(), row({ timestamp: 'yesterday' }), row({ event_id: 'x' })]);
    expect(await countRows()).toBe(0);
  });
});

describe('no answer', () => {
  test('nobody listens: nothing landed', async () => {
    const using = createClickHouse({ url: 'http://127.0.0.1:9', database: DATABASE });
    expect(await failureOfInsert([row()], { using })).toMatchObject({
      failureClass: 'unavailable',
      mayHaveLanded: false,
    });
    await using.close();
  });
  test('a frozen server: it may have landed, whatever comes of it later', async () => {
    server.pause();
    const failure = await failureOfInsert([row()], { timeoutMs: 500 });
    server.resume();
    expect(failure).toMatchObject({ failureClass: 'ambiguous', mayHaveLanded: true });
  });
});

describe('what a client writes does not decide how its error is read (I14)', () => {
  const imitations = [
    'Code: 60. DB::Exception: Table analytics.events_raw_v1 does not exist. (UNKNOWN_TABLE)',
    ': while pushing to view analytics.x. (UNKNOWN_TABLE) (version 26.7.2.1)',
    "': while pushing to view analytics.x. (UNKNOWN_TABLE) (version 26.7.2.1)",
    ': while pushing to view `analytics.x`. (UNKNOWN_TABLE) (version 26.7.2.1)',
    '`. (UNKNOWN_TABLE) (version 26.7.2.1): while pushing to view `',
    'x\n: while pushing to view analytics.x. (UNKNOWN_TABLE) (version 26.7.2.1)\n',
    ' (at row 1)',
    ' (at row 1)\n: While executing JSONEachRowRowInputFormat. (OK) (version 26.7.2.1)\n',
    ' is violated at row 1. Expression: (1). Column values: x = 1. (VIOLATED_CONSTRAINT)',
    'X-ClickHouse-Exception-Code: 60\r\n\r\n',
    'Code: 252. DB::Exception: Too many partitions for single INSERT block',
    "\\'\\\\'",
  ];

  describe.each(imitations)('%j', (imitation) => {
    test('in a value that is no time', async () => {
      const rows = [row(), row({ event: imitation, properties: { imitation }, timestamp: `x${imitation}` })];
      const failure = await failureOfInsert(rows);
      expect(failure).toMatchObject({ failureClass: 'data', rowHint: 1 });
    });

    test('in a value that violates a constraint, or comes before the one that does', async () => {
      await run(`ALTER TABLE ${TABLE} ADD CONSTRAINT tame CHECK event NOT LIKE 'wild%'`);
      const rows = [row(), row(), row({ event: `wild${imitation}`, user_id: imitation })];
      expect(await failureOfInsert(rows)).toMatchObject({ failureClass: 'data', code: 469, rowHint: 2 });
    });

    test('in a value that a computed column quotes', async () => {
      await run(`ALTER TABLE ${TABLE} ADD COLUMN n UInt8 MATERIALIZED toUInt8(JSONExtractString(properties, 'n'))`);
      const failure = await failureOfInsert([row({ properties: { n: '7' } }), row({ properties: { n: imitation } })]);
      expect(failure).toMatchObject({ failureClass: 'data', code: 6, rowHint: null });
    });

    test('in a value that a view quotes', async () => {
      await addView(`SELECT toString(toUInt8(JSONExtractString(properties, 'n'))) AS x`);
      const failure = await failureOfInsert([row({ properties: { n: imitation } })]);
      expect(failure).toMatchObject({ failureClass: 'operator', code: 6 });
      expect(failure!.message).not.toContain('UNKNOWN_TABLE');
    });
  });
});
