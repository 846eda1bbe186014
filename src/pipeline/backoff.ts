/** Waiting times that double from `firstMs` up to `maxMs`. */
export type Backoff = { readonly firstMs: number; readonly maxMs: number };

/**
 * How long to wait after failure number `attempt` (from 1): equal jitter, half of the doubled time fixed and half
 * random, so that processes which failed together do not return together, and none returns at once. `random` gives 0 ≤
 * r < 1.
 */
export function backoffMs(attempt: number, { firstMs, maxMs }: Backoff, random: () => number): number {
  // 2^30 exceeds every maximum in use; the cap keeps the power finite.
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30));
  return ceiling / 2 + (ceiling / 2) * random();
}
