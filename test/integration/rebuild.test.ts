/**
 * The rebuild of the table of events under another sorting key, on data of the
 * version before, while events come in, rows are erased, and whoever does it ends
 * at any point. Against a real ClickHouse; each test has a database of its own.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { createForeignViews } from '../../src/clickhouse/event-store/foreign-views.ts';
import { putBack } from '../../src/clickhouse/event-store/vanished-rows.ts';
import { COPYING, EVENTS, MIRROR, NEW_KEY, OLD_KEY, REBUILT } from '../../src/clickhouse/migrations/event-tables.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { migrateClickHouse, readMigrations } from '../../src/clickhouse/migrations/migrate.ts';
import { createRebuild } from '../../src/clickhouse/migrations/rebuild.ts';
import { eraseProject } from '../../src/clickhouse/operations/erase-project.ts';
import { rewriteRetention } from '../../src/clickhouse/operations/retention-rewrite.ts';
import { findSeenTwice } from '../../src/clickhouse/operations/seen-twice.ts';
import { createLog } from '../../src/log/log.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import type { RebuildState } from '../../src/pipeline/storage-port.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { PROJECT, randomOf } from '../support/factory.ts';
import { batchIdOf, batchOf, goodRows, rowOf } from '../support/rows.ts';
import { startClickHouseOnly } from '../support/stores.ts';

let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
let made = 0;

beforeAll(async () => {
  server = await startClickHouseOnly();
});
afterAll(() => server?.discard());

const OTHER = '22222222-2222-4222-8222-222222222222';
const LATEST = '2106-02-07 06:28:15';

/** The table, one view that feeds another, and how the columns are computed now: the others take their time. */
const NEEDED = /^(0001|0002|0003|0006|0008|0012|0013)/;

/** A database as the version before left it, with events in it. */
async function oldDatabase() {
  const database = `rebuilt${++made}`;
  const client = createClickHouse({ url: server.url, database, maxConnections: 16 });
  onTestFinished(async () => {
    // What it would still merge is not in the way of the next test.
    await command(client, `DROP DATABASE ${database} SYNC`);
    await client.close();
  });
  await migrateClickHouse(
    client,
    database,
    readMigrations().filter(({ name }) => NEEDED.test(name)),
  );
  // Every tenth event is there twice, byte for byte.
  for (const every of [1, 10]) {
    await command(client, history(PROJECT, 0, 4_000, every));
    await command(client, history(OTHER, 4_000, 1_000, every));
  }
  // Computed as an earlier version did it, which nobody can do again.
  await command(client, `ALTER TABLE ${EVENTS} MODIFY COLUMN job_id String MATERIALIZED 'computed before'`);
  await command(client, oneEvent(5_000, `'odd \\'name\\'\\n\\x01', '2026-01-31 23:59:59.999', '2026-02-01 00:00:00'`));
  await command(client, oneEvent(5_001, `'', '1970-01-01 00:00:00', '2026-01-15 10:00:00'`));
  await command(
    client,
    `ALTER TABLE ${EVENTS} MODIFY COLUMN job_id String MATERIALIZED tupleElement(known_extras, 'job_id')`,
  );
  // Copies whose timestamps differ: by a second, and by a day.
  await command(client, oneEvent(5_002, `'copied', '2026-01-15 10:00:00', '2026-01-15 10:00:01'`));
  await command(client, oneEvent(5_002, `'copied', '2026-01-15 10:00:01', '2026-01-15 10:00:02'`));
  await command(client, oneEvent(5_003, `'copied far', '2026-01-15 10:00:00', '2026-01-15 10:00:01'`));
  await command(client, oneEvent(5_003, `'copied far', '2026-01-16 10:00:00', '2026-01-15 10:00:02'`));
  await command(
    client,
    oneEvent(5_004, `'expired', '2026-01-15 10:00:00', '2026-01-15 10:00:00'`, '2026-01-16 00:00:00'),
  );
  return { client, database };
}

const command = (client: ClickHouseClient, query: string) =>
  client.command({ query, clickhouse_settings: { wait_end_of_query: 1 } });

