/** Materialized views that other people put on Weir's tables, and what their failures cost. */
import { randomUUID } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { type ForeignViews, createForeignViews } from '../../src/clickhouse/event-store/foreign-views.ts';
import { migrateClickHouse } from '../../src/clickhouse/migrations/migrate.ts';
import { describeForeignViews } from '../../src/clickhouse/event-store/views.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createLog } from '../../src/log/log.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import type { EventStore } from '../../src/pipeline/ports.ts';
import { PROJECT } from '../support/factory.ts';
import { startClickHouseOnly } from '../support/stores.ts';

const DATABASE = 'analytics';
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'event_users'];
const TABLE = `${DATABASE}.events_raw_v1`;

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let client: ClickHouseClient;
/** Whether a test has hurt Weir's own tables, or nothing has made them yet. */
let isBroken = true;
let sent = 0;
let views: ForeignViews;
let store: EventStore;

beforeAll(async () => {
  server = await startClickHouseOnly();
  client = createClickHouse({ url: server.url, database: DATABASE, maxConnections: 8 });
});
afterAll(async () => {
  await client?.close();
  await server?.discard();
});
beforeEach(async () => {
  await run('DROP DATABASE IF EXISTS other SYNC');
  await run(`DROP VIEW IF EXISTS ${DATABASE}.view`);
  if (isBroken) await run(`DROP DATABASE IF EXISTS ${DATABASE} SYNC`);
  if (isBroken) await migrateClickHouse(client, DATABASE);
  else for (const table of TABLES) await run(`TRUNCATE TABLE ${DATABASE}.${table}`);
  isBroken = false;
  await run('CREATE DATABASE other');
  await run('CREATE TABLE other.extra (x String) ENGINE = MergeTree ORDER BY x');
  sent = 0;
  const counting = Object.assign(Object.create(client) as ClickHouseClient, {
    exec: (params: Parameters<ClickHouseClient['exec']>[0]) => {
      sent++;
      return client.exec(params);
    },
  });
  views = createForeignViews({ client, clock: systemClock, log: createLog('silent') }, { database: DATABASE });
  store = createEventStore({ client: counting, clock: systemClock, views }, { database: DATABASE, timeoutMs: 20_000 });
});

const run = (query: string) => client.command({ query, clickhouse_settings: { database: 'default' } });

async function numberOf(query: string): Promise<number> {
  const answer = await client.query({ query: `SELECT toString(${query}) AS n`, format: 'JSONEachRow' });
  return Number((await answer.json<{ n: string }>())[0]!.n);
}

/** Rows in the table, in the hourly counts, and users in the bitmaps: of one batch all the same. */
const landed = async () => [
  await numberOf(`(SELECT count() FROM ${TABLE})`),
  await numberOf(`(SELECT sum(events) FROM ${DATABASE}.event_counts_hourly)`),
  await numberOf(`(SELECT groupBitmapMerge(users) FROM ${DATABASE}.event_users WHERE seconds = 3600)`),
];

function batchOf(events: readonly string[]) {
  const rows = events.map((event, index) => ({
    project_id: PROJECT,
    event_id: randomUUID(),
    event,
    anonymous_id: null,
    user_id: `u${index}`,
    timestamp: '2026-01-01T00:00:00.000Z',
    session_id: null,
    properties: {},
    extras: {},
    source: 'native',
    received_at: '2026-01-01T00:00:00.000Z',
    expires_at: '2100-01-01 00:00:00',
  }));
  return { id: randomUUID() as BatchId, chunks: rows.map((row) => Buffer.from(`${JSON.stringify(row)}\n`)) };
}

const WITH_BOOM = ['visit', 'boom', 'visit'];
const THROWS = `SELECT toString(throwIf(event = 'boom')) AS x FROM ${TABLE}`;

