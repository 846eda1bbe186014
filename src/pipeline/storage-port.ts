/**
 * Everything that one Weir needs of the software that stores events: inserts, tables, reading, and its state. A
 * vendor's folder implements it (`clickhouse/event-storage.ts`), and `composition/storage.ts` chooses one.
 */
import type { EventStore } from './ports.ts';
import type { CountEvents, ProjectReader } from './read-ports.ts';

/** A table, view or setting that differs from what the migrations of this version left. */
export type SchemaDrift = {
  readonly table: string;
  readonly problem: string;
  /** The exact statement that repairs it. */
  readonly remedy: string;
};

/** How the rebuild of a large table stands, as an operator wants to know it. */
export type RebuildState =
  /** There is nothing to rebuild, or it has been. */
  | { readonly kind: 'done' }
  | {
      readonly kind: 'running';
      readonly doing: 'copying' | 'checking' | 'finishing';
      /** Rows that this part of the work is through with, of about so many. */
      readonly rows: number;
      readonly total: number;
      /** What has to end before it goes on; null when nothing has to. Completes the sentence "it waits for …". */
      readonly waitsFor: string | null;
    }
  /** It cannot begin or go on until somebody has done something: why, and what. */
  | { readonly kind: 'blocked'; readonly why: string };

/**
 * The rebuild of a table that is too large to be changed while a start waits. It
 * is taken step by step, each of seconds; whatever ends a process, the next step goes
 * on from what there is. Throws what `explain` of the schema explains.
 */
export type TableRebuild = {
  /** `next`: which lock the next step needs: that of migrations (`tables`), or one of its own (`rows`). */
  read(): Promise<{ readonly state: RebuildState; readonly next: 'none' | 'tables' | 'rows' }>;
  /** Takes the next step if it is one of these, under their lock. */
  take(what: 'tables' | 'rows'): Promise<RebuildState>;
};

/** The tables of the event store. */
export type EventSchema = {
  readonly rebuild: TableRebuild;
  /**
   * Applies missing migrations, and returns their names. May be repeated, also after a failure half way; not by two
   * callers at a time. Throws what `explain` explains.
   */
  migrate(): Promise<string[]>;
  /** Compares the tables with the migrations; empty when nothing differs. Throws what `explain` explains. */
  check(): Promise<SchemaDrift[]>;
  /** Why one of the above failed, and the remedy: one sentence without its full stop and without event data. */
  explain(error: unknown): string;
};

/** What one query of a client may use. */
export type QueryLimits = {
  readonly maxExecutionS: number;
  readonly maxRows: number;
  /** Of rows, as JSON. */
  readonly maxResultBytes: number;
};

/** What clients read: counts, SQL over one project, and its schema. */
export type EventReading = {
  readonly countEvents: CountEvents;
  readonly projectReader: ProjectReader;
  readonly queryLimits: QueryLimits;
};

/** What a store needs from time to time, beside the inserts. */
export type StoreUpkeep = {
  /**
   * Does some of what there is to do, a matter of seconds, for what changed within the last `sinceS` seconds; resolves
   * to how much, 0 when nothing was left. Several processes may call it at once. Throws what the store throws.
   */
  doSome(sinceS: number): Promise<number>;
  /** What operators should know when it has failed for long. */
  readonly neglected: string;
};

/**
 * The software that stores events, as messages name it. `Postgres` is the database that keeps dead letters, projects
 * and tokens as well: whatever is wrong with one of them is wrong with both.
 */
export type EventStoreName = 'ClickHouse' | 'Postgres';

export type EventStorage = {
  readonly name: EventStoreName;
  readonly events: EventStore;
  readonly schema: EventSchema;
  readonly upkeep: StoreUpkeep;
  /**
   * Whether the store itself answers, whatever the answer; false when something else does. Throws when nothing answers.
   */
  isAnswering(signal: AbortSignal): Promise<boolean>;
  /** Why `isAnswering` threw, in words for health pages and logs; null where the network error says everything. */
  connectTrouble(error: unknown): string | null;
  /** What operators should know although inserts land, a sentence each. */
  notices(): readonly string[];
  /** Failed inserts by the foreign view that failed. */
  foreignViewFailures(): ReadonlyMap<string, number>;
  /** Call it once. `downSignal` aborts while the store is known to be down; `stopping` ends what runs. */
  openReading(signals: { readonly downSignal: () => AbortSignal; readonly stopping: AbortSignal }): EventReading;
  /** Closes the connections. Never rejects. */
  close(): Promise<void>;
};