const idOf = (n: string) => `toUUID(concat('01900000-0000-8000-8000-', leftPad(toString(${n}), 12, '0')))`;

/** Over two months and twenty names. */
const history = (project: string, from: number, count: number, every = 1) => `INSERT INTO ${EVENTS}
  (project_id, event_id, event, user_id, timestamp, properties, extras, source, received_at)
  SELECT '${project}', ${idOf(`${from} + number`)}, concat('name ', toString(number % 20)), 'u',
    toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + INTERVAL (number * 613) SECOND, '{}', '{"channel":"web","job_id":"j"}', 'native',
    toDateTime64('2026-01-20 00:00:00', 3, 'UTC') + INTERVAL (number * 377) SECOND
  FROM numbers(${count}) WHERE number % ${every} = 0`;

const oneEvent = (n: number, what: string, expiresAt = LATEST) => `INSERT INTO ${EVENTS}
  (project_id, event_id, event, timestamp, received_at, expires_at) SELECT '${PROJECT}', ${idOf(String(n))}, ${what}, '${expiresAt}'`;

async function select<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  const answer = await client.query({ query, format: 'JSONEachRow' });
  return answer.json<Row>();
}

/** Every event once, with all that is stored of it; of copies the last. */
const eventsIn = (client: ClickHouseClient) =>
  select<Record<'project_id' | 'event_id' | 'name', string> & { row: unknown[] }>(
    client,
    `SELECT project_id, event_id, hex(event) AS name, argMax((timestamp, user_id, properties, extras, source, expires_at, channel, job_id), received_at) AS row
     FROM ${EVENTS} WHERE expires_at > now() GROUP BY project_id, event_id, event ORDER BY project_id, event_id, event`,
  );
const idsIn = async (client: ClickHouseClient, table = EVENTS) => {
  const rows = await select<{ id: string }>(
    client,
    `SELECT DISTINCT toString(event_id) AS id FROM ${table} WHERE expires_at > now() ORDER BY event_id`,
  );
  return rows.map(({ id }) => id);
};
const countedIn = async (client: ClickHouseClient) => {
  const [row] = await select<{ n: string }>(client, 'SELECT toString(sum(events)) AS n FROM event_counts_hourly');
  return Number(row!.n);
};
const keyOf = async (client: ClickHouseClient, table = EVENTS) => {
  const [row] = await select<{ key: string }>(
    client,
    `SELECT sorting_key AS key FROM system.tables WHERE database = currentDatabase() AND name = '${table}'`,
  );
  return row?.key ?? null;
};
const remains = (client: ClickHouseClient) =>
  select(
    client,
    `SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '${EVENTS}') AND name != '${EVENTS}'`,
  );

type Database = Awaited<ReturnType<typeof oldDatabase>>;

/** Takes steps until `isReached`, or to the end. */
async function rebuild({ client, database }: Database, isReached: (state: RebuildState) => boolean = () => false) {
  const { read, take } = createRebuild(client, database);
  for (let steps = 0; steps < 200; steps += 1) {
    const { state, next } = await read();
    if (next === 'none' || isReached(state)) return state;
    const after = await take(next);
    if (after.kind === 'running' && after.waitsFor !== null) await systemClock.sleep(100);
  }
  throw new Error('it does not come to an end');
}

const isDoing = (doing: string) => (state: RebuildState) => state.kind === 'running' && state.doing === doing;

function storeOf({ client, database }: Database) {
  const views = createForeignViews({ client, clock: systemClock, log: createLog('silent') }, { database });
  return createEventStore({ client, clock: systemClock, views }, { database, timeoutMs: 20_000 });
}

async function expectRebuilt({ client }: Database) {
  expect(await keyOf(client)).toBe(NEW_KEY);
  expect(await remains(client)).toEqual([]);
}

test('a table without rows is rebuilt by the migration itself, and a second migration finds nothing to do', async () => {
  const database = `rebuilt${++made}`;
  const client = createClickHouse({ url: server.url, database });
  onTestFinished(() => client.close());
  const schema = createEventSchema(client, database);
  await schema.migrate();
  await expectRebuilt({ client, database });
  expect(await schema.rebuild.read()).toEqual({ state: { kind: 'done' }, next: 'none' });
  expect(await schema.check()).toEqual([]);
});

