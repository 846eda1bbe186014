/** What the pipeline relies on in an event store, of the fake, of ClickHouse and of Postgres alike. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store/event-store.ts';
import { openClickHouse } from '../../src/clickhouse/event-storage.ts';
import type { ProjectId } from '../../src/event/event.ts';
import { createLog } from '../../src/log/log.ts';
import type { EventStorage } from '../../src/pipeline/storage-port.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { openPostgresEvents } from '../../src/postgres/event-storage.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { ORDINARY_ROW } from '../../src/event/rows.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import type { EventStore, InsertFailure, Inspection } from '../../src/pipeline/ports.ts';
import { OTHER_PROJECT, PROJECT } from '../support/factory.ts';
import { startHttpProxy } from '../support/fault-proxy.ts';
import { createEventStoreFake } from '../support/fakes.ts';
import { batchOf, eventIdOf, goodRows, type Kind, rowOf, type RowSpec } from '../support/rows.ts';
import { startClickHouseOnly, startPostgresOnly } from '../support/stores.ts';

type Subject = {
  readonly store: EventStore;
  /** How often the rows numbered from `from` up to `to`, without it, are in the table. */
  stored(from: number, to: number): Promise<number>;
  /** What the counting view says of everything so far. */
  counted(): Promise<number>;
  /** How often rows are stored that were sent twice, under two ids: what clients sent again is the store's to know. */
  readonly storesCopies: 'twice' | 'once';
  /** Whether a refused insert says which row it was. */
  readonly hintsAtRows: boolean;
};

const numbers = (specs: readonly RowSpec[]) => [specs[0]!.n, specs[0]!.n + specs.length] as const;
const rowsOf = (specs: readonly RowSpec[]) => specs.map(rowOf);
const withBad = (specs: readonly RowSpec[], index: number, kind: Kind) => specs.with(index, { ...specs[index]!, kind });
const refusal = async (work: Promise<unknown>) => (await failureOf(work)) as InsertFailure | null;

