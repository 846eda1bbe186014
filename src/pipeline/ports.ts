/**
 * What the pipeline asks of the outside. The folders named after a vendor
 * implement these; the pipeline knows none of them.
 */
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

/** An insert that did not succeed. The message is ours and safe to log; the store's text is in `cause`. */
export class InsertFailure extends Error {
  override readonly name = 'InsertFailure';
  readonly failureClass: FailureClass;
  /** The store's own error number, when it gave one. */
  readonly code: number | null;

  constructor(message: string, detail: { failureClass: FailureClass; code: number | null; cause?: unknown }) {
    super(message, { cause: detail.cause });
    this.failureClass = detail.failureClass;
    this.code = detail.code;
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

/** Told `(projectId, eventCount)` once per landed batch. */
export type UsageSink = (projectId: string, eventCount: number) => void;
