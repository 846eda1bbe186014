/**
 * Keeps one kind of line from filling the log: of each kind some are written in a window of time, the others are
 * counted, and the count is written at the end of the window.
 */
import type { Clock } from '../runtime/clock.ts';

export type Repeats = {
  /** Whether to write a line of that kind now. `reportOmitted` is called later if lines after it are left out. */
  admits(kind: string, reportOmitted: ReportOmitted): boolean;
};

/** How many lines of a kind were left out, and in how many seconds. */
export type ReportOmitted = (lines: number, seconds: number) => void;

export type RepeatLimits = {
  /** Lines of one kind that are written in a window. */
  readonly maxLines: number;
  readonly windowMs: number;
  /** Beyond this many kinds at the same time the others count as one kind. */
  readonly maxKinds: number;
};

type Window = { readonly beganAt: number; lines: number; omitted: number; reportOmitted: ReportOmitted };

const OTHERS = 'others';

/** `ending`: when it aborts, omitted lines are reported at once. */
export function createRepeats(
  { clock, ending }: { clock: Clock; ending: AbortSignal | undefined },
  { maxLines, windowMs, maxKinds }: RepeatLimits,
): Repeats {
  const windows = new Map<string, Window>();

  return {
    admits(asked, reportOmitted) {
      const now = clock.elapsed();
      if (windows.size >= maxKinds) forgetOld(now);
      const kind = windows.size < maxKinds || windows.has(asked) ? asked : OTHERS;
      let window = windows.get(kind);
      if (window && window.omitted === 0 && now - window.beganAt >= windowMs) window = undefined;
      if (!window) windows.set(kind, (window = { beganAt: now, lines: 0, omitted: 0, reportOmitted }));
      if (window.lines < maxLines) {
        window.lines += 1;
        return true;
      }
      window.omitted += 1;
      window.reportOmitted = reportOmitted;
      // Never rejects; it reports the omitted lines and ends.
      if (window.omitted === 1) void reportAtTheEnd(kind, window);
      return false;
    },
  };

  async function reportAtTheEnd(kind: string, window: Window) {
    await clock.sleep(Math.max(0, window.beganAt + windowMs - clock.elapsed()), ending);
    if (windows.get(kind) === window) windows.delete(kind);
    window.reportOmitted(window.omitted, Math.ceil((clock.elapsed() - window.beganAt) / 1_000));
  }

  function forgetOld(now: number) {
    for (const [kind, { beganAt, omitted }] of windows) {
      if (omitted === 0 && now - beganAt >= windowMs) windows.delete(kind);
    }
  }
}
