/** The event store's ports for reading. */
import type { ProjectId } from '../event/event.ts';

/** Which events of a project are counted: those of one name in [fromMs, toMs), epoch ms. */
export type CountQuestion = {
  readonly projectId: ProjectId;
  readonly event: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly groupBy: 'channel' | 'hour' | 'day' | null;
  /** Whether every event and user is counted one by one, which reads every row. */
  readonly isExact: boolean;
};

/** How many events, and of how many different people. */
export type Count = { readonly events: number; readonly users: number };

export type EventCounts = {
  /** For the window as a whole: a user in two groups counts once here. */
  readonly total: Count;
  /** Ascending; empty without a grouping. Channels are texts, hours and days the epoch seconds at which they begin. */
  readonly groups: readonly (Count & { readonly group: string | number })[];
  /** There are more groups than are listed. The total includes them all. */
  readonly isTruncated: boolean;
};

/** Counts stored events. Throws `ReadFailure`. */
export type CountEvents = (question: CountQuestion, signal: AbortSignal) => Promise<EventCounts>;

/**
 * Why a query has no answer: `busy` when too many others were being answered, `too-much` when it costs more than one
 * answer may, `unavailable` when the store could not be reached or failed.
 */
export type ReadFailureKind = 'busy' | 'too-much' | 'unavailable';

/** A query that the event store did not answer. The message is safe to log; the store's text is in `cause`. */
export class ReadFailure extends Error {
  override readonly name = 'ReadFailure';
  readonly kind: ReadFailureKind;
  /** The store's own error number or a system's error code, when there was one. */
  readonly code: string | null;

  constructor(
    message: string,
    { kind, code = null, cause }: { kind: ReadFailureKind; code?: string | null; cause?: unknown },
  ) {
    super(message, { cause });
    this.kind = kind;
    this.code = code;
  }
}

export type Column = { readonly name: string; readonly type: string };

/** The store's own code of an error, and its name: a number of ClickHouse's, or a SQLSTATE of Postgres's. */
export type StoreError = {
  readonly store: 'clickhouse' | 'postgres';
  readonly code: number | string;
  readonly name: string;
};

/** `queryId`: the query's id in the store. `signal` aborts when the client no longer waits for the answer. */
export type Asking = { readonly queryId: string; readonly signal: AbortSignal };

/** Rows are JSON arrays, in groups as they arrive; the iteration throws when the rest cannot be read. */
export type QueryAnswer = {
  readonly kind: 'answer';
  readonly columns: readonly Column[];
  readonly rows: AsyncIterable<readonly string[]>;
};

export type QueryFailure =
  /** The query cannot be answered as it is. `error`: the store's own, where there is one. */
  | { readonly kind: 'refused'; readonly message: string; readonly error: StoreError | null }
  /** It can be sent again. `isForOperator`: not before a person has changed something; `message` says what, if known. */
  | {
      readonly kind: 'unavailable';
      readonly isForOperator: boolean;
      readonly error: StoreError | null;
      readonly message?: string;
    };

export type TableDescription = {
  readonly name: string;
  readonly comment: string;
  readonly columns: readonly (Column & { readonly comment: string })[];
};

export type Schema = {
  readonly kind: 'schema';
  readonly tables: readonly TableDescription[];
  /** Names of the project's events, the most frequent first. */
  readonly events: readonly string[];
};

/** Answers SQL queries about a project from that project's rows only. Never rejects because of what a client wrote. */
export type ProjectReader = {
  query(projectId: string, sql: string, asking: Asking): Promise<QueryAnswer | QueryFailure>;
  /**
   * Stops a query whose answer is no longer read; resolves when the store no longer works on it, which may be long
   * after. Immediate for one that was answered to its end.
   */
  stopped(queryId: string): Promise<void>;
  schema(projectId: string, signal: AbortSignal): Promise<Schema | QueryFailure>;
};
