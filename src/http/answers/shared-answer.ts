import type { Clock } from '../../runtime/clock.ts';

/**
 * Computes a value for each caller, at most `perSecond` a second, and that many at once after a pause. Further callers
 * share the last one, finished or in progress, which is never older than the time until the next one. A failure reaches
 * the callers that waited for it, and is not kept.
 */
export function sharedAbove<T>(
  perSecond: number,
  clock: Pick<Clock, 'elapsed'>,
  make: () => Promise<T>,
): () => Promise<T> {
  /** How many may be computed at once. */
  let allowed = perSecond;
  let countedAt = -Infinity;
  let made: Promise<T> | null = null;
  return () => {
    const now = clock.elapsed();
    allowed = Math.min(perSecond, allowed + ((now - countedAt) * perSecond) / 1_000);
    countedAt = now;
    if (made !== null && allowed < 1) return made;
    allowed -= 1;
    const making = make();
    made = making;
    making.catch(() => {
      if (made === making) made = null;
    });
    return making;
  };
}
