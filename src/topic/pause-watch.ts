/**
 * Notices that the process stood still: it was stopped, or starved, for long enough that the group may have given its
 * partitions away without its knowing. What it holds may then have been sent by another member at any time since.
 */
import type { Clock } from '../runtime/clock.ts';

export type PauseWatch = {
  /** Watches until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** Whether the process stood still at any time since then, on the monotonic clock. */
  hasPausedSince(elapsed: number): boolean;
};

const BEAT_MS = 1_000;
/** Far below the time in which a store surely remembers an insert. */
export const PAUSE_MS = 30_000;

export function createPauseWatch({ clock }: { clock: Clock }): PauseWatch {
  let beat = { elapsed: clock.elapsed(), now: clock.now() };
  let lastPauseEnd = -Infinity;

  return {
    async run(signal) {
      look();
      while (!signal.aborted) {
        await clock.sleep(BEAT_MS, signal);
        look();
      }
    },
    hasPausedSince(elapsed) {
      look();
      return lastPauseEnd > elapsed;
    },
  };

  /** A machine that was suspended may show it on the wall clock only. */
  function look() {
    const at = { elapsed: clock.elapsed(), now: clock.now() };
    if (Math.max(at.elapsed - beat.elapsed, at.now - beat.now) > PAUSE_MS) lastPauseEnd = at.elapsed;
    beat = at;
  }
}
