/** What is asked of the event store besides inserts: the ports of everything that reads. */
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

/** How many events, and how many different people they are of. */
export type Count = { readonly events: number; readonly users: number };

export type EventCounts = {
  /** Of the window as a whole: somebody in two groups is one person here. */
  readonly total: Count;
  /** Ascending; empty without a grouping. Channels are texts, hours and days the epoch seconds they begin at. */
  readonly groups: readonly (Count & { readonly group: string | number })[];
  /** There are more groups than are listed. The total has them all. */
  readonly isTruncated: boolean;
};

/** Counts events as they are stored. Throws `ReadFailure`. */
export type CountEvents = (question: CountQuestion, signal: AbortSignal) => Promise<EventCounts>;

/**
 * Why there is no answer to a question: `busy` when too many others were being
 * answered, `too-much` when it costs more than one answer may, `unavailable`
 * when the store could not be asked or failed.
 */
export type ReadFailureKind = 'busy' | 'too-much' | 'unavailable';

/** A question that the event store did not answer. The message is safe to log; the store's text is in `cause`. */
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

/** ClickHouse's own number and name of an error. */
export type ClickHouseCode = { readonly code: number; readonly name: string };

/** `queryId`: under which ClickHouse knows the query. `signal`: nobody waits for the answer any more. */
export type Asking = { readonly queryId: string; readonly signal: AbortSignal };

/** Rows are JSON arrays, a group at a time as they arrive; the iteration throws when the rest cannot be had. */
export type QueryAnswer = {
  readonly kind: 'answer';
  readonly columns: readonly Column[];
  readonly rows: AsyncIterable<readonly string[]>;
};

export type QueryFailure =
  /** The question cannot be answered as it is. `clickhouse`: the error's number and name, where there is one. */
  | { readonly kind: 'refused'; readonly message: string; readonly clickhouse: ClickHouseCode | null }
  /** It can be asked again. `isForOperator`: not before a person has changed something. */
  | { readonly kind: 'unavailable'; readonly isForOperator: boolean; readonly clickhouse: ClickHouseCode | null };

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

/** Answers SQL questions about a project with nothing but that project's rows. Never rejects for what a client wrote. */
export type ProjectReader = {
  query(projectId: string, sql: string, asking: Asking): Promise<QueryAnswer | QueryFailure>;
  schema(projectId: string, signal: AbortSignal): Promise<Schema | QueryFailure>;
};
