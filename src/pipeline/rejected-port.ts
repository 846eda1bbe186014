/** What is kept of a rejected event, and what the pipeline needs of the store that keeps it. */
import type { RejectionKind } from '../event/rejection-kind.ts';

/** A rejected event as it was sent, and everything needed to decode it once more. */
export type RejectedEvent = {
  /** A UUID v7; also the id of the event, should it be stored one day and have none of its own. */
  readonly id: string;
  readonly projectId: string;
  /** The source of the door's events, such as `segment`. */
  readonly door: string;
  /** One of the door's paths, in the spelling that the door has for it. */
  readonly path: string;
  readonly kind: RejectionKind;
  readonly reason: string;
  /** Without tokens. */
  readonly bytes: Buffer;
  /** Its place in the request, from 0; in a body of lines that of its line, from 1. */
  readonly index: number;
  /** In epoch milliseconds. */
  readonly receivedAt: number;
  readonly facts: RejectedFacts;
};

/** What its request said of it, as far as it would be stored. */
export type RejectedFacts = {
  /** By the sender's clock, in epoch milliseconds; null when it does not say. */
  readonly sentAt: number | null;
  /** Raw JSON. */
  readonly ip: string | null;
  readonly userAgent: string | null;
};

/**
 * `away`: it may work later. `refused`: it will not, or there is no room. None of them means that nothing was kept: the
 * same events may be given again.
 */
export type KeepOutcome = 'kept' | 'away' | 'refused';

export type RejectedStore = {
  /** Keeps the events, each once however often it is given; the oldest ones beyond the limits go. Never rejects. */
  keep(events: readonly RejectedEvent[]): Promise<KeepOutcome>;
  /** Removes what was kept for too long. Never rejects. */
  expire(): Promise<void>;
};