test('with rows in it the migration leaves it as it is, and the rebuild keeps every event as it was stored', async () => {
  const old = await oldDatabase();
  const before = await eventsIn(old.client);
  const counted = await countedIn(old.client);
  await createEventSchema(old.client, old.database).migrate();
  expect(await keyOf(old.client)).toBe(OLD_KEY);

  expect(await rebuild(old)).toEqual({ kind: 'done' });
  await expectRebuilt(old);
  expect(await eventsIn(old.client)).toEqual(before);
  expect(before.length).toBe(5_004);
  expect(await countedIn(old.client)).toBe(counted);
  // Copies of one hour are one now, those of two days are two; doctor finds these.
  const seen = await select(
    old.client,
    `SELECT event, toUInt32(count()) AS n FROM ${EVENTS} FINAL WHERE event LIKE 'copied%' GROUP BY event ORDER BY event`,
  );
  expect(seen).toEqual([
    { event: 'copied', n: 1 },
    { event: 'copied far', n: 2 },
  ]);
  expect(await findSeenTwice(old.client, { withinS: 30 })).toMatchObject({
    events: 1,
    oneIn: 1,
    example: { event: 'copied far' },
  });
});

test('events that come in meanwhile are all there, and counted once, also those that are sent again', async () => {
  const old = await oldDatabase();
  const store = storeOf(old);
  const before = await idsIn(old.client);
  const counted = await countedIn(old.client);
  const over = new AbortController();
  const sent: number[] = [];
  const writing = (async () => {
    for (let n = 0; !over.signal.aborted; n += 1) {
      const batch = batchOf(n, goodRows(3, 10_000 + 3 * n));
      const error = await failureOf(store.insert(batch));
      // One that meets the exchange itself is in doubt; so is every other one here.
      if (error !== null) expect(error).toMatchObject({ failureClass: 'ambiguous' });
      if (error !== null || n % 2 === 0) await store.insert({ ...batch, mayHaveLanded: true });
      sent.push(10_000 + 3 * n, 10_001 + 3 * n, 10_002 + 3 * n);
    }
  })();
  await rebuild(old);
  over.abort();
  await writing;
  await expectRebuilt(old);
  expect(sent.length).toBeGreaterThan(10);
  const ids = sent.map((n) => `01900000-0000-8000-8000-${String(n).padStart(12, '0')}`);
  expect(await idsIn(old.client)).toEqual([...before, ...ids].sort());
  expect(await countedIn(old.client)).toBe(counted + sent.length);
});

describe('whoever does it ends after any statement, and another goes on', () => {
  test('while events come in', async () => {
    const seed = 1;
    const old = await oldDatabase();
    const before = await eventsIn(old.client);
    const counted = await countedIn(old.client);
    const chance = randomOf(seed);
    const store = storeOf(old);
    let inserted = 0;
    const lives = await rebuildInLives(old, async () => {
      if (inserted < 20) await store.insert(batchOf(inserted, goodRows(1, 20_000 + inserted++)));
      return 1 + Math.floor(chance() * 5);
    });
    expect(lives).toBeGreaterThan(5);
    await expectRebuilt(old);
    const after = await eventsIn(old.client);
    expect(after.filter(({ event_id }) => !isLate(event_id))).toEqual(before);
    expect(after.filter(({ event_id }) => isLate(event_id))).toHaveLength(inserted);
    expect(await countedIn(old.client)).toBe(counted + inserted);
  });

  test('also while it brings over what only the old table has', async () => {
    const old = await oldDatabase();
    const before = await eventsIn(old.client);
    const counted = await countedIn(old.client);
    await rebuild(old, isDoing('finishing'));
    await old.client.command({
      query: `ALTER TABLE ${EVENTS} DELETE WHERE toDate(timestamp) = '2026-01-15'`,
      clickhouse_settings: { mutations_sync: '1', wait_end_of_query: 1 },
    });
    expect((await idsIn(old.client)).length).toBeLessThan(before.length - 100);
    // Each comes a little further than the one before.
    let statements = 0;
    expect(await rebuildInLives(old, () => Promise.resolve(++statements))).toBeGreaterThan(3);
    await expectRebuilt(old);
    expect(await eventsIn(old.client)).toEqual(before);
    expect(await countedIn(old.client)).toBe(counted);
  });

  /** How many it took. `live`: after how many statements the next one ends. */
  async function rebuildInLives(old: Database, live: () => Promise<number>): Promise<number> {
    for (let lives = 1; lives < 100; lives += 1) {
      // The last statement is done, and nobody hears of it.
      const error = await failureOf(rebuild({ ...old, client: endingAfter(old.client, await live()) }));
      if (error === null) return lives;
      if (error.message !== 'killed') throw error;
    }
    throw new Error('it does not come to an end');
  }

  const isLate = (id: string) => Number(id.slice(-12)) >= 20_000;

  function endingAfter(client: ClickHouseClient, statements: number): ClickHouseClient {
    let left = statements;
    const command: ClickHouseClient['command'] = async (params) => {
      const done = await client.command(params);
      left -= 1;
      if (left === 0) throw new Error('killed');
      return done;
    };
    return { command, query: client.query.bind(client) } as ClickHouseClient;
  }
});

