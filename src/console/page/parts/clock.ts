/** The browser's time: the one place of the page that has timers. */

const DAY_MS = 86_400_000;

/** The days up to today in UTC, such as `2026-11-30`. */
export function daysUntilToday(count: number): string[] {
  const today = Date.now();
  return Array.from({ length: count }, (_, day) =>
    new Date(today - (count - 1 - day) * DAY_MS).toISOString().slice(0, 10),
  );
}

/** Calls `run` after `ms`, unless the returned function is called first. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}

/**
 * Calls `run` at once, and again `ms` after it has settled, for as long as somebody looks: not while the page is hidden.
 * The returned function ends it.
 */
export function repeat(ms: number, run: (signal: AbortSignal) => Promise<unknown>): () => void {
  const ended = new AbortController();
  let cancel: (() => void) | null = null;
  const turn = async () => {
    if (!document.hidden) await run(ended.signal).catch(() => {});
    if (!ended.signal.aborted) cancel = after(ms, () => void turn());
  };
  void turn();
  return () => {
    ended.abort();
    cancel?.();
  };
}
