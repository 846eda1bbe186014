import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { idsOf, splitRows } from '../../event/rows.ts';
import type { BatchId } from '../../pipeline/batch.ts';
import { type EventStore, InsertFailure, type Insertable, type Inspection } from '../../pipeline/ports.ts';
import { literal } from '../connection/quoting.ts';
import { EVENTS } from '../migrations/event-tables.ts';
import { createDivision } from './division.ts';
import type { ExternalTable } from './external-rows.ts';
import { type ForeignViews, IGNORING_VIEW_ERRORS } from './foreign-views.ts';
import { mergeInspections } from './inspection-parts.ts';
import { createRequests } from './requests.ts';
import { inspectRows } from './row-inspection.ts';
import { createTableShapeReader } from './table-shape.ts';
import { putBack, vanishedOf } from './vanished-rows.ts';

/** The columns a row carries; the others have defaults or are computed. Frozen: dead letters hold such rows. */
const ROW_COLUMNS = [
  'project_id',
  'event_id',
  'event',
  'anonymous_id',
  'user_id',
  'timestamp',
  'session_id',
  'properties',
  'extras',
  'properties_sent',
  'extras_sent',
  'source',
  'received_at',
  'expires_at',
] as const;

/** Ids in one question, of the 128 kB that ClickHouse takes in one form field. */
const MAX_ASKED = 2_000;
/** What one takes there; its project as much again at most. */
const ASKED_BYTES = 39;

/** The caller counts time by another clock than ClickHouse's. */
const CLOCK_MARGIN_MS = 60_000;

type Views = Pick<ForeignViews, 'areIgnored' | 'forgives' | 'checkOwn'>;

const NO_FOREIGN_VIEWS: Views = {
  areIgnored: () => false,
  forgives: () => Promise.resolve(false),
  checkOwn: () => Promise.resolve(),
};

export type InsertOptions = {
  readonly database: string;
  /** Our own deadline; ClickHouse is told to stop a little earlier. */
  readonly timeoutMs: number;
};