function contract(open: () => Subject) {
  let next = 0;
  /** Numbers that no other test uses: the store is shared. */
  const fresh = (count: number): RowSpec[] => goodRows(count, (next += 10_000));

  test('stores a batch once, in the table and in the view, however often it is sent', async () => {
    const { store, stored, counted } = open();
    const specs = fresh(20);
    const before = await counted();
    for (let i = 0; i < 3; i++) await store.insert(batchOf(next, specs));
    await Promise.all([1, 2, 3].map(() => store.insert(batchOf(next, specs))));
    expect(await stored(...numbers(specs))).toBe(20);
    expect((await counted()) - before).toBe(20);
  });

  test('the same rows under two ids are no failure, and the first id stays harmless', async () => {
    const { store, counted, storesCopies } = open();
    const specs = fresh(5);
    const before = await counted();
    await store.insert(batchOf(next, specs));
    await store.insert(batchOf(next + 1, specs));
    await store.insert(batchOf(next, specs));
    expect((await counted()) - before).toBe(storesCopies === 'twice' ? 10 : 5);
  });

  test.each(['unreadable', 'forbidden'] as const)('one %s row keeps the whole batch out', async (kind) => {
    const { store, stored, hintsAtRows } = open();
    const specs = withBad(fresh(20), 7, kind);
    const rowHint = hintsAtRows ? 7 : null;
    expect(await refusal(store.insert(batchOf(next, specs)))).toMatchObject({ failureClass: 'data', rowHint });
    expect(await stored(...numbers(specs))).toBe(0);
  });

  test('looks at rows and says which are refused and why, and stores nothing', async () => {
    const { store, stored } = open();
    const specs = withBad(withBad(withBad(fresh(200), 7, 'unreadable'), 150, 'forbidden'), 199, 'unreadable');
    const { refusals, isComplete } = await store.inspect(rowsOf(specs));
    expect(isComplete).toBe(true);
    expect(
      refusals.map(({ failure, rows, isOrdinaryRefused }) => [failure.failureClass, rows, isOrdinaryRefused]),
    ).toEqual([
      ['data', [7, 199], false],
      ['data', [150], false],
    ]);
    expect(await stored(...numbers(specs))).toBe(0);
  });

  test('has nothing against good rows', async () => {
    const { store } = open();
    expect(await store.inspect(rowsOf(fresh(50)))).toEqual({ refusals: [], isComplete: true });
  });

  test('a batch that was refused lands under the same id once its rows are good for it', async () => {
    const { store, stored } = open();
    const specs = fresh(3);
    const bad = { ...batchOf(next, withBad(specs, 1, 'unreadable')) };
    expect(await refusal(store.insert(bad))).not.toBeNull();
    const good = batchOf(next, [specs[0]!, specs[2]!]);
    await store.insert({ ...good, id: batchOf(next + 1, specs).id });
    expect(await stored(...numbers(specs))).toBe(2);
  });

  test('a dry run reads good rows without storing them', async () => {
    const { store, stored } = open();
    const specs = fresh(10);
    await store.dryRun(rowsOf(specs));
    await store.dryRun([ORDINARY_ROW]);
    expect(await stored(...numbers(specs))).toBe(0);
  });

  test.each([0, 4, 9])('a dry run refuses an unreadable row, and says which: row %i', async (index) => {
    const { store, stored } = open();
    const specs = withBad(fresh(10), index, 'unreadable');
    const failure = await refusal(store.dryRun(rowsOf(specs)));
    expect(failure).toMatchObject({ failureClass: 'data', rowHint: index });
    expect(failure?.message).not.toContain('never');
    expect(await stored(...numbers(specs))).toBe(0);
  });

  test('a dry run does not see what only storing shows', async () => {
    const { store } = open();
    await store.dryRun(rowsOf(withBad(fresh(3), 1, 'forbidden')));
  });

  test('findStored tells the stored rows from the others', async () => {
    const { store } = open();
    const specs = fresh(10);
    await store.insert(batchOf(next, specs.slice(0, 4)));
    expect(await store.findStored(rowsOf(specs))).toEqual(specs.map((_, index) => index < 4));
    expect(await store.findStored([])).toEqual([]);
  });

  test('findStored asks about more rows than fit into one question', async () => {
    const { store } = open();
    const specs = fresh(6_000);
    await store.insert(batchOf(next, specs.slice(4_000)));
    expect(await store.findStored(rowsOf(specs))).toEqual(specs.map((_, index) => index >= 4_000));
  });

  test('findStored does not take one project for another', async () => {
    const { store } = open();
    const [spec] = fresh(1);
    await store.insert(batchOf(next, [spec!]));
    expect(await store.findStored([rowOf({ ...spec!, projectId: OTHER_PROJECT })])).toEqual([false]);
  });

  test('countInserts counts at least what landed in the time asked about', async () => {
    const { store } = open();
    const before = await store.countInserts(3_600_000);
    for (const spec of fresh(3)) await store.insert(batchOf(1_000_000 + spec.n, [spec]));
    expect(await store.countInserts(3_600_000)).toBeGreaterThanOrEqual(before + 3);
    expect(await store.countInserts(60_000)).toBeGreaterThanOrEqual(3);
  });

  test('a call that was cancelled before it began sends nothing', async () => {
    const { store, stored } = open();
    const specs = fresh(2);
    const failure = await refusal(store.insert(batchOf(next, specs), AbortSignal.abort()));
    expect(failure).toMatchObject({ failureClass: 'unavailable' });
    expect(await stored(...numbers(specs))).toBe(0);
  });
}

/** What else Weir relies on in the software that stores events. `store` is migrated, and its tables are as they should be. */
function storageContract(open: () => EventStorage) {
  const signal = new AbortController().signal;

  test('migrating again finds nothing to do, and the tables are as they should be', async () => {
    const { schema } = open();
    expect(await schema.migrate()).toEqual([]);
    expect(await schema.check()).toEqual([]);
  });

  test('answers, and has nothing to say while all is well', async () => {
    const storage = open();
    expect(await storage.isAnswering(signal)).toBe(true);
    expect(storage.notices()).toEqual([]);
    expect([...storage.foreignViewFailures()]).toEqual([]);
  });

  test('explains any failure in one sentence, which leaves its text out where it may quote events', () => {
    const storage = open();
    for (const thrown of [new Error('refused'), Object.assign(new Error('row "secret"'), { code: '27' }), 'no error']) {
      const words = storage.schema.explain(thrown);
      expect(words).toMatch(/^\S.*[^.\s]$/);
      expect(words).not.toContain('secret');
    }
    expect(storage.connectTrouble(new Error('refused'))).toBeNull();
  });
}