describe('across the exchange', () => {
  test('an insert that is under way loses nothing, and a batch that is sent again doubles nothing', async () => {
    const old = await oldDatabase();
    const counted = await countedIn(old.client);
    const store = storeOf(old);
    const batch = batchOf(1, goodRows(5, 30_000));
    await rebuild(old, isDoing('checking'));
    await store.insert(batch);
    // Without the view of the rebuild: only the old table gets them.
    await command(old.client, `DROP TABLE ${MIRROR} SYNC`);
    const slow = command(
      old.client,
      `INSERT INTO ${EVENTS} (project_id, event_id, event, timestamp, received_at)
       SELECT '${PROJECT}', ${idOf('31000 + number + sleepEachRow(0.4)')}, 'slow', '2026-03-01 00:00:00', '2026-03-01 00:00:00' FROM numbers(4) SETTINGS max_block_size = 1`,
    );
    await expect.poll(async () => (await running(old.client)).length, { timeout: 10_000 }).toBeGreaterThan(0);
    await command(old.client, `EXCHANGE TABLES ${EVENTS} AND ${REBUILT}`);
    await slow;
    expect(await idsIn(old.client)).not.toContain('01900000-0000-8000-8000-000000031000');
    await store.insert({ ...batch, mayHaveLanded: true });
    await rebuild(old);
    await expectRebuilt(old);
    const ids = await idsIn(old.client);
    for (const n of [30_000, 30_004, 31_000, 31_001, 31_002, 31_003]) {
      expect(ids).toContain(`01900000-0000-8000-8000-0000000${n}`);
    }
    expect(await countedIn(old.client)).toBe(counted + 5 + 4);
    const [copies] = await select<{ n: number }>(
      old.client,
      `SELECT toUInt32(count()) AS n FROM ${EVENTS} FINAL WHERE event_id BETWEEN ${idOf('30000')} AND ${idOf('31003')}`,
    );
    expect(copies).toEqual({ n: 9 });
  });

  const running = (client: ClickHouseClient) =>
    select(client, `SELECT 1 FROM system.processes WHERE query_kind = 'Insert' AND query LIKE '%sleepEachRow%'`);

  test('the rebuild waits for inserts that were begun before', async () => {
    const old = await oldDatabase();
    await rebuild(old, isDoing('finishing'));
    const { take } = createRebuild(old.client, old.database);
    const slow = command(
      old.client,
      `INSERT INTO FUNCTION null('a UInt8') SELECT sleepEachRow(0.5) FROM numbers(3) SETTINGS max_block_size = 1`,
    );
    await expect.poll(async () => (await running(old.client)).length, { timeout: 10_000 }).toBeGreaterThan(0);
    // The second of the exchange itself is waited for as well.
    expect(await take('tables')).toMatchObject({ waitsFor: 'inserts that began before the exchange' });
    await slow;
    await rebuild(old);
    await expectRebuilt(old);
  });

  test('rows that are put back by way of a table of the old kind are refused, and may be put back again', async () => {
    const old = await oldDatabase();
    const columns = ['project_id', 'event_id', 'event', 'timestamp', 'received_at'];
    const run = async (statement: string, rows: readonly Buffer[]) =>
      void (await old.client.command({
        query: `${statement}\n${Buffer.concat([...rows]).toString()}`,
        clickhouse_settings: { date_time_input_format: 'best_effort', input_format_skip_unknown_fields: 1 },
      }));
    const ask = async <Row>(query: string, query_params: Record<string, unknown>) =>
      (await old.client.query({ query, query_params, format: 'JSONEachRow' })).json<Row>();
    const target = { database: old.database, table: EVENTS, columns };
    await rebuild(old, isDoing('checking'));
    let isExchanged = false;
    const across = putBack([rowOf({ n: 40_000 })], batchIdOf(4), target, {
      ask,
      run: async (statement, rows) => {
        if (statement.includes('ATTACH') && !isExchanged) {
          await rebuild(old, isDoing('finishing'));
          isExchanged = true;
        }
        await run(statement, rows);
      },
    });
    await expect(across).rejects.toMatchObject({ code: '36' });
    await putBack([rowOf({ n: 40_000 })], batchIdOf(4), target, { ask, run });
    await rebuild(old);
    expect(await idsIn(old.client)).toContain('01900000-0000-8000-8000-000000040000');
  });

  test('rows that were put back before it, past the view of the rebuild, are found', async () => {
    const old = await oldDatabase();
    const counted = await countedIn(old.client);
    await rebuild(old, (state) => isDoing('checking')(state) && state.kind === 'running' && state.rows > 0);
    await command(old.client, `CREATE TABLE ${EVENTS}_put_back_1 AS ${EVENTS}`);
    await command(
      old.client,
      oneEvent(41_000, `'late', '2026-01-15 10:00:00', '2026-01-15 10:00:00'`).replace(EVENTS, `${EVENTS}_put_back_1`),
    );
    await command(old.client, `ALTER TABLE ${EVENTS} ATTACH PARTITION ID '202601' FROM ${EVENTS}_put_back_1`);
    await command(old.client, `DROP TABLE ${EVENTS}_put_back_1 SYNC`);
    await rebuild(old);
    await expectRebuilt(old);
    expect(await idsIn(old.client)).toContain('01900000-0000-8000-8000-000000041000');
    expect(await countedIn(old.client)).toBe(counted);
  });

  test("views of others on the table get what comes in afterwards, and Weir's own are tried as before", async () => {
    const old = await oldDatabase();
    await command(old.client, 'CREATE TABLE theirs (event_id UUID) ENGINE = MergeTree ORDER BY event_id');
    await command(old.client, `CREATE MATERIALIZED VIEW theirs_mv TO theirs AS SELECT event_id FROM ${EVENTS}`);
    await rebuild(old);
    await storeOf(old).insert(batchOf(1, goodRows(2, 50_000)));
    expect(await idsOf(old.client)).toEqual([50_000, 50_001]);
    await server.stop();
    await server.start();
    await storeOf(old).insert(batchOf(2, goodRows(1, 50_002)));
    expect(await idsOf(old.client)).toEqual([50_000, 50_001, 50_002]);
  });

  const idsOf = async (client: ClickHouseClient) => {
    const rows = await select<{ n: number }>(
      client,
      `SELECT toUInt32(right(toString(event_id), 12)) AS n FROM theirs ORDER BY n`,
    );
    return rows.map(({ n }) => n);
  };
});

