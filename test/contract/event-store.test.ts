/** What the pipeline relies on in an event store, of the fake and of ClickHouse alike. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClickHouse } from '../../src/clickhouse/client.ts';
import { createEventStore } from '../../src/clickhouse/event-store.ts';
import { migrateClickHouse } from '../../src/clickhouse/migrate.ts';
import { systemClock } from '../../src/clock.ts';
import { ORDINARY_ROW } from '../../src/event/rows.ts';
import { failureOf } from '../../src/pipeline/outcome.ts';
import type { EventStore, InsertFailure } from '../../src/pipeline/ports.ts';
import { OTHER_PROJECT, PROJECT } from '../support/factory.ts';
import { createEventStoreFake } from '../support/fakes.ts';
import { batchOf, eventIdOf, goodRows, type Kind, rowOf, type RowSpec } from '../support/rows.ts';
import { startClickHouseOnly } from '../support/stores.ts';

type Subject = {
  readonly store: EventStore;
  /** How often the rows numbered from `from` up to `to`, without it, are in the table. */
  stored(from: number, to: number): Promise<number>;
  /** What the counting view says of everything so far. */
  counted(): Promise<number>;
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

  test('the same rows under two ids are stored twice: the id is what makes sending again harmless', async () => {
    const { store, counted } = open();
    const specs = fresh(5);
    const before = await counted();
    await store.insert(batchOf(next, specs));
    await store.insert(batchOf(next + 1, specs));
    expect((await counted()) - before).toBe(10);
  });

  test.each(['unreadable', 'forbidden'] as const)('one %s row keeps the whole batch out', async (kind) => {
    const { store, stored } = open();
    const specs = withBad(fresh(20), 7, kind);
    expect(await refusal(store.insert(batchOf(next, specs)))).toMatchObject({ failureClass: 'data', rowHint: 7 });
    expect(await stored(...numbers(specs))).toBe(0);
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
  }));
});

describe('ClickHouse', () => {
  let server: Awaited<ReturnType<typeof startClickHouseOnly>>;
  let clickhouse: ReturnType<typeof createClickHouse>;
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
    await migrateClickHouse(clickhouse, database);
    await clickhouse.command({
      query: `ALTER TABLE events_raw_v1 ADD CONSTRAINT nothing_forbidden CHECK event != 'forbidden'`,
    });
    store = createEventStore({ client: clickhouse, clock: systemClock }, { database, timeoutMs: 30_000 });
  });
  afterAll(async () => {
    await clickhouse.close();
    await server.discard();
  });

  contract(() => ({
    store,
    stored: (from, to) =>
      select(
        `SELECT count() AS n FROM events_raw_v1 WHERE event_id >= toUUID('${eventIdOf(from)}') AND event_id < toUUID('${eventIdOf(to)}')`,
      ),
    counted: () => select('SELECT sum(events) AS n FROM event_counts_hourly'),
  }));

  test('after a refused insert a dry run sees the columns as they are now', async () => {
    await store.dryRun([ORDINARY_ROW]);
    await clickhouse.command({ query: 'ALTER TABLE events_raw_v1 MODIFY COLUMN session_id Nullable(UInt64)' });
    const batch = { id: batchOf(1, goodRows(1)).id, chunks: [ORDINARY_ROW] };
    expect(await failureOf(store.insert(batch))).toMatchObject({ failureClass: 'data' });
    expect(await failureOf(store.dryRun([ORDINARY_ROW]))).toMatchObject({ failureClass: 'data' });
  });
});