/** What clients read. */
function readingContract(open: () => EventStorage) {
  const signal = new AbortController().signal;
  const project = '0198c0de-0000-7000-8000-00000000c0de' as ProjectId;

  test('counts and queries read what was inserted, of that project alone', async () => {
    const { events, openReading } = open();
    const { countEvents, projectReader, queryLimits } = openReading({
      downSignal: () => signal,
      stopping: new AbortController().signal,
    });
    await events.insert(
      batchOf(
        9_000_000,
        goodRows(7, 9_000_000).map((spec) => ({ ...spec, projectId: project })),
      ),
    );
    await events.insert(
      batchOf(
        9_100_000,
        goodRows(3, 9_100_000).map((spec) => ({ ...spec, projectId: OTHER_PROJECT })),
      ),
    );
    const day = Date.UTC(2026, 0, 1);
    const question = { projectId: project, event: 'visit', fromMs: day, toMs: day + 86_400_000 };
    const { total } = await countEvents({ ...question, groupBy: null, isExact: true }, signal);
    expect(total).toEqual({ events: 7, users: 1 });

    const answer = await projectReader.query(project, 'SELECT count(*) FROM events', { queryId: randomUUID(), signal });
    if (answer.kind !== 'answer') expect.fail(answer.kind);
    const rows: string[] = [];
    for await (const some of answer.rows) rows.push(...some);
    expect(rows.map((row) => JSON.parse(row) as unknown)).toEqual([['7']]);
    const described = await projectReader.schema(project, signal);
    expect(described).toMatchObject({ kind: 'schema', events: ['visit'] });
    expect(Object.values(queryLimits).every((limit) => limit > 0)).toBe(true);
  });
}

describe('the fake', () => {
  const fake = createEventStoreFake();
  // The fake has one table for all projects; a row that is another's is not in it.
  const store: EventStore = {
    ...fake,
    findStored: async (rows, signal) =>
      (await fake.findStored(rows, signal)).map((isStored, index) => isStored && rows[index]!.includes(PROJECT)),
  };
  contract(() => ({
    store,
    stored: async (from, to) =>
      [...fake.stored].reduce((sum, [n, count]) => sum + (n >= from && n < to ? count : 0), 0),
    counted: async () => fake.counted,
    storesCopies: 'twice',
    hintsAtRows: true,
  }));
});