test('a view of the rebuild that fails keeps no event out, and what it has missed is copied', async () => {
  const old = await oldDatabase();
  await rebuild(old, isDoing('checking'));
  await command(old.client, `ALTER TABLE ${REBUILT} ADD CONSTRAINT never CHECK event = ''`);
  await storeOf(old).insert(batchOf(1, goodRows(3, 60_000)));
  expect(await idsIn(old.client, REBUILT)).not.toContain('01900000-0000-8000-8000-000000060000');
  await command(old.client, `ALTER TABLE ${REBUILT} DROP CONSTRAINT never`);
  await rebuild(old);
  await expectRebuilt(old);
  expect(await idsIn(old.client)).toContain('01900000-0000-8000-8000-000000060002');
});

test('a table that is changed meanwhile is begun anew, with the change', async () => {
  const old = await oldDatabase();
  const before = await eventsIn(old.client);
  await rebuild(old, isDoing('checking'));
  await command(old.client, `ALTER TABLE ${EVENTS} ADD COLUMN added String DEFAULT 'x'`);
  await rebuild(old);
  await expectRebuilt(old);
  expect(await eventsIn(old.client)).toEqual(before);
  expect(await select(old.client, `SELECT DISTINCT added FROM ${EVENTS}`)).toEqual([{ added: 'x' }]);
});

