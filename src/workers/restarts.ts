/** How soon a worker that ended is restarted: at once, and increasingly later when it keeps ending. */
import { type Backoff, backoffMs } from '../pipeline/backoff.ts';

/** A worker that has lived this long did not die of its start. */
const STEADY_MS = 60_000;
const RESTART: Backoff = { firstMs: 500, maxMs: 30_000 };
/** This many ends in a row are no coincidence. */
const TOO_MANY = 5;

export type Restarts = {
  /**
   * The process ended after `livedMs`: how long to wait before the next one, and whether a person should look at it.
   */
  ended(livedMs: number): { readonly delayMs: number; readonly inARow: number; readonly isTrouble: boolean };
};

export function createRestarts(random: () => number): Restarts {
  let inARow = 0;
  return {
    ended(livedMs) {
      inARow = livedMs >= STEADY_MS ? 1 : inARow + 1;
      const delayMs = inARow === 1 ? 0 : Math.round(backoffMs(inARow - 1, RESTART, random));
      return { delayMs, inARow, isTrouble: inARow >= TOO_MANY };
    },
  };
}