describe('ClickHouse', () => {
  let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
  let clickhouse: ReturnType<typeof createClickHouse>;
  let storage: EventStorage;
  let store: EventStore;
  const database = 'analytics';

  const select = async (query: string) => {
    const answer = await clickhouse.query({ query, format: 'JSONEachRow' });
    const [row] = await answer.json<{ n: string }>();
    return Number(row!.n);
  };

  beforeAll(async () => {
    server = await startClickHouseOnly();
    clickhouse = createClickHouse({ url: server.url, database, maxConnections: 8 });
    const access = { url: server.url, username: 'default', password: '', key: null };
    const sizes = { maxInFlight: 4, insertTimeoutMs: 30_000, maxQueries: 2, workers: 1 };
    storage = openClickHouse({ access, database, ...sizes }, { clock: systemClock, log: createLog('silent') });
    expect(await storage.schema.migrate()).not.toEqual([]);
    await clickhouse.command({
      query: `ALTER TABLE events_raw_v1 ADD CONSTRAINT nothing_forbidden CHECK event != 'forbidden'`,
    });
    store = storage.events;
  });
  afterAll(async () => {
    await Promise.all([clickhouse.close(), storage.close()]);
    await server.discard();
  });

  contract(() => ({
    store,
    stored: (from, to) =>
      select(
        `SELECT count() AS n FROM events_raw_v1 WHERE event_id >= toUUID('${eventIdOf(from)}') AND event_id < toUUID('${eventIdOf(to)}')`,
      ),
    counted: () => select('SELECT sum(events) AS n FROM event_counts_hourly'),
    storesCopies: 'twice',
    hintsAtRows: true,
  }));

  storageContract(() => storage);
  readingContract(() => storage);

  test('countInserts knows of no insert before the oldest part, as after a restore, and counts exactly after one', async () => {
    expect(await store.countInserts(3_600_000)).toBe(Infinity);
    // Of parts that no merge may take, in a time that leaves out the margin for clocks.
    await clickhouse.command({ query: 'SYSTEM STOP MERGES events_raw_v1' });
    const insert = (n: number) => store.insert(batchOf(2_000_000 + n, [{ n: 2_000_000 + n }]));
    await insert(0);
    await systemClock.sleep(4_000);
    const startedAt = systemClock.elapsed();
    for (let n = 1; n <= 3; n++) await insert(n);
    const counted = await store.countInserts(systemClock.elapsed() - startedAt + 1_500 - 60_000);
    await clickhouse.command({ query: 'SYSTEM START MERGES events_raw_v1' });
    expect(counted).toBe(3);
  });

  test('countInserts counts every insert of a table that is older than the time asked about, and whose parts are not', async () => {
    const access = { url: server.url, username: 'default', password: '', key: null };
    const young = openClickHouse(
      { access, database: 'young', maxInFlight: 4, insertTimeoutMs: 30_000, maxQueries: 2, workers: 1 },
      { clock: systemClock, log: createLog('silent') },
    );
    await young.schema.migrate();
    await systemClock.sleep(3_000);
    const startedAt = systemClock.elapsed();
    const sinceStart = () => young.events.countInserts(systemClock.elapsed() - startedAt - 60_000);
    for (let n = 1; n <= 3; n++) await young.events.insert(batchOf(n, [{ n }]));
    await clickhouse.command({ query: 'OPTIMIZE TABLE young.events_raw_v1 FINAL' });
    expect(await sinceStart()).toBeGreaterThanOrEqual(3);
    expect(await sinceStart()).toBeLessThan(10);
    expect(await young.events.countInserts(3_600_000)).toBe(Infinity);
    // As a restored table: it was not there then.
    await clickhouse.command({ query: "ALTER TABLE young.events_raw_v1 MODIFY COMMENT 'restored'" });
    expect(await sinceStart()).toBe(Infinity);
    await young.close();
  });

  describe('behind something that takes little at a time', () => {
    let proxy: Awaited<ReturnType<typeof startHttpProxy>>;
    let behind: ReturnType<typeof createClickHouse>;
    beforeAll(async () => {
      proxy = await startHttpProxy(server.url);
      behind = createClickHouse({ url: proxy.url, database, maxConnections: 8 });
    });
    afterAll(async () => {
      await behind.close();
      await proxy.stop();
    });
    /** A store that has met no limit yet. */
    function limitedTo(maxBytes: number): EventStore {
      proxy.set({ kind: 'limit-body', maxBytes }, { only: 'everything' });
      return createEventStore({ client: behind, clock: systemClock }, { database, timeoutMs: 30_000 });
    }

    test.each([8_000, 64 * 1024])('of %i bytes, rows are looked at in parts with the same outcome', async (limit) => {
      let specs = goodRows(1_000, 3_000_000);
      for (const index of [0, 7, 8, 499, 999]) specs = withBad(specs, index, 'unreadable');
      for (const index of [500, 998]) specs = withBad(specs, index, 'forbidden');
      const outcomeOf = ({ refusals, isComplete }: Inspection) => ({
        isComplete,
        refused: refusals.map(({ failure, rows, when, isOrdinaryRefused }) => [
          failure.code,
          rows,
          when,
          isOrdinaryRefused,
        ]),
      });
      const limited = limitedTo(limit);
      const found = outcomeOf(await limited.inspect(rowsOf(specs)));
      expect(found).toEqual(outcomeOf(await store.inspect(rowsOf(specs))));
      expect(found.refused).toMatchObject([
        [expect.any(Number), [0, 7, 8, 499, 999], 'reading', false],
        [469, [500, 998], 'storing', false],
      ]);
      // A batch of which nothing can be read, and one row that is nearly as large as the limit.
      const bad = specs.slice(0, 100).map((spec) => rowOf({ ...spec, kind: 'unreadable' }));
      const { refusals } = await limited.inspect(bad);
      expect(refusals.flatMap(({ rows }) => rows).toSorted((a, b) => a - b)).toEqual(bad.map((_, index) => index));
      const large = rowOf({ n: 1, kind: 'unreadable', properties: `{"pad":"${'x'.repeat(limit / 2)}"}` });
      expect((await limited.inspect([ORDINARY_ROW, large])).refusals.map(({ rows }) => rows)).toEqual([[1]]);
    });

    test('ids are asked about in parts, by which no row is found that is not there, or missed', async () => {
      const specs = goodRows(6_000, 4_000_000).map((spec) => ({
        ...spec,
        projectId: spec.n % 3 === 0 ? OTHER_PROJECT : PROJECT,
      }));
      await store.insert(batchOf(4_000_000, specs.slice(2_500)));
      const limited = limitedTo(20_000);
      const before = proxy.hits();
      for (let n = 0; n < 2; n++) {
        expect(await limited.findStored(rowsOf(specs))).toEqual(specs.map((_, index) => index >= 2_500));
      }
      expect(proxy.hits()).toBeGreaterThan(before);
    });

    test('what is too large by itself is said to be', async () => {
      const limited = limitedTo(100);
      const rows = rowsOf(goodRows(5, 5_000_000));
      expect(await refusal(limited.findStored(rows))).toMatchObject({ failureClass: 'too_large' });
      expect(await refusal(limited.inspect(rows))).toMatchObject({ failureClass: 'too_large' });
    });
  });

  test('after a refused insert a dry run sees the columns as they are now', async () => {
    await store.dryRun([ORDINARY_ROW]);
    await clickhouse.command({ query: 'ALTER TABLE events_raw_v1 MODIFY COLUMN session_id Nullable(UInt64)' });
    const batch = { id: batchOf(1, goodRows(1)).id, chunks: [ORDINARY_ROW] };
    expect(await failureOf(store.insert(batch))).toMatchObject({ failureClass: 'data' });
    expect(await failureOf(store.dryRun([ORDINARY_ROW]))).toMatchObject({ failureClass: 'data' });
  });
});

