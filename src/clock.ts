import { setTimeout as delay } from 'node:timers/promises';

/**
 * The only source of time in the program. Parts receive it as an argument, so
 * a test can pass one it moves by hand.
 */
export type Clock = {
  /** Wall-clock epoch milliseconds, for instants that outlive the process. May jump. */
  now(): number;
  /** Milliseconds that only ever grow, for measuring and for deadlines inside the process. */
  elapsed(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  // An aborted sleep is a finished sleep: the caller looks at its own signal.
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}).catch(() => {}),
};
