/**
 * What the pipeline needs from outside: event store, journal, usage, tokens. The vendors' folders implement these; the
 * pipeline knows none of them. Dead letters have a file of their own, `dead-letter-port.ts`.
 */
import type { Envelope, ProjectId } from '../event/event.ts';
import type { Batch, BatchId } from './batch.ts';

/**
 * What a failed insert means for the batch:
 *
 * - `unavailable`: nothing landed; later may work.
 * - `ambiguous`: it may have landed; only the same bytes under the same id may be sent again.
 * - `capacity`: the store is too busy; fewer and larger inserts.
 * - `operator`: schema or rights are wrong; a person is needed, the rows are fine.
 * - `data`: at least one row is bad; the same bytes will be refused again.
 * - `too_large`: something accepts no body of this size; nothing landed, and less at a time may.
 * - `unknown`: none of the above could be determined.
 */
export type FailureClass = 'unavailable' | 'ambiguous' | 'capacity' | 'operator' | 'data' | 'too_large' | 'unknown';

type InsertFailureDetail = {
  readonly failureClass: FailureClass;
  readonly code?: number | null;
  readonly retryAtOnce?: boolean;
  readonly mayHaveLanded?: boolean;
  readonly rowHint?: number | null;
  readonly cause?: unknown;
};

/** An insert that did not succeed. The message holds no event data and is safe to log and keep; the store's text is in `cause`. */
export class InsertFailure extends Error {
  override readonly name = 'InsertFailure';
  readonly failureClass: FailureClass;
  /** The store's own error number, when it gave one. */
  readonly code: number | null;
  /** The connection broke before any answer, as an idle one does when the store restarts: worth one retry at once. */
  readonly retryAtOnce: boolean;
  /**
   * Some or all of it may be stored although it failed, as when only a view of the table refused. True of every
   * `ambiguous` failure, and of some others.
   */
  readonly mayHaveLanded: boolean;
  /**
   * Where the store reports the first bad row, from 0; a hint to verify, never a fact: it stands in text that quotes
   * rows.
   */
  readonly rowHint: number | null;

  constructor(message: string, detail: InsertFailureDetail) {
    super(message, { cause: detail.cause });
    this.failureClass = detail.failureClass;
    this.code = detail.code ?? null;
    this.retryAtOnce = detail.retryAtOnce ?? false;
    this.mayHaveLanded = detail.mayHaveLanded ?? detail.failureClass === 'ambiguous';
    this.rowHint = detail.rowHint ?? null;
  }
}

/** What an insert sends: the rows, and the id that makes sending them again harmless. */
export type Insertable = Pick<Batch, 'id' | 'chunks'> & {
  /** It was sent before, and the outcome is unknown. */
  readonly mayHaveLanded?: boolean;
};

/** Rows that the store refuses for one cause. */
export type RowRefusal = {
  readonly failure: InsertFailure;
  /** By index, ascending. */
  readonly rows: readonly number[];
  /** Whether they cannot be read, or read and not stored (a constraint, a computed column). */
  readonly when: 'reading' | 'storing';
  /** An ordinary event is refused for the same cause, so the schema may be to blame and not the rows. */
  readonly isOrdinaryRefused: boolean;
  /** What of the table they do not fit, by its name there, where that is known. */
  readonly misfit?: { readonly column?: string; readonly constraint?: string };
};

export type Inspection = {
  /** No row is in two of them. */
  readonly refusals: readonly RowRefusal[];
  /** Whether every row was inspected; false when it would have cost too many statements. */
  readonly isComplete: boolean;
};