describe('a view of somebody else fails', () => {
  const cases: [name: string, written: string, ...statements: string[]][] = [
    ['for one event', 'other.view', `CREATE MATERIALIZED VIEW other.view TO other.extra AS ${THROWS}`],
    [
      'under a name of dots, spaces and backticks',
      'other.`my.view ``x`',
      `CREATE MATERIALIZED VIEW other.\`my.view \\\`x\` TO other.extra AS ${THROWS}`,
    ],
    [
      'in Weir’s own database',
      `${DATABASE}.view`,
      `CREATE MATERIALIZED VIEW ${DATABASE}.view TO other.extra AS ${THROWS}`,
    ],
    [
      'that keeps its rows itself',
      'other.view',
      `CREATE MATERIALIZED VIEW other.view ENGINE = MergeTree ORDER BY x AS ${THROWS}`,
    ],
    [
      'because its table is gone',
      'other.view',
      `CREATE MATERIALIZED VIEW other.view TO other.extra AS SELECT event AS x FROM ${TABLE}`,
      'DROP TABLE other.extra',
    ],
    [
      'behind one of Weir’s',
      'other.view',
      `CREATE MATERIALIZED VIEW other.view TO other.extra AS SELECT toString(throwIf(event = 'boom')) AS x FROM ${DATABASE}.event_counts_hourly`,
    ],
    [
      'behind one of Weir’s, its table gone',
      'other.view',
      `CREATE MATERIALIZED VIEW other.view TO other.extra AS SELECT event AS x FROM ${DATABASE}.event_counts_hourly`,
      'DROP TABLE other.extra',
    ],
    [
      'behind another of theirs',
      'other.second',
      `CREATE MATERIALIZED VIEW other.view TO other.extra AS SELECT event AS x FROM ${TABLE}`,
      `CREATE MATERIALIZED VIEW other.second ENGINE = MergeTree ORDER BY y AS SELECT toString(throwIf(x = 'boom')) AS y FROM other.extra`,
    ],
  ];

  test.each(cases)('%s: everything lands once without it, and it is named', async (_, view, ...statements) => {
    for (const statement of statements) await run(statement);
    const batch = batchOf(WITH_BOOM);
    await store.insert(batch);
    expect(await landed()).toEqual([3, 3, 3]);
    await store.insert(batch);
    expect(await landed()).toEqual([3, 3, 3]);
    const shown = view.replaceAll('``', '\\`');
    expect(views.notices()).toEqual([expect.stringContaining(`the materialized view ${shown}, which is not Weir's`)]);
    expect([...views.failures()]).toEqual([[shown, 1]]);
    expect((await describeForeignViews(client, DATABASE)).map((found) => found.view)).toContain(shown);
  });

  test('once it is known, a batch is sent once', async () => {
    await run(`CREATE MATERIALIZED VIEW other.view TO other.extra AS ${THROWS}`);
    await store.insert(batchOf(WITH_BOOM));
    expect(sent).toBe(2);
    await store.insert(batchOf(WITH_BOOM));
    expect(sent).toBe(3);
    expect(await landed()).toEqual([6, 6, 3]);
  });

  test('it gets the rows of batches that it takes', async () => {
    await run(`CREATE MATERIALIZED VIEW other.view TO other.extra AS ${THROWS}`);
    await store.insert(batchOf(WITH_BOOM));
    await store.insert(batchOf(['visit']));
    expect(await numberOf('(SELECT count() FROM other.extra)')).toBe(1);
  });
});

