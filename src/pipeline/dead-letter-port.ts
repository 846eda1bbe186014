/**
 * What the pipeline needs of the store of dead letters. `test/contract/dead-letter-store.test.ts` checks every
 * implementation against this description.
 */
import type { Batch, BatchId } from './batch.ts';
import type { DeadLetterDepth } from './flags.ts';
import type { InsertFailure, Insertable } from './ports.ts';

/** The store of dead letters cannot grow: its disk is full. Its letters can still leave. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom';

  constructor(options?: ErrorOptions) {
    super('Postgres has no room for dead letters', options);
  }
}

/** Why a batch became a dead letter. */
export type DeadLetterCause = {
  readonly failure: InsertFailure;
  /** Some try so far may have landed: only the same bytes under the same id may be sent again. */
  readonly ambiguous: boolean;
  /** The rows may be stored under other ids: they are asked about before anything is sent, whatever this id tells. */
  readonly askFirst?: boolean;
};

/** A claimed dead letter. Only the holder of its lease may change it. */
export type DeadLetter = Insertable & {
  readonly leaseToken: string;
  readonly eventCount: number;
  /** The projects whose events it holds. */
  readonly projectIds: readonly string[];
  /** Some try may have landed. */
  readonly ambiguous: boolean;
  /** Tries that count: failures on a healthy store. */
  readonly attemptCount: number;
  /** Milliseconds spent waiting between tries that count. */
  readonly exposedMs: number;
  /** Epoch ms by the table's clock. */
  readonly createdAt: number;
  /**
   * How long ago the last try was when it was claimed, by the table's clock; null before the first, and when its rows
   * may be stored under other ids.
   */
  readonly sinceLastAttemptMs: number | null;
  /** `fingerprintOf` the failure for which it was last kept or retried. */
  readonly fingerprint: string;
};

export type ClaimLimits = { readonly maxRows: number; readonly maxBytes: number; readonly leaseMs: number };

/** The outcome of a try that did not land. */
export type Retry = {
  readonly failure: InsertFailure;
  readonly ambiguous: boolean;
  /** Whether the rows were sent: a mere query leaves `sinceLastAttemptMs` as it was. */
  readonly wasSent: boolean;
  /** Whether it counts as an attempt, and how much waiting time it adds to `exposedMs`. */
  readonly isCounted: boolean;
  readonly exposedMs: number;
  readonly delayMs: number;
};

/** Rows that leave a batch or a letter: to be tried again, or quarantined. */
export type DeadLetterPart = {
  readonly rows: readonly Buffer[];
  /** Why they are refused; null for the same failure as the whole. */
  readonly failure: InsertFailure | null;
  readonly isQuarantined: boolean;
};

/**
 * Where batches wait that ClickHouse did not take. Every change of a claimed letter is fenced by its lease: false (or
 * null) means that the lease was lost, and nothing was changed.
 */
export type DeadLetterStore = {
  /** Keeps the batch byte for byte; once, however often it is called. Throws on failure. */
  add(batch: Batch, cause: DeadLetterCause): Promise<void>;
  /**
   * Keeps the rows that were taken out of a fresh batch, and the fact that they were, so that neither `add` nor a later
   * process takes the batch for complete again. The caller keeps what remains (`remainderOf`). Works once, however
   * often it is called: returns which rows are out, those of an earlier call if there was one. Throws on failure.
   */
  addParts(batch: Batch, parts: readonly DeadLetterPart[], takenOut: readonly number[]): Promise<readonly number[]>;
  /** The rows that `addParts` took out of the batch, by index ascending; null when it is complete. */
  takenOutOf(id: BatchId): Promise<readonly number[] | null>;
  /**
   * The batch landed although `add` may have kept it before its answer was lost: removes its letter, unless that is
   * claimed.
   */
  forget(id: BatchId): Promise<void>;
  /** Leases due letters, ambiguous ones first. One whose lease ran out becomes ambiguous. */
  claim(limits: ClaimLimits): Promise<DeadLetter[]>;
  /** Extends the lease. */
  renew(letter: DeadLetter, leaseMs: number): Promise<boolean>;
  /** The letter landed: removes it. */
  complete(letter: DeadLetter): Promise<boolean>;
  /** Schedules another try of the letter. */
  retry(letter: DeadLetter, retry: Retry): Promise<boolean>;
  /** Returns the letter untried. */
  release(letter: DeadLetter): Promise<boolean>;
  /** Nothing of it has landed, as a query to the event store showed: it is no longer ambiguous, and may be split. */
  clearAmbiguity(letter: DeadLetter): Promise<boolean>;
  quarantine(letter: DeadLetter, reason: string, failure: InsertFailure): Promise<boolean>;
  /**
   * Replaces the letter by its parts in one transaction. The ids of the parts follow from the letter and the rows.
   * Returns the parts that are alive, leased to the caller, in the given order; null when the lease was lost.
   */
  split(letter: DeadLetter, parts: readonly DeadLetterPart[], leaseMs: number): Promise<DeadLetter[] | null>;
  measure(): Promise<DeadLetterDepth>;
};

/**
 * Dead letters of a table that cannot be written. A letter is not leased but locked, and stays unchanged until it is
 * removed; only this process remembers what it learned about it. No other process can take it in the meantime.
 */
export type LockedDeadLetters = {
  /**
   * The next letter that is due and was not tried recently; null when there is none. Throws when the store cannot be
   * asked.
   */
  take(): Promise<DeadLetter | null>;
  /** What a replay may do with a letter from `take`: nothing that writes, so that it can be removed or wait. */
  readonly store: Pick<
    DeadLetterStore,
    'renew' | 'complete' | 'retry' | 'release' | 'clearAmbiguity' | 'quarantine' | 'split'
  >;
  /** Unlocks the letter, if it is still locked; false when it was removed. */
  giveBack(letter: DeadLetter): Promise<boolean>;
};
