import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { ROW_FIELDS } from '../../event/row.ts';
import { splitRows } from '../../event/rows.ts';
import type { BatchId } from '../../pipeline/batch.ts';
import { type EventStore, InsertFailure, type Insertable, type Inspection } from '../../pipeline/ports.ts';
import { literal } from '../connection/quoting.ts';
import { EVENTS } from '../migrations/event-tables.ts';
import { createDivision } from './division.ts';
import type { ExternalTable } from './external-rows.ts';
import { type ForeignViews, IGNORING_VIEW_ERRORS } from './foreign-views.ts';
import { INSERTING } from './insert-settings.ts';
import { mergeInspections } from './inspection-parts.ts';
import { createKeptInserts } from './kept-inserts.ts';
import { createRequests } from './requests.ts';
import { inspectRows } from './row-inspection.ts';
import { createStoredRows } from './stored-rows.ts';
import { createTableShapeReader } from './table-shape.ts';
import { putBack, vanishedOf } from './vanished-rows.ts';

type Views = Pick<ForeignViews, 'areIgnored' | 'forgives' | 'checkOwn'>;

const NO_FOREIGN_VIEWS: Views = {
  areIgnored: () => false,
  forgives: () => Promise.resolve(false),
  checkOwn: () => Promise.resolve(),
};

export type InsertOptions = {
  readonly database: string;
  /** The servers that share the table, as the setting names them; null where it names none. */
  readonly cluster?: string | null;
  /** How many replicas have to have an insert before it counts as stored. */
  readonly quorum?: InsertQuorum | null;
  /** Our own deadline; ClickHouse is told to stop a little earlier. */
  readonly timeoutMs: number;
};

/** `auto`: more than half of the replicas. */
export type InsertQuorum = 'auto' | number;

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
  { database, timeoutMs, cluster = null, quorum = null }: InsertOptions,
): EventStore {
  const table = `${database}.${EVENTS}`;
  const requests = createRequests({ client, clock }, { timeoutMs });
  const shape = createTableShapeReader({ ask: requests.ask, clock }, { database, table: EVENTS, carried: ROW_FIELDS });

  const inspections = createDivision({ clock });

  const kept = createKeptInserts({ ask: requests.ask, clock }, { database, cluster });
  const findStored = createStoredRows({ ask: requests.ask, clock, readLayout: kept.layout }, table);

  return { insert, dryRun, inspect, findStored, countInserts: kept.count, readMemory: kept.memory };

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
      { database, table: EVENTS, columns: ROW_FIELDS },
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
      ...INSERTING,
      insert_deduplication_token: id,
      ...(quorum !== null && quorumSettings(quorum, timeoutMs)),
      ...(areIgnored && IGNORING_VIEW_ERRORS),
    } as const;
    const query = `INSERT INTO ${table} (${ROW_FIELDS.join(', ')}) FORMAT JSONEachRow`;
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
}

/** The confirmation may be late; what follows is sent again under the same id. */
const quorumSettings = (quorum: InsertQuorum, timeoutMs: number) => ({
  insert_quorum: String(quorum),
  insert_quorum_timeout: Math.max(1, Math.floor(timeoutMs * 0.8)),
});

/** Too many partitions, for which the class of 252 is `data`; too many parts are `capacity`. */
const isAboutPartitions = (error: unknown) =>
  error instanceof InsertFailure && error.code === 252 && error.failureClass === 'data';
