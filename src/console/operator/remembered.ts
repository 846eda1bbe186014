import type { Clock } from '../../runtime/clock.ts';

/** What takes longer than this is not read anew for everybody who asks. */
const SLOW_MS = 200;
const FRESH_MS = 5_000;

/**
 * Reads once for all who ask at the same time; what took long to read is given to those, too, who ask within the next
 * five seconds. Counting a million letters for several pages costs as much as for one.
 */
export function remembered<T>({ elapsed }: Pick<Clock, 'elapsed'>, read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | null = null;
  let known: { readonly value: T; readonly at: number } | null = null;

  return async () => {
    if (known !== null && elapsed() - known.at < FRESH_MS) return known.value;
    reading ??= readAnew();
    return reading;
  };

  async function readAnew(): Promise<T> {
    const begunAt = elapsed();
    try {
      const value = await read();
      known = elapsed() - begunAt > SLOW_MS ? { value, at: elapsed() } : null;
      return value;
    } finally {
      reading = null;
    }
  }
}
