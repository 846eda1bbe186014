/** Whether Kafka answers, and why not: for pages, and once in the log. */
import type { Log } from '../log/log.ts';
import { explainKafka } from './errors.ts';

export type Trouble = {
  /** null until something was answered or failed. */
  isUp(): boolean | null;
  /** A sentence; null while all is well. */
  reason(): string | null;
  well(): void;
  failed(error: unknown): void;
  /** What was asked for is not wanted any more. */
  clear(): void;
};

/** Of several parts: one that has trouble is enough. */
export function combined(parts: readonly Trouble[]): Pick<Trouble, 'isUp' | 'reason'> {
  return {
    isUp() {
      if (parts.some((part) => part.isUp() === false)) return false;
      return parts.some((part) => part.isUp() === true) ? true : null;
    },
    reason: () => parts.map((part) => part.reason()).find((reason) => reason !== null) ?? null,
  };
}

/** `what`: the part that has it, as it stands in the log. */
export function createTrouble(log: Log, what: string): Trouble {
  let isUp: boolean | null = null;
  let reason: string | null = null;

  return {
    isUp: () => isUp,
    reason: () => reason,
    well() {
      if (reason !== null) log.info({ part: what }, 'kafka answers again');
      isUp = true;
      reason = null;
    },
    failed(error) {
      const next = explainKafka(error);
      if (next !== reason) log.warn({ part: what, reason: next }, 'kafka cannot be used');
      isUp = false;
      reason = next;
    },
    clear() {
      isUp = null;
      reason = null;
    },
  };
}
