import { BYTES_A_STEP, type Steps } from '../../event/steps.ts';
import { yieldToEventLoop } from '../../runtime/clock.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';

/**
 * Turns for the work of large bodies. The event loop handles everything that has arrived before it polls again: a dozen
 * bodies that each take two milliseconds to decode would delay the answers of disk and stores until all of them are
 * done, and with them the requests those answers are for.
 */
export type FairScheduler = {
  /** When work on that many bytes may begin; null for at once. First come, first served. */
  take(bytes: number): Promise<void> | null;
};

/** Does work of many steps, and yields to the event loop between two of them. */
export function runInTurns<T>(steps: Steps<T>, scheduler: FairScheduler): SyncOrAsync<T> {
  const first = steps.next();
  return first.done ? first.value : goOn();

  async function goOn(): Promise<T> {
    for (;;) {
      await scheduler.take(BYTES_A_STEP);
      const step = steps.next();
      if (step.done) return step.value;
    }
  }
}

/**
 * A turn ends with the body that exceeds this: three to four milliseconds of decoding. Half and twice as much were both
 * slower with sixteen connections and the journal on (decision 18).
 */
const BYTES_PER_TURN = 256 * 1024;
/**
 * Less than a quarter of a millisecond of decoding: single events should not wait, nor be counted. Chosen, not
 * measured.
 */
const SMALL_BYTES = 16 * 1024;

export function createFairScheduler(): FairScheduler {
  /** Only while nothing is left of the turn. */
  const waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  let bytesLeft = BYTES_PER_TURN;
  let isAnotherComing = false;

  return {
    take(bytes) {
      if (bytes < SMALL_BYTES) return null;
      arrangeAnother();
      if (bytesLeft > 0) {
        bytesLeft -= bytes;
        return null;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push({ bytes, go: resolve });
      return promise;
    },
  };

  function arrangeAnother() {
    if (isAnotherComing) return;
    isAnotherComing = true;
    yieldToEventLoop(turn);
  }

  function turn() {
    isAnotherComing = false;
    bytesLeft = BYTES_PER_TURN;
    while (bytesLeft > 0 && waiting.length > 0) {
      const { bytes, go } = waiting.shift()!;
      bytesLeft -= bytes;
      go();
    }
    if (bytesLeft < BYTES_PER_TURN) arrangeAnother();
  }
}