describe('one of Weir’s own views fails', () => {
  afterEach(() => void (isBroken = true));

  const withForeign = () => run(`CREATE MATERIALIZED VIEW other.view TO other.extra AS ${THROWS}`);

  test('alone: the insert fails as ever, for the operator', async () => {
    await run(`ALTER TABLE ${DATABASE}.event_users ADD CONSTRAINT none CHECK seconds = 0`);
    expect(await failureOf(store.insert(batchOf(['visit'])))).toMatchObject({
      failureClass: 'operator',
      mayHaveLanded: true,
    });
    expect(views.notices()).toEqual([]);
  });

  test('its table is gone: for the operator', async () => {
    await run(`DROP TABLE ${DATABASE}.event_users`);
    expect(await failureOf(store.insert(batchOf(['visit'])))).toMatchObject({ failureClass: 'operator', code: 60 });
    expect(views.notices()).toEqual([]);
  });

  describe.each([
    { how: 'by ClickHouse’s log of views', storeWith: () => store },
    { how: 'by trials, where there is no such log', storeWith: withoutLog },
  ])('found $how', ({ storeWith }) => {
    test.each([
      ['its table is gone', `DROP TABLE ${DATABASE}.event_users`],
      ['a constraint', `ALTER TABLE ${DATABASE}.event_users ADD CONSTRAINT none CHECK seconds = 0`],
      ['a column is gone', `ALTER TABLE ${DATABASE}.event_users DROP COLUMN users`],
    ])('beside one of somebody else (%s): the insert fails', async (_, breaking) => {
      await withForeign();
      await run(breaking);
      expect(await failureOf(storeWith().insert(batchOf(WITH_BOOM)))).toMatchObject({ failureClass: 'operator' });
    });

    test('beside one of somebody else that is known to fail: the insert fails, and the rest lands once it is mended', async () => {
      await withForeign();
      const its = storeWith();
      await its.insert(batchOf(WITH_BOOM));
      const parts = (count: number) =>
        run(
          `ALTER TABLE ${DATABASE}.event_users MODIFY SETTING parts_to_throw_insert = ${count}, parts_to_delay_insert = ${count}`,
        );
      await run(`SYSTEM STOP MERGES ${DATABASE}.event_users`);
      await parts(1);
      const batch = batchOf(WITH_BOOM);
      expect(await failureOf(its.insert(batch))).toMatchObject({
        failureClass: 'capacity',
        code: 252,
        mayHaveLanded: true,
      });
      await parts(1_000);
      await its.insert(batch);
      expect(await landed()).toEqual([6, 6, 3]);
    });
  });

  const OWN = 'event_counts_hourly_mv';
  const selectOf = async () => {
    const query = `SELECT as_select AS text FROM system.tables WHERE database = '${DATABASE}' AND name = '${OWN}'`;
    const [row] = await (await client.query({ query, format: 'JSONEachRow' })).json<{ text: string }>();
    return row!.text;
  };

  test.each([
    ['that are refused for good', 'operator', 395, `throwIf(event = 'bang') = 0`],
    ['for want of memory', 'capacity', 241, `throwIf(event = 'bang', 'no', toInt16(241)) = 0`],
    ['because a table was moved away', 'operator', 60, `throwIf(event = 'bang', 'no', toInt16(60)) = 0`],
  ])(
    'only for rows of that very insert (%s): it has not landed until they are counted',
    async (_, failureClass, code, condition) => {
      await withForeign();
      await store.insert(batchOf(WITH_BOOM));
      const select = await selectOf();
      const setting = 'allow_custom_error_code_in_throwif = 1';
      await run(
        `ALTER TABLE ${DATABASE}.${OWN} MODIFY QUERY ${select.replace(/ GROUP BY /, ` WHERE ${condition} GROUP BY `)} SETTINGS ${setting}`,
      );
      const batch = batchOf([...WITH_BOOM, 'bang']);
      expect(await failureOf(store.insert(batch))).toMatchObject({ failureClass, code, mayHaveLanded: true });
      // Others land.
      await store.insert(batchOf(WITH_BOOM));
      await run(`ALTER TABLE ${DATABASE}.${OWN} MODIFY QUERY ${select}`);
      await store.insert(batch);
      expect(await landed()).toEqual([10, 10, 4]);
    },
  );

  /** For a user who may not read it, or a server that does not keep it. */
  function withoutLog(): EventStore {
    const refusing = Object.assign(Object.create(client) as ClickHouseClient, {
      command: async (params: Parameters<ClickHouseClient['command']>[0]) => {
        const isAboutLog = params.query.startsWith('SYSTEM FLUSH LOGS');
        return client.command({ ...params, query: isAboutLog ? 'SYSTEM FLUSH LOGS no_such_log' : params.query });
      },
      query: (params: Parameters<ClickHouseClient['query']>[0]) =>
        client.query({ ...params, query: params.query.replace('system.query_views_log', 'system.no_such_log') }),
    });
    const own = createForeignViews(
      { client: refusing, clock: systemClock, log: createLog('silent') },
      { database: DATABASE },
    );
    return createEventStore({ client, clock: systemClock, views: own }, { database: DATABASE, timeoutMs: 20_000 });
  }
});

test('doctor is told of views that Weir did not make, whether they fail or not, and of no other', async () => {
  expect(await describeForeignViews(client, DATABASE)).toEqual([]);
  await run(`CREATE MATERIALIZED VIEW other.view TO other.extra AS SELECT event AS x FROM ${TABLE}`);
  await run(
    `CREATE MATERIALIZED VIEW other.chained ENGINE = MergeTree ORDER BY x AS SELECT event AS x FROM ${DATABASE}.event_counts_hourly`,
  );
  await run(
    `CREATE MATERIALIZED VIEW other.refreshed REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY x AS SELECT event AS x FROM ${TABLE}`,
  );
  await run(`CREATE VIEW other.plain AS SELECT event FROM ${TABLE}`);
  const chained = { view: 'other.chained', source: `${DATABASE}.event_counts_hourly`, missingTarget: null };
  const found = await describeForeignViews(client, DATABASE);
  expect(found).toHaveLength(2);
  expect(found).toEqual(expect.arrayContaining([{ view: 'other.view', source: TABLE, missingTarget: null }, chained]));
  await run('DROP TABLE other.extra');
  expect(await describeForeignViews(client, DATABASE)).toContainEqual({
    view: 'other.view',
    source: TABLE,
    missingTarget: 'other.extra',
  });
});
