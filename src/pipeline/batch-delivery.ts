/**
 * The way of one batch to a destination: ClickHouse first, `failed_events` second, and while neither takes it, both
 * again and again. Rows that ClickHouse refuses are taken out first, so that the others do not wait for them. A batch
 * that a log keeps waits there for a store that is away, and becomes a dead letter only for what is wrong with itself.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type Backoff, backoffMs } from './backoff.ts';
import type { Batch, BatchId } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Destination } from './channel-port.ts';
import { type DeliveryState, ambiguityOf, beginDelivery, takeOut } from './delivery-state.ts';
import type { Flags } from './flags.ts';
import type { InsertAttempts } from './insert-attempt.ts';
import { failureOf } from './outcome.ts';
import type { DeadLetterStore } from './dead-letter-port.ts';
import type { FailureClass } from './ports.ts';

/** Where a batch went. */
export type Delivered = {
  readonly destination: Destination;
  /** Where the remaining rows of the batch went; null when every row was taken out. */
  readonly remainder: Batch | null;
  /** Rows that became dead letters of their own, by index among those of the whole batch. */
  readonly takenOut: readonly number[];
};

export type BatchDeliveryDeps = {
  readonly inserts: Pick<InsertAttempts, 'attempt'>;
  readonly deadLetters: Pick<DeadLetterStore, 'add' | 'takenOutOf' | 'forget'>;
  readonly breaker: Pick<Breaker, 'allowProbe'>;
  readonly flags: Pick<Flags, 'unhomed'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

export type BatchDelivery = {
  /**
   * Resolves when a store has confirmed every row of the batch; null when it was given up first, or left to the log
   * that keeps it.
   */
  deliver(batch: Batch): Promise<Delivered | null>;
  /** Leaves batches that a log keeps to whoever reads it next. */
  release(): void;
  /** Ends the retries of batches that no store takes. */
  giveUp(): void;
};

/** Short, so that either store's return is noticed within two seconds; a failed try costs next to nothing. */
const UNHOMED_RETRY: Backoff = { firstMs: 250, maxMs: 2_000 };

/** The store is away, or busy, or may have it: later the same batch may land, and a log can keep it for so long. */
const WAITING: ReadonlySet<FailureClass> = new Set<FailureClass>(['unavailable', 'capacity', 'ambiguous']);

export function createBatchDelivery({
  inserts,
  deadLetters,
  breaker,
  flags,
  clock,
  random,
  log,
}: BatchDeliveryDeps): BatchDelivery {
  const givenUp = new AbortController();
  const released = new AbortController();

  return { deliver, release: () => released.abort(), giveUp: () => givenUp.abort() };

  async function deliver(batch: Batch): Promise<Delivered | null> {
    const state = beginDelivery(batch);
    const { inLog } = batch;
    const end = inLog ? AbortSignal.any([givenUp.signal, released.signal, inLog.over]) : givenUp.signal;
    try {
      for (let attempt = 1; ; attempt++) {
        if (inLog && end.aborted) return null;
        const destination = await tryBothStores(state);
        if (destination !== null) return { destination, remainder: state.remainder, takenOut: state.takenOut };
        if (end.aborted) return null;
        await clock.sleep(backoffMs(attempt, UNHOMED_RETRY, random), end);
        // Without an alternative, ClickHouse is tried at every step, not only when the breaker has cooled down.
        if (!inLog) breaker.allowProbe();
      }
    } finally {
      if (state.isUnhomed) flags.unhomed(-1);
    }
  }

  /** The destination of the batch's remaining rows; null when neither store took them. */
  async function tryBothStores(state: DeliveryState): Promise<Destination | null> {
    const { batch } = state;
    if (state.mayHaveParts && state.takenOut.length === 0) await recallParts(state);
    const failure = await inserts.attempt(state);
    const { remainder } = state;
    if (failure === null || remainder === null) {
      if (state.mayBeDeadLetter && remainder !== null) forgetDeadLetter(remainder.id);
      return 'stored';
    }
    if (batch.inLog && (batch.inLog.over.aborted || (!state.isForDrain && WAITING.has(failure.failureClass))))
      return null;
    const spillError = await failureOf(deadLetters.add(remainder, { failure, ...ambiguityOf(state) }));
    if (spillError === null) {
      const { eventCount } = remainder;
      log.debug({ batchId: batch.id, events: eventCount, class: failure.failureClass }, 'batch dead-lettered');
      return 'dead-lettered';
    }
    if (batch.inLog) {
      if (!state.mayBeDeadLetter) {
        log.error({ batchId: batch.id, events: batch.eventCount, err: spillError }, 'the batch waits in the topic');
      }
      state.mayBeDeadLetter = true;
      return null;
    }
    state.mayBeDeadLetter = true;
    // Another process may have replayed that letter when this one comes to try again.
    state.ambiguous = true;
    if (!state.isUnhomed && !givenUp.signal.aborted) {
      state.isUnhomed = true;
      flags.unhomed(1);
      log.error({ batchId: batch.id, events: batch.eventCount, err: spillError }, 'no store accepts the batch');
    }
    return null;
  }

  /**
   * Rows may have been taken out and the others stored. When Postgres cannot tell, the batch is sent whole, which would
   * store the others twice only if ClickHouse has stopped refusing the rows since; see decision 39.
   */
  async function recallParts(state: DeliveryState): Promise<void> {
    const { id } = state.batch;
    const error = await failureOf(
      deadLetters.takenOutOf(id).then((takenOut) => {
        if (takenOut !== null) takeOut(state, takenOut);
        state.mayHaveParts = false;
      }),
    );
    if (error !== null)
      log.warn({ batchId: id, err: error }, 'could not check whether rows of the batch were isolated');
  }

  /**
   * An `add` whose answer was lost may have kept the batch that has landed now. In the background and for as long as
   * this process lives: nothing waits for it, and until then the id keeps a replay from doubling the rows.
   */
  function forgetDeadLetter(id: BatchId) {
    const untilDone = async () => {
      while (!givenUp.signal.aborted && (await failureOf(deadLetters.forget(id))) !== null) {
        await clock.sleep(UNHOMED_RETRY.maxMs, givenUp.signal);
      }
    };
    // It ends by itself, and repeats itself for as long as it fails.
    void untilDone();
  }
}
