/**
 * Knows whether a store answers, by asking it every second. Health reads it without a query of its own, and inserts
 * that hang on a frozen store are cut short by `downSignal` instead of waiting for their own deadline.
 */
import type { Clock } from '../runtime/clock.ts';

export type Heartbeat = {
  /** null until the first answer or failure. */
  isUp(): boolean | null;
  /** Aborts when the store stops answering; a fresh one while it answers. */
  downSignal(): AbortSignal;
  /** Asks every second until `stop` aborts. */
  run(stop: AbortSignal): Promise<void>;
};

const INTERVAL_MS = 1_000;
const TIMEOUT_MS = 2_000;
/** A store that is merely slow for a moment must not lose its running inserts. */
const MISSES_TO_CUT = 3;

type Answer = 'store' | 'another server' | 'none';

export type HeartbeatDeps = {
  readonly clock: Clock;
  /** Whether the store itself answered, not another server in its place. Rejects when there is no answer. */
  readonly ask: (signal: AbortSignal) => Promise<boolean>;
  /** Called after every change, including a single missed answer. */
  readonly onChange: (isUp: boolean) => void;
  /** Called when `downSignal` aborts. */
  readonly onDown: () => void;
};

export function createHeartbeat({ clock, ask, onChange, onDown }: HeartbeatDeps): Heartbeat {
  let up: boolean | null = null;
  let misses = 0;
  let down = new AbortController();

  return {
    isUp: () => up,
    downSignal: () => down.signal,
    async run(stop) {
      while (!stop.aborted) {
        const answer = await probe(stop);
        // A query that was cut short says nothing about the store.
        if (!stop.aborted) note(answer);
        await clock.sleep(INTERVAL_MS, stop);
      }
    },
  };

  function note(answer: Answer) {
    const isStore = answer === 'store';
    if (isStore) misses = 0;
    // Where another server answers, nothing hangs: running inserts are left to end by themselves.
    else if (answer === 'none' && ++misses === MISSES_TO_CUT) {
      down.abort();
      onDown();
    }
    if (isStore && down.signal.aborted) down = new AbortController();
    if (up === isStore) return;
    up = isStore;
    onChange(isStore);
  }

  async function probe(stop: AbortSignal): Promise<Answer> {
    const late = new AbortController();
    const answered = new AbortController();
    // Both branches end: the sleep by its time or by the answer, so nothing is left behind.
    const timeout = clock.sleep(TIMEOUT_MS, AbortSignal.any([answered.signal, stop])).then(() => {
      late.abort();
      return 'none' as const;
    });
    const asked = ask(late.signal).then(
      (isStore) => (isStore ? 'store' : 'another server'),
      () => 'none' as const,
    );
    const result = await Promise.race([asked, timeout]);
    answered.abort();
    return result;
  }
}
