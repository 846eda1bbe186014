/** Whether Kafka can be used, and why not: for pages, and once in the log. */
import type { Log } from '../log/log.ts';
import { explainKafka, hasApiError } from './errors.ts';

/** Of one thing that is asked for again and again, such as the appends to one partition. */
export type Trouble = {
  well(): void;
  /** `attempt`: how often it has failed in a row, from 1 on. */
  failed(error: unknown, attempt: number): void;
  /** What was asked for is not wanted any more. */
  clear(): void;
};

export type Troubles = {
  part(): Trouble;
  /** false while a part has trouble; null until something was answered or failed. */
  isUp(): boolean | null;
  /** A sentence; null while all is well. */
  reason(): string | null;
};

/** Answers while brokers choose leaders and coordinators, and members join: no trouble unless they last. */
const PASSING = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'NOT_COORDINATOR',
  'COORDINATOR_NOT_AVAILABLE',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'REBALANCE_IN_PROGRESS',
  // To a commit, between the group's next generation and the member's knowing of it.
  'ILLEGAL_GENERATION',
  'NOT_ENOUGH_REPLICAS',
]);
/** With the pauses between attempts, about two seconds. */
const LASTING = 6;

/** `who`: writer or reader, as it stands in the log. */
export function createTroubles(log: Log, who: string): Troubles {
  const parts = new Map<object, string | null>();
  let said: string | null = null;

  return {
    part() {
      const self = {};
      return {
        well: () => note(self, null),
        failed(error, attempt) {
          if (attempt < LASTING && hasApiError(error, PASSING)) return;
          note(self, explainKafka(error));
        },
        clear() {
          parts.delete(self);
          tell();
        },
      };
    },
    isUp: () => (parts.size === 0 ? null : reason() === null),
    reason,
  };

  function note(part: object, next: string | null) {
    parts.set(part, next);
    tell();
  }

  function reason(): string | null {
    for (const one of parts.values()) if (one !== null) return one;
    return null;
  }

  function tell() {
    const now = reason();
    if (now === said) return;
    if (now === null) log.info({ part: who }, 'kafka can be used again');
    else log.warn({ part: who, reason: now }, 'kafka cannot be used');
    said = now;
  }
}