/** Where events end up. */
export type EventStore = {
  /**
   * Stores the rows, once, however often it is called with the same id and bytes. Resolves when they are stored; throws
   * `InsertFailure` otherwise.
   */
  insert(batch: Insertable, signal?: AbortSignal): Promise<void>;
  /**
   * Reads the rows as an insert would and stores nothing. Throws the `InsertFailure` that an insert would meet while
   * reading them; it cannot see what only happens while storing (constraints, views).
   */
  dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void>;
  /**
   * Which of the rows an insert would refuse and why, in a handful of statements however many there are; stores
   * nothing. The same statements inspect an ordinary event. Throws `InsertFailure` when that could not be determined.
   */
  inspect(rows: readonly Buffer[], signal?: AbortSignal): Promise<Inspection>;
  /** Which of the rows are stored, by project and event id, as `true` at their index. Throws `InsertFailure`. */
  findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]>;
  /**
   * How many inserts of any client the table took in the last `ageMs`: never too few, maybe too many, Infinity when
   * unknown. Throws `InsertFailure`.
   */
  countInserts(ageMs: number, signal?: AbortSignal): Promise<number>;
  /** How far back it recognises a batch by its id. Throws `InsertFailure`. */
  readMemory(signal?: AbortSignal): Promise<InsertMemory>;
};

/** What a store remembers of inserts, and for how long. Infinity: whatever time passes. */
export type InsertMemory = { readonly inserts: number; readonly forMs: number };

/** The answer for an idempotency key, as the journal keeps it. */
export type KeptAnswer = {
  readonly projectId: ProjectId;
  readonly key: string;
  readonly bodyHash: string;
  /** JSON text. */
  readonly answer: string;
  /** Epoch ms of the first use. */
  readonly at: number;
};

/**
 * Why the journal did not accept a record: `full` when settling will make room, `disk-full` when the disk has none,
 * `failed` when the disk cannot be trusted at the moment. All of them pass by themselves.
 */
export type UnavailableReason = 'full' | 'disk-full' | 'failed' | 'closed';

export class JournalUnavailable extends Error {
  override readonly name = 'JournalUnavailable';
  readonly reason: UnavailableReason;

  constructor(reason: UnavailableReason, cause?: unknown) {
    super(`the journal accepts nothing now: ${reason}`, { cause });
    this.reason = reason;
  }
}

/** Makes an acknowledgement survive the end of this process, however it comes. */
export type Journal = {
  /** Whether an envelope of that many bytes would be refused now. */
  isFull(bytes: number): boolean;
  /**
   * Keeps the envelope, and the answer if it has a key. `written` resolves when both survive a power cut, and rejects
   * with `JournalUnavailable`.
   */
  append(envelope: Envelope, answer?: KeptAnswer): { readonly sequence: number; readonly written: Promise<void> };
  /** Fixes which envelopes form the batch; must be on disk before the batch is first sent. */
  cut(id: BatchId, sequences: readonly number[]): Promise<void>;
  /** The batch has reached a store. `onForgotten`: its rows are not read here any more; may never be called. */
  settle(id: BatchId, onForgotten?: () => void): void;
};

/** Called with `(projectId, eventCount)` once per landed batch. */
export type UsageSink = (projectId: string, eventCount: number) => void;

/** What a valid token stands for, or the absence of one where that is allowed. */
export type Credential = {
  readonly projectId: ProjectId;
  /**
   * A public token may be embedded in a page and may only ingest; a secret one may also read its own project.
   * `anonymous`: no token at all, for the project that the operator opened to all clients.
   */
  readonly kind: 'public' | 'secret' | 'anonymous';
  /** Seconds after which the project's events expire, counted from their arrival; null keeps them. */
  readonly retentionSeconds: number | null;
  /** Browser origins that may use the project's tokens; an empty list allows every one. */
  readonly allowedOrigins: readonly string[];
};

/**
 * Looks up live tokens by the lowercase hex SHA-256 of their whole plaintext, and projects by `anonymousKey`. A key
 * that is absent from the answer is unknown, revoked, or of a deleted project. Throws when the look-up failed.
 */
export type LookUpCredentials = (keys: readonly string[]) => Promise<ReadonlyMap<string, Credential>>;

const ANONYMOUS_KEY = 'anonymous:';

/** The key under which the credential of requests without a token is looked up. */
export const anonymousKey = (projectId: string): string => ANONYMOUS_KEY + projectId;

/** The project of such a key; null when the key is the hash of a token. */
export const anonymousProjectOf = (key: string): string | null =>
  key.startsWith(ANONYMOUS_KEY) ? key.slice(ANONYMOUS_KEY.length) : null;
