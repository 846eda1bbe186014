/**
 * Knows whether a store answers, by asking it every second. Health reads it
 * without a query of its own, and inserts that hang on a frozen store are cut
 * short by `downSignal` instead of waiting for their own deadline.
 */
import type { Clock } from '../clock.ts';
import { failureOf } from './outcome.ts';

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

export type HeartbeatDeps = {
  readonly clock: Clock;
  readonly ask: (signal: AbortSignal) => Promise<unknown>;
  /** After every change, also of a single missed answer. */
  readonly onChange: (isUp: boolean) => void;
  /** When `downSignal` aborts. */
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
        const answered = await answers(stop);
        // A question that was cut short says nothing about the store.
        if (!stop.aborted) heard(answered);
        await clock.sleep(INTERVAL_MS, stop);
      }
    },
  };

  function heard(answered: boolean) {
    misses = answered ? 0 : misses + 1;
    if (misses === MISSES_TO_CUT) {
      down.abort();
      onDown();
    }
    if (answered && down.signal.aborted) down = new AbortController();
    if (up === answered) return;
    up = answered;
    onChange(answered);
  }

  async function answers(stop: AbortSignal): Promise<boolean> {
    const late = new AbortController();
    const answered = new AbortController();
    // Both branches end: the sleep by its time or by the answer, so nothing is left behind.
    const timeout = clock.sleep(TIMEOUT_MS, AbortSignal.any([answered.signal, stop])).then(() => {
      late.abort();
      return false;
    });
    const asked = failureOf(ask(late.signal)).then((error) => error === null);
    const result = await Promise.race([asked, timeout]);
    answered.abort();
    return result;
  }
}
