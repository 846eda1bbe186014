import { setTimeout as sleep } from 'node:timers/promises';

const PERIOD_MS = 50;

/**
 * Lets a process run for `share` of the time only, so that it is saturated while the machine is not. `phase` shifts its
 * turn, so that several need not run at once. Returns what ends that.
 */
export function throttle(pid: number, { share, phase = 0 }: { share: number; phase?: number }): () => Promise<void> {
  const over = new AbortController();
  const done = (async () => {
    const startsAt = performance.now() + phase * PERIOD_MS;
    for (let period = 0; !over.signal.aborted; period += 1) {
      const begin = startsAt + period * PERIOD_MS;
      await until(begin);
      process.kill(pid, 'SIGCONT');
      await until(begin + share * PERIOD_MS);
      process.kill(pid, 'SIGSTOP');
    }
    process.kill(pid, 'SIGCONT');
  })();
  return async () => {
    over.abort();
    await done;
  };
}

const until = (at: number) => sleep(Math.max(0, at - performance.now()));