describe('Postgres', () => {
  let server: Awaited<ReturnType<typeof startPostgresOnly>>;
  let postgres: ReturnType<typeof createPostgres>;
  let storage: EventStorage;

  const select = async (query: string) => Number((await postgres.pool.query<{ n: string }>(query)).rows[0]!.n);

  beforeAll(async () => {
    server = await startPostgresOnly();
    postgres = createPostgres({ url: server.url, maxConnections: 4 }, createLog('silent'));
    const sizes = { maxInFlight: 4, insertTimeoutMs: 30_000, maxQueries: 2, workers: 1 };
    storage = openPostgresEvents({ url: server.url, ...sizes }, { clock: systemClock, log: createLog('silent') });
    expect(await storage.schema.migrate()).not.toEqual([]);
    await postgres.pool.query(
      `ALTER TABLE analytics.events_raw ADD CONSTRAINT nothing_forbidden CHECK (event <> 'forbidden')`,
    );
  });
  afterAll(async () => {
    await Promise.all([postgres.pool.end(), storage.close()]);
    await server.discard();
  });

  contract(() => ({
    store: storage.events,
    stored: (from, to) =>
      select(
        `SELECT count(*) AS n FROM analytics.events_raw
         WHERE event_id >= '${eventIdOf(from)}' AND event_id < '${eventIdOf(to)}'`,
      ),
    counted: () => select('SELECT coalesce(sum(events), 0) AS n FROM analytics.event_counts_hourly'),
    storesCopies: 'once',
    hintsAtRows: false,
  }));

  storageContract(() => storage);
  readingContract(() => storage);

  test('lines that no Weir wrote are to blame themselves, also where no line tells when it arrived', async () => {
    const lines = ['no JSON\n', '{}\n'].map((line) => Buffer.from(line));
    expect(await refusal(storage.events.insert({ ...batchOf(8_000_000, goodRows(1)), chunks: lines }))).toMatchObject({
      failureClass: 'data',
    });
    const { refusals } = await storage.events.inspect(lines);
    expect(refusals.map(({ rows, isOrdinaryRefused }) => [rows, isOrdinaryRefused])).toEqual([
      [[0], false],
      [[1], false],
    ]);
  });
});
