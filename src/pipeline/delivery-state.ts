import { type Batch, remainderOf } from './batch.ts';
import type { DeadLetterCause } from './dead-letter-port.ts';

/** What is known of a fresh batch over all attempts to deliver it. */
export type DeliveryState = {
  /** As it was taken from the channel, complete. */
  readonly batch: Batch;
  /** The batch, or what remains of it after rows were taken out; null when nothing does. */
  remainder: Batch | null;
  /** By index among the rows of the whole batch. */
  takenOut: readonly number[];
  /** Rows were taken out, or perhaps were: Postgres was asked to keep them and did not answer. */
  mayHaveParts: boolean;
  /** Some attempt may have landed. */
  ambiguous: boolean;
  /** Rows may be stored under other ids. */
  mayBeElsewhere: boolean;
  /** Postgres was asked to keep it and did not answer. */
  mayBeDeadLetter: boolean;
  /** No store has taken it so far, although both were tried. */
  isUnhomed: boolean;
  /** At the last inspection ClickHouse took none of its rows, and no ordinary event either; and it refuses it still. */
  isDrift: boolean;
  /** A part of its rows was found to be stored: the drain can send the others. */
  isForDrain: boolean;
};

export function beginDelivery(batch: Batch): DeliveryState {
  const { mayHaveLanded = false, mayBeElsewhere = false } = batch;
  return {
    batch,
    remainder: batch,
    takenOut: [],
    mayHaveParts: mayHaveLanded || mayBeElsewhere,
    ambiguous: mayHaveLanded,
    mayBeElsewhere,
    mayBeDeadLetter: false,
    isUnhomed: false,
    isDrift: false,
    isForDrain: false,
  };
}

/** Records that the rows, by index among those of the whole batch, have another destination now. */
export function takeOut(state: DeliveryState, takenOut: readonly number[]): void {
  state.takenOut = takenOut;
  state.remainder = remainderOf(state.batch, takenOut);
}

/** Whether nothing of the batch can be anywhere else yet: neither its rows nor a dead letter of it. */
export function isFresh({ ambiguous, mayBeDeadLetter, mayBeElsewhere, takenOut }: DeliveryState): boolean {
  return !ambiguous && !mayBeDeadLetter && !mayBeElsewhere && takenOut.length === 0;
}

/**
 * What is stored with the dead letter. Whether the rows may be stored under other ids, only a query for them tells,
 * whatever was sent under the batch's own. One from a log may be sent by others who read it, so ClickHouse is asked
 * about it in any case.
 */
export function ambiguityOf({ batch, ambiguous, mayBeElsewhere }: DeliveryState): Omit<DeadLetterCause, 'failure'> {
  if (batch.inLog) return { ambiguous: true, askFirst: mayBeElsewhere || !ambiguous };
  return mayBeElsewhere ? { ambiguous: true, askFirst: true } : { ambiguous };
}
