import type { Clock } from '../../src/runtime/clock.ts';

type Sleeper = { readonly wakeAt: number; readonly wake: () => void };

export type ManualClock = Clock & {
  /** Moves both clocks forward, waking every sleeper on the way in order. */
  advance(ms: number): Promise<void>;
  /** Moves only the wall clock, as an administrator or NTP would. */
  jump(ms: number): void;
};

/** A clock that moves only when the test says so. */
export function createManualClock(startAt = Date.UTC(2026, 0, 1)): ManualClock {
  let elapsed = 0;
  let wallOffset = startAt;
  const sleepers = new Set<Sleeper>();

  return {
    now: () => elapsed + wallOffset,
    elapsed: () => elapsed,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const sleeper: Sleeper = {
          wakeAt: elapsed + ms,
          wake: () => {
            sleepers.delete(sleeper);
            signal?.removeEventListener('abort', sleeper.wake);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', sleeper.wake, { once: true });
      }),
    turn: () => Promise.resolve(),
    jump: (ms) => {
      wallOffset += ms;
    },
    async advance(ms) {
      const target = elapsed + ms;
      await settled();
      for (;;) {
        const next = earliest();
        if (!next || next.wakeAt > target) break;
        elapsed = next.wakeAt;
        next.wake();
        await settled();
      }
      elapsed = target;
    },
  };

  /** Among those that wake at the same time, the one that fell asleep first. */
  function earliest(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of sleepers) if (first === undefined || sleeper.wakeAt < first.wakeAt) first = sleeper;
    return first;
  }
}

/** Lets every already-resolved promise run its continuations. */
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
