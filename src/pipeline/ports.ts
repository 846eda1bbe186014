/**
 * What the pipeline asks of the outside. The folders named after a vendor
 * implement these; the pipeline knows none of them.
 */
import type { Envelope, ProjectId } from '../event/event.ts';
import type { Batch, BatchId } from './batch.ts';
import type { DeadLetterDepth } from './flags.ts';

/**
 * What a failed insert means for the batch:
 *
 * - `unavailable`: nothing landed; later may work.
 * - `ambiguous`: it may have landed; only the same bytes under the same id may be sent again.
 * - `capacity`: the store is too busy; fewer and larger inserts.
 * - `operator`: schema or rights are wrong; a person is needed, the rows are fine.
 * - `data`: at least one row is bad; the same bytes will be refused again.
 * - `unknown`: none of the above could be told.
 */
export type FailureClass = 'unavailable' | 'ambiguous' | 'capacity' | 'operator' | 'data' | 'unknown';

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
   * Some or all of it may be stored although it failed, as when only a view of the
   * table refused. True of every `ambiguous` failure; others may say so as well.
   */
  readonly mayHaveLanded: boolean;
  /** Where the store says the first bad row is, from 0; a hint to verify, never a fact: it stands in text that quotes rows. */
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
export type Insertable = Pick<Batch, 'id' | 'chunks'>;

/** Where events end up. */
export type EventStore = {
  /**
   * Stores the rows, once, however often it is called with the same id and
   * bytes. Resolves when they are stored; throws `InsertFailure` otherwise.
   */
  insert(batch: Insertable, signal?: AbortSignal): Promise<void>;
  /**
   * Reads the rows as an insert would and stores nothing. Throws the
   * `InsertFailure` an insert would meet while reading them; what only happens
   * while storing (constraints, views) it cannot see.
   */
  dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void>;
  /** Which of the rows are stored, by project and event id, as `true` at their index. Throws `InsertFailure`. */
  findStored(rows: readonly Buffer[], signal?: AbortSignal): Promise<readonly boolean[]>;
  /** How many inserts the table took in the last `ageMs`, by anybody; may be more than true, never less. Throws `InsertFailure`. */
  countInserts(ageMs: number): Promise<number>;
};

/** Why a batch became a dead letter. */
export type LetterCause = {
  readonly failure: InsertFailure;
  /** Some try so far may have landed: only the same bytes under the same id may be sent again. */
  readonly ambiguous: boolean;
};

/** A claimed dead letter. Whoever holds its lease is the only one who may change it. */
export type DeadLetter = Insertable & {
  readonly leaseToken: string;
  readonly eventCount: number;
  /** Whose events it holds. */
  readonly projectIds: readonly string[];
  /** Some try may have landed. */
  readonly ambiguous: boolean;
  /** Tries that count: failures on a healthy store. */
  readonly attemptCount: number;
  /** Milliseconds spent waiting between tries that count. */
  readonly exposedMs: number;
  /** Epoch ms by the table's clock. */
  readonly createdAt: number;
  /** How long ago the last try was when it was claimed, by the table's clock; null before the first. */
  readonly sinceLastAttemptMs: number | null;
};

export type ClaimLimits = { readonly maxRows: number; readonly maxBytes: number; readonly leaseMs: number };

/** What became of a try that did not land. */
export type Retry = {
  readonly failure: InsertFailure;
  readonly ambiguous: boolean;
  /** Whether the rows were sent: asking or reading alone leaves the age of a doubt as it was. */
  readonly wasSent: boolean;
  /** Whether it counts as an attempt, and how much waiting time it adds to `exposedMs`. */
  readonly isCounted: boolean;
  readonly exposedMs: number;
  readonly delayMs: number;
};

/** Rows that leave a letter: alive, or quarantined with the failure that proved them bad. */
export type Part = { readonly rows: readonly Buffer[]; readonly bad: InsertFailure | null };

/**
 * Where batches wait that ClickHouse did not take. Every change of a claimed
 * letter is fenced by its lease: false (or null) says that the lease was lost,
 * and nothing was changed.
 */
