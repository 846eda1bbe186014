import type { Clock } from '../runtime/clock.ts';

const FIRST_MS = 50;
const MAX_MS = 2_000;

/** Waits after failure number `attempt` (from 1): doubled each time up to two seconds, a part of it by chance. */
export function pause(
  { clock, random }: { clock: Clock; random: () => number },
  attempt: number,
  signal: AbortSignal,
): Promise<void> {
  const ceiling = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 20));
  return clock.sleep(ceiling / 2 + (ceiling / 2) * random(), signal);
}
