/**
 * What the pipeline asks of the outside. The folders named after a vendor
 * implement these; the pipeline knows none of them.
 */
import type { ProjectId } from '../event/event.ts';
import type { Batch } from './batch.ts';

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
  /** Where the store says the first bad row is, from 0; a hint to verify, never a fact: it stands in text that quotes rows. */
  readonly rowHint: number | null;

  constructor(message: string, detail: InsertFailureDetail) {
    super(message, { cause: detail.cause });
    this.failureClass = detail.failureClass;
    this.code = detail.code ?? null;
    this.retryAtOnce = detail.retryAtOnce ?? false;
    this.rowHint = detail.rowHint ?? null;
  }
}

/** Where events end up. */
export type EventStore = {
  /**
   * Stores the batch, once, however often it is called with the same batch.
   * Resolves when it is stored; throws `InsertFailure` otherwise.
   */
  insert(batch: Pick<Batch, 'id' | 'chunks' | 'byteCount'>, signal?: AbortSignal): Promise<void>;
};

/** Why a batch became a dead letter. */
export type LetterCause = {
  readonly failure: InsertFailure;
  /** Some try so far may have landed: only the same bytes under the same id may be sent again. */
  readonly ambiguous: boolean;
};

/** Where batches wait that ClickHouse did not take. */
export type DeadLetterStore = {
  /** Keeps the batch byte for byte; once, however often it is called. Throws when it could not. */
  add(batch: Batch, cause: LetterCause): Promise<void>;
};

/** Told `(projectId, eventCount)` once per landed batch. */
export type UsageSink = (projectId: string, eventCount: number) => void;

/** What a good token stands for. */
export type Credential = {
  readonly tokenId: string;
  readonly projectId: ProjectId;
  /** A public token may live in a page and may only ingest; a secret one may also read its own project. */
  readonly kind: 'public' | 'secret';
  /** Days after which the project's events expire, counted from their arrival; null keeps them. */
  readonly retentionDays: number | null;
  /** Browser origins that may use the project's tokens; empty allows every one. */
  readonly allowedOrigins: readonly string[];
};

/**
 * Looks up live tokens by the lowercase hex SHA-256 of their whole plaintext. A
 * hash that is absent from the answer is unknown, revoked, or of a deleted
 * project. Throws when it could not be asked.
 */
export type LookUpTokens = (hashes: readonly string[]) => Promise<ReadonlyMap<string, Credential>>;