export type DeadLetterStore = {
  /** Keeps the batch byte for byte; once, however often it is called. Throws when it could not. */
  add(batch: Batch, cause: LetterCause): Promise<void>;
  /**
   * The batch landed although `add` may have kept it before its answer was lost:
   * its letter, unless somebody works on it, is removed.
   */
  forget(id: BatchId): Promise<void>;
  /** Leases letters that are due, ambiguous ones first. One whose lease ran out comes back ambiguous. */
  claim(limits: ClaimLimits): Promise<DeadLetter[]>;
  /** Prolongs the lease. */
  renew(letter: DeadLetter, leaseMs: number): Promise<boolean>;
  /** The letter landed: it is removed. */
  complete(letter: DeadLetter): Promise<boolean>;
  /** The letter is to be tried again later. */
  retry(letter: DeadLetter, retry: Retry): Promise<boolean>;
  /** Gives the letter back untried. */
  release(letter: DeadLetter): Promise<boolean>;
  /** Nothing of it can have landed, as was found out: it may be split. */
  settleDoubt(letter: DeadLetter): Promise<boolean>;
  quarantine(letter: DeadLetter, reason: string, failure: InsertFailure): Promise<boolean>;
  /**
   * Replaces the letter by its parts in one transaction. The ids of the parts
   * follow from the letter and the rows. Returns the parts that are alive,
   * leased to the caller, in the order given; null when the lease was lost.
   */
  split(letter: DeadLetter, parts: readonly Part[], leaseMs: number): Promise<DeadLetter[] | null>;
  measure(): Promise<DeadLetterDepth>;
};

/** The answer that an idempotency key stands for, as the journal keeps it. */
export type KeptAnswer = {
  readonly projectId: ProjectId;
  readonly key: string;
  readonly bodyHash: string;
  /** JSON text. */
  readonly answer: string;
  /** Epoch ms of the first use. */
  readonly at: number;
};

/** What makes an acknowledgement survive the end of this process, however it comes. */
export type Journal = {
  /** Whether an envelope of that many bytes would be refused now. */
  isFull(bytes: number): boolean;
  /** Keeps the envelope, and the answer if it has a key. `written` resolves when both survive a power cut. */
  append(envelope: Envelope, answer?: KeptAnswer): { readonly sequence: number; readonly written: Promise<void> };
  /** Freezes which envelopes are the batch; to be on disk before the batch is first sent. */
  cut(id: BatchId, sequences: readonly number[]): Promise<void>;
  /** The batch has another home now. */
  settle(id: BatchId): void;
};

/** Told `(projectId, eventCount)` once per landed batch. */
export type UsageSink = (projectId: string, eventCount: number) => void;

/** What a good token stands for, or the absence of one where that is allowed. */
export type Credential = {
  readonly projectId: ProjectId;
  /**
   * A public token may live in a page and may only ingest; a secret one may also read its own project.
   * `anonymous`: no token at all, for the project that the operator opened to everybody.
   */
  readonly kind: 'public' | 'secret' | 'anonymous';
  /** Seconds after which the project's events expire, counted from their arrival; null keeps them. */
  readonly retentionSeconds: number | null;
  /** Browser origins that may use the project's tokens; empty allows every one. */
  readonly allowedOrigins: readonly string[];
};

/**
 * Looks up live tokens by the lowercase hex SHA-256 of their whole plaintext, and
 * projects by `anonymousKey`. A key that is absent from the answer is unknown,
 * revoked, or of a deleted project. Throws when it could not be asked.
 */
export type LookUpCredentials = (keys: readonly string[]) => Promise<ReadonlyMap<string, Credential>>;

const ANONYMOUS_KEY = 'anonymous:';

/** The key under which the credential of whoever has no token is looked up. */
export const anonymousKey = (projectId: string): string => ANONYMOUS_KEY + projectId;

/** The project of such a key; null when the key is the hash of a token. */
export const anonymousProjectOf = (key: string): string | null =>
  key.startsWith(ANONYMOUS_KEY) ? key.slice(ANONYMOUS_KEY.length) : null;
