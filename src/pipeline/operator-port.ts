/**
 * What operators do with stored events, whatever stores them. A vendor's folder implements it
 * (`clickhouse/operations/event-operations.ts`, `postgres/event-operations/event-operations.ts`); the actions are in
 * `operations/`. Where nothing else is said, a function throws what the vendor's driver throws.
 */
import type { EventStore } from './ports.ts';
import type { EventStoreName } from './storage-port.ts';

/** The store gave up on a change. The message names the remedy; the store's text is withheld, as it may quote rows. */
export class StoreGaveUp extends Error {
  override readonly name: string = 'StoreGaveUp';
}

/** The store refused a query that a person wrote. The message is the store's own: shown to that person, never logged. */
export class QueryRefused extends Error {
  override readonly name = 'QueryRefused';
}

/** The store could not be queried. */
export class QueryUnanswered extends Error {
  override readonly name = 'QueryUnanswered';
}

export type TabularResult = {
  readonly columns: readonly { readonly name: string; readonly isNumeric: boolean }[];
  /** Cells as text, in groups as they arrive. */
  readonly rows: AsyncIterable<readonly (readonly string[])[]>;
};

/** What is left to do of a change: parts of a table, or rows. */
export type ToDo = { readonly toDo: number; readonly unit: 'part' | 'row' };

/** `rows`: that were deleted; `left`: that are there. */
export type ErasedTable = { readonly table: string; readonly rows: number; readonly left: number };
export type EraseProgress = ToDo & { readonly table: string; readonly rows: number };

/** How the unexpired events of a project relate to a retention. */
export type RetentionState = {
  readonly stored: number;
  /** Events with another expiry than the retention gives them. */
  readonly differing: number;
  /** Those among the differing events whose time under the retention is over. */
  readonly expiring: number;
};

export type RetentionRewrite = {
  readonly projectId: string;
  /** From arrival; null keeps the events. */
  readonly retentionSeconds: number | null;
  /** Called before every change; throws when another retention was set in the meantime. */
  readonly confirmWanted: () => Promise<void>;
};
export type RewrittenRetention = { readonly changed: number; readonly expired: number; readonly left: number };
export type RetentionRewriteProgress = ToDo & { readonly rows: number };

/** Counts of what the store holds, for comparison. */
export type StoredCounts = {
  /** Rows as stored. In ClickHouse copies of an event disappear when parts are merged. */
  readonly rows: number;
  /** Rows without those copies. */
  readonly distinctRows: number;
  /** The sum of the hourly counts, at the moment of the rows. */
  readonly counted: number;
  /** Every event that ever landed, copies included; of one project the same as `counted` where only that is known. */
  readonly landed: number;
};

/** Identity links of placeholder ids. */
export type WrongLinks = {
  readonly projectId: string;
  readonly side: 'anonymous_id' | 'user_id';
  /** The placeholder id as it was sent. */
  readonly id: string;
  readonly links: number;
};
export type RemovedLinks = { readonly removed: number; readonly restored: number; readonly left: number };

/** Which stored events somebody looks for. */
export type EventSearch = {
  /** `user`: their id, or the anonymous one. */
  readonly by:
    | { readonly kind: 'ids'; readonly ids: readonly string[] }
    | { readonly kind: 'user'; readonly user: string };
  /** null: of every project. */
  readonly projectId: string | null;
  /** Those that arrived since then, in epoch ms; null: all. */
  readonly sinceMs: number | null;
  readonly limit: number;
  readonly withinMs: number;
};

/** A stored event, as far as it is needed to recognise it. */
export type StoredEvent = {
  readonly projectId: string;
  readonly id: string;
  readonly event: string;
  readonly anonymousId: string | null;
  readonly userId: string | null;
  /** The front door. */
  readonly source: string;
  /** Epoch ms. */
  readonly receivedAt: number;
};

/** The table of events, as far as it decides which rows it takes. Statements are for the store's own client. */
export type DescribedTable = {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly isCarried: boolean }[];
  /** What every row has to meet. */
  readonly constraints: readonly { readonly name: string; readonly expression: string }[];
  /** The statement that takes a constraint away. */
  dropConstraint(name: string): string;
  /** The statement after which a column may be without a value; null where the store has none. */
  allowAbsence(column: string): string | null;
};

/** `day`: in UTC, such as `2026-11-30`. */
export type EventsOfDay = { readonly day: string; readonly events: number };

export type EventOperations = {
  readonly name: EventStoreName;
  describeTable(): Promise<DescribedTable>;
  /** The project's events by the day of their timestamps, as the hourly counts have them; days without any are missing. */
  countByDay(projectId: string, days: { readonly since: string }): Promise<readonly EventsOfDay[]>;
  /** Counts everything, or one project. Reads all of it. */
  countStored(projectId: string | null): Promise<StoredCounts>;
  /** The project's rows in each table; the events come first. */
  countRows(projectId: string): Promise<readonly ErasedTable[]>;
  /** The project's events that landed and were not deleted, as the hourly counts have them. */
  countLanded(projectId: string): Promise<number>;
  /** Erases everything of one project: the rows themselves. May be repeated. Throws `StoreGaveUp` too. */
  eraseProject(projectId: string, onProgress: (progress: EraseProgress) => void): Promise<readonly ErasedTable[]>;
  measureRetention(projectId: string, retentionSeconds: number | null): Promise<RetentionState>;
  /**
   * Gives the stored events the expiry that they would get under the retention. The last call wins. Throws
   * `StoreGaveUp`, and what `confirmWanted` throws.
   */
  rewriteRetention(
    rewrite: RetentionRewrite,
    onProgress: (progress: RetentionRewriteProgress) => void,
  ): Promise<RewrittenRetention>;
  /** Newest first, each once; null where it would take longer. */
  findEvents(search: EventSearch): Promise<readonly StoredEvent[] | null>;
  /** By project and id, largest count first. */
  findWrongLinks(projectId: string | null): Promise<readonly WrongLinks[]>;
  /**
   * Removes the wrong links of a project, and restores those that they hid. May be repeated. Throws `StoreGaveUp` too.
   */
  removeWrongLinks(projectId: string, onProgress: (toDo: ToDo) => void): Promise<RemovedLinks>;
  /** For trials of dead letters. */
  inspection(timeoutMs: number): Pick<EventStore, 'inspect'>;
  /** Runs a person's read-only statement for a table on a screen. Throws `QueryRefused`, `QueryUnanswered`. */
  queryTable(sql: string): Promise<TabularResult>;
  /** The same; yields rows as lines of JSON, in groups. */
  queryNdjson(sql: string): Promise<AsyncIterable<readonly string[]>>;
};