/** The event store on ClickHouse: one insert a batch, the batch's id as deduplication token. */
export function createEventStore(
  {
    client,
    clock,
    views = NO_FOREIGN_VIEWS,
    onVanished = () => {},
  }: {
    client: ClickHouseClient;
    clock: Clock;
    views?: Views;
    /** Told of rows that ClickHouse had taken for stored, and did not have; they are stored now. */
    onVanished?: (rows: { readonly batchId: BatchId; readonly events: number }) => void;
  },
  { database, timeoutMs }: InsertOptions,
): EventStore {
  const table = `${database}.${EVENTS}`;
  const requests = createRequests({ client, clock }, { timeoutMs });
  const shape = createTableShapeReader({ ask: requests.ask, clock }, { database, table: EVENTS, carried: ROW_COLUMNS });

  /** What passes of the one kind of question says nothing about the other. */
  const [inspections, lookUps] = [createDivision({ clock }), createDivision({ clock })];

  return { insert, dryRun, inspect, findStored, countInserts };

  async function insert(batch: Insertable, signal?: AbortSignal): Promise<void> {
    const deadline = clock.elapsed() + timeoutMs;
    const areIgnored = views.areIgnored();
    try {
      await store(batch, { signal, deadline, areIgnored });
    } catch (error) {
      // The columns may have changed: the dry runs that look for the reason must see them as they are now.
      shape.forget();
      if (areIgnored || !(await views.forgives(error))) throw error;
      // The same bytes under the same token: what has its rows keeps them, what has not gets them.
      await store(batch, { signal, deadline, areIgnored: true });
    }
    if (batch.mayHaveLanded) await lookForRows(batch, signal);
  }

  /** ClickHouse may have taken the batch for a copy of one that it lost when it was killed (decision 44). */
  async function lookForRows({ id, chunks }: Insertable, signal?: AbortSignal): Promise<void> {
    const rows = splitRows(Buffer.concat(chunks));
    const vanished = vanishedOf(rows, await findStored(rows, signal));
    if (vanished.length === 0) return;
    const settings = { insert_deduplicate: 0, max_partitions_per_insert_block: '0' } as const;
    await putBack(
      vanished,
      id,
      { database, table: EVENTS, columns: ROW_COLUMNS },
      {
        run: async (statement, data) => void (await requests.send(statement, data, signal, settings, timeoutMs)),
        ask: (query, params) => requests.ask(query, params, signal),
      },
    );
    onVanished({ batchId: id, events: vanished.length });
  }

  /** `areIgnored`: no error of a view keeps the rows from landing. Weir's own are then looked after. */
  async function store(
    { id, chunks }: Insertable,
    { signal, deadline, areIgnored }: { signal: AbortSignal | undefined; deadline: number; areIgnored: boolean },
  ): Promise<void> {
    const settings = {
      insert_deduplicate: 1,
      deduplicate_blocks_in_dependent_materialized_views: 1,
      insert_deduplication_token: id,
      ...(areIgnored && IGNORING_VIEW_ERRORS),
    } as const;
    const query = `INSERT INTO ${table} (${ROW_COLUMNS.join(', ')}) FORMAT JSONEachRow`;
    const sendWith = async (more: ClickHouseSettings) => {
      const withinMs = Math.max(0, deadline - clock.elapsed());
      return requests.send(query, chunks, signal, { ...settings, ...more }, withinMs);
    };
    let queryId: string;
    try {
      queryId = await sendWith({});
    } catch (error) {
      if (!isAboutPartitions(error)) throw error;
      // No row is bad: it is the table's partitions that its operator chose so fine.
      queryId = await sendWith({ max_partitions_per_insert_block: '0' });
    }
    if (areIgnored) await views.checkOwn(queryId);
  }

  async function dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void> {
    const { carried } = await shape.read();
    const structure = carried.map(({ name, type }) => `${name} ${type}`).join(', ');
    await requests.send(
      `INSERT INTO FUNCTION null(${literal(structure)}) FORMAT JSONEachRow`,
      rows,
      signal,
      {},
      timeoutMs,
    );
  }

  async function inspect(rows: readonly Buffer[], signal?: AbortSignal): Promise<Inspection> {
    const deps = {
      readShape: shape.read,
      select: (query: string, tables: readonly ExternalTable[]) => requests.select(query, tables, signal),
      dryRun: (some: readonly Buffer[]) => dryRun(some, signal),
    };
    const places = rows.map((row, place) => ({ row, place }));
    const parts = await inspections.ask(
      places,
      ({ row }) => row.length,
      async (part) => {
        const inspection = await inspectRows(
          part.map(({ row }) => row),
          deps,
        );
        return { from: part[0]!.place, inspection };
      },
    );
    return parts.length === 1 ? parts[0]!.inspection : mergeInspections(parts);
  }

  async function findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]> {
    const ids = rows.map(idsOf);
    const known = ids.filter((id) => id !== null);
    const stored = new Set<string>();
    for (let from = 0; from < known.length; from += MAX_ASKED) {
      const some = known.slice(from, from + MAX_ASKED);
      const found = await lookUps.ask(
        some,
        () => ASKED_BYTES,
        (part) => storedAmong(part, signal),
      );
      for (const { project, id } of found.flat()) stored.add(`${project} ${id}`);
    }
    return ids.map((id) => id !== null && stored.has(`${id.projectId} ${id.eventId}`));
  }

  function storedAmong(asked: readonly NonNullable<ReturnType<typeof idsOf>>[], signal?: AbortSignal) {
    const arrivals = asked.map(({ receivedAt }) => receivedAt).sort();
    return requests.ask<{ project: string; id: string }>(
      // The arrival names the parts to look into: each knows the earliest and latest in it.
      // The names differ from the columns': in ClickHouse an alias also stands for its text in WHERE.
      `SELECT DISTINCT toString(project_id) AS project, toString(event_id) AS id FROM ${table}
       WHERE received_at BETWEEN parseDateTime64BestEffort({first:String}, 3, 'UTC') AND parseDateTime64BestEffort({last:String}, 3, 'UTC')
       AND has({projects:Array(UUID)}, project_id) AND event_id IN {events:Array(UUID)}`,
      {
        first: arrivals[0]!,
        last: arrivals.at(-1)!,
        projects: [...new Set(asked.map(({ projectId }) => projectId))],
        events: asked.map(({ eventId }) => eventId),
      },
      signal,
    );
  }

  /**
   * Parts are numbered by one counter for the whole table, one number an insert.
   * A part that was written before the age began and was not merged since says
   * how far it was then. Merges leave no such part of a small table: then all its
   * inserts count, provided that the table itself is that old. A table that was
   * restored from a backup is not: it counts anew, and remembers nothing of before.
   */
  async function countInserts(ageMs: number, signal?: AbortSignal): Promise<number> {
    const [counted] = await requests.ask<{ total: string; before: string; older: string; tables: string }>(
      `SELECT toString(max(max_block_number)) AS total,
         toString(maxIf(max_block_number, modification_time < now() - {seconds:UInt32})) AS before,
         toString(countIf(modification_time < now() - {seconds:UInt32})) AS older,
         toString((SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'events_raw_v1'
           AND metadata_modification_time < now() - {seconds:UInt32})) AS tables
       FROM system.parts WHERE database = {database:String} AND table = 'events_raw_v1'`,
      { database, seconds: Math.ceil((ageMs + CLOCK_MARGIN_MS) / 1_000) },
      signal,
    );
    const { total, before, older, tables } = counted!;
    if (older !== '0') return Number(total) - Number(before);
    return tables === '0' ? Infinity : Number(total);
  }
}

/** Too many partitions, for which the class of 252 is `data`; too many parts are `capacity`. */
const isAboutPartitions = (error: unknown) =>
  error instanceof InsertFailure && error.code === 252 && error.failureClass === 'data';