describe('what is changed meanwhile stays changed', () => {
  /** As a chunk that has read the rows before they were changed, and writes them afterwards. */
  const slowCopy = (client: ClickHouseClient) =>
    client.command({
      query: `INSERT INTO ${REBUILT} (project_id, event_id, event, timestamp, received_at, expires_at)
        SELECT project_id, event_id, event, timestamp, received_at - toIntervalMillisecond(sleepEachRow(0.3)), expires_at
        FROM ${EVENTS} WHERE project_id = '${OTHER}' LIMIT 5 SETTINGS max_block_size = 1`,
      clickhouse_settings: { log_comment: COPYING, wait_end_of_query: 1 },
    });
  const copying = (client: ClickHouseClient) =>
    select(client, `SELECT 1 FROM system.processes WHERE Settings['log_comment'] = '${COPYING}'`);

  test('an erased project does not come back, whatever was being copied', async () => {
    const old = await oldDatabase();
    await rebuild(old, isDoing('checking'));
    const copy = slowCopy(old.client);
    await expect.poll(async () => (await copying(old.client)).length, { timeout: 10_000 }).toBeGreaterThan(0);
    const [events] = await eraseProject({ client: old.client, clock: systemClock }, OTHER, () => {});
    await copy;
    expect(events).toMatchObject({ table: EVENTS, left: 0 });
    expect(events!.rows).toBeGreaterThanOrEqual(1_000);
    await rebuild(old);
    await expectRebuilt(old);
    expect(await select(old.client, `SELECT count() FROM ${EVENTS} WHERE project_id = '${OTHER}'`)).toEqual([
      { 'count()': '0' },
    ]);
    expect(await idsIn(old.client)).toHaveLength(4_004);
  });

  test('an erased project does not come back after the exchange either', async () => {
    const old = await oldDatabase();
    await rebuild(old, isDoing('finishing'));
    await eraseProject({ client: old.client, clock: systemClock }, OTHER, () => {});
    await rebuild(old);
    await expectRebuilt(old);
    expect(await select(old.client, `SELECT count() FROM ${EVENTS} WHERE project_id = '${OTHER}'`)).toEqual([
      { 'count()': '0' },
    ]);
  });

  test('a retention that was changed holds in the new table', async () => {
    const old = await oldDatabase();
    await rebuild(old, isDoing('checking'));
    const copy = slowCopy(old.client);
    await expect.poll(async () => (await copying(old.client)).length, { timeout: 10_000 }).toBeGreaterThan(0);
    const seconds = 3_650 * 86_400;
    const rewritten = await rewriteRetention(
      { client: old.client, clock: systemClock },
      { projectId: OTHER, retentionSeconds: seconds, confirmWanted: () => Promise.resolve() },
      () => {},
    );
    await copy;
    expect(rewritten).toMatchObject({ expired: 0, left: 0 });
    expect(rewritten.changed).toBeGreaterThanOrEqual(1_000);
    await rebuild(old);
    await expectRebuilt(old);
    const wrong = `SELECT count() FROM ${EVENTS} WHERE project_id = '${OTHER}' AND expires_at != toDateTime(received_at + ${seconds}, 'UTC')`;
    expect(await select(old.client, wrong)).toEqual([{ 'count()': '0' }]);
    expect(await idsIn(old.client)).toHaveLength(5_004);
  });
});
