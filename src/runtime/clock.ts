/**
 * The only source of time in the program. Parts receive it as an argument, so that a test can pass one it moves by
 * hand.
 */
export type Clock = {
  /** Wall-clock epoch milliseconds, for instants that outlive the process. May jump. */
  now(): number;
  /** Monotonic milliseconds, for measuring and for deadlines inside the process. */
  elapsed(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Resolves after everything else that is ready has had its turn. */
  turn(): Promise<void>;
};

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  // Not node:timers/promises: it rejects an aborted sleep, and creating an error costs more than the sleep.
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end, { once: true });
      function end() {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      }
    }),
  turn: () => new Promise(yieldToEventLoop),
};

/** Continues after everything else that is ready has had its turn. */
export function yieldToEventLoop(go: () => void): void {
  setImmediate(go);
}
