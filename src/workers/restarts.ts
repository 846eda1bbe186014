/** How soon a worker that ended is started again: at once, and ever later when it ends again and again. */
import { type Backoff, backoffMs } from '../pipeline/backoff.ts';

/** Whoever has lived this long has not died of its start. */
const STEADY_MS = 60_000;
const RESTART: Backoff = { firstMs: 500, maxMs: 30_000 };
/** So many ends in a row are no accident. */
const TOO_MANY = 5;

export type Restarts = {
  /** The process has ended after `livedMs`: how long to wait for the next one, and whether that is a matter for a person. */
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
