/** What the watching paths of the console answer. Types only: the page imports them. */

/** Events a second; null where it is not known. */
export type Rates = {
  readonly accepted: number | null;
  /** With what was a dead letter first. */
  readonly stored: number | null;
  readonly rejected: number | null;
  readonly deadLettered: number | null;
};

/** From arrival to stored, in ms, of the events of the last minute; null where none was stored. */
export type Latency = { readonly p50: number | null; readonly p99: number | null };

/** Columns of equal length, for a chart; null where there is a gap. */
export type Series = {
  /** Epoch ms. */
  readonly at: readonly number[];
  readonly accepted: readonly (number | null)[];
  readonly stored: readonly (number | null)[];
  readonly rejected: readonly (number | null)[];
  readonly deadLettered: readonly (number | null)[];
  readonly pendingEvents: readonly (number | null)[];
  readonly pendingBytes: readonly (number | null)[];
  readonly p50: readonly (number | null)[];
  readonly p99: readonly (number | null)[];
};

/** A deviation from normal operation. */
export type Reason = {
  /** The same for the same kind of deviation. */
  readonly code: string;
  /** As `/health` says it. */
  readonly said: string;
  /** What it means, and what to do. */
  readonly words: string;
  readonly remedy: string;
  /** The place in docs/OPERATIONS.md that says more. */
  readonly anchor: string;
};

export type WorkerState = { readonly worker: number; readonly pid: number | null; readonly state: string };

export type TopicState = {
  readonly name: string;
  readonly connected: boolean;
  readonly reading: {
    readonly member: boolean;
    readonly partitions: number;
    readonly lag_records: number;
    readonly lag_seconds: number;
  } | null;
};

/** The body of `GET /health`; docs/API.md describes it. */
export type Health = {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly reasons: readonly string[];
  readonly version: string;
  readonly role: string;
  readonly intake: string;
  readonly enqueued: number;
  readonly pending: number;
  readonly pending_bytes: number;
  readonly unhomed_batches: number;
  readonly breaker: string;
  readonly journal: { readonly state: string; readonly bytes: number; readonly max_bytes: number } | null;
  readonly topic: TopicState | null;
  /** Absent where no ClickHouse stores the events. */
  readonly clickhouse_connected?: boolean;
  readonly postgres_connected: boolean;
  readonly dlq: {
    readonly depth: number;
    readonly events: number;
    readonly bytes: number;
    readonly oldest: string | null;
    readonly quarantined: number;
    readonly estimated: boolean;
  } | null;
  readonly rejecting: readonly {
    readonly door: string;
    readonly rejected: number;
    readonly reasons: unknown;
    readonly since: string;
    readonly last: string;
  }[];
  readonly workers?: readonly WorkerState[];
};

/** `GET /now`. */
export type NowAnswer = {
  /** When the service was last asked, in epoch ms. */
  readonly at: number;
  /** null where it did not answer. */
  readonly health: Health | null;
  readonly reasons: readonly Reason[];
  readonly rates: Rates;
  readonly latency: Latency;
  /** null where it is not known. */
  readonly pending: {
    readonly events: number;
    readonly bytes: number;
    readonly limitEvents: number;
    readonly limitBytes: number;
  } | null;
  readonly breaker: string | null;
  readonly stores: readonly { readonly name: 'ClickHouse' | 'Postgres'; readonly connected: boolean }[];
  readonly journal: Health['journal'];
  readonly workers: readonly WorkerState[] | null;
  readonly topic: TopicState | null;
};

/** An event as it was accepted; `event` and `distinctId` are null for whom contents are hidden. */
export type LiveEvent = {
  /** Its arrival, in epoch ms. */
  readonly at: number;
  readonly projectId: string;
  readonly id: string;
  readonly event: string | null;
  /** The user's id, or else the anonymous one. */
  readonly distinctId: string | null;
  /** The `X-Request-Id` of its answer. */
  readonly requestId: string;
  /** How safe its sender wanted it to be. */
  readonly ack: string;
  /** Absent where contents are hidden, or the event is too large to show. */
  readonly properties?: unknown;
  readonly isCut?: true;
};

/** `event: batch` of `GET /live`, since the frame before. */
export type LiveBatch = {
  readonly events: readonly LiveEvent[];
  readonly shown: number;
  /** Events that were accepted and match, as far as they were looked at. */
  readonly matched: number;
  /** Events that passed too fast to be looked at. */
  readonly unexamined: number;
  /** Those that this page was too slow for. */
  readonly dropped: number;
};

/** `event: steps`: what became of events that were shown. */
export type EventStep = {
  readonly id: string;
  readonly projectId: string;
  /** `replicated`: in the topic. `refused`: the journal failed, and the sender was told. */
  readonly stage: 'journaled' | 'batched' | 'stored' | 'dead-lettered' | 'replicated' | 'refused';
  readonly at: number;
  readonly batchId: string | null;
  /** The dead letter, where it is known. */
  readonly letterId: string | null;
};

/** `event: rates`, once a second. */
export type LiveRates = { readonly rates: Rates; readonly pending: NowAnswer['pending'] };

/** `event: end`, the last one. */
export type LiveEnd = { readonly why: string };

/**
 * Where an event is. `replicated`: in the topic, or between it and the store. `gone`: it was accepted, and is in no place that
 * was looked into.
 */
export type EventPlace = 'stored' | 'dead-letter' | 'pending' | 'replicated' | 'rejected' | 'gone';

/** One event and its way so far. Times are in epoch ms; null where they are not known. */
export type FoundEvent = {
  readonly place: EventPlace;
  readonly projectId: string;
  /** null for a rejected event: it has none yet. */
  readonly id: string | null;
  /** null where contents are hidden, too. */
  readonly event: string | null;
  readonly distinctId: string | null;
  /** The front door. */
  readonly source: string | null;
  readonly requestId: string | null;
  /** Its arrival: it was accepted then, or rejected. */
  readonly acceptedAt: number | null;
  readonly journaledAt: number | null;
  readonly batchId: string | null;
  readonly batchedAt: number | null;
  /** Known for events that somebody saw in the live view; null for others that are stored. */
  readonly storedAt: number | null;
  /** The dead letter that holds it. */
  readonly letter: {
    readonly id: string;
    readonly state: string;
    readonly group: string;
    readonly errorClass: string;
    readonly lastError: string;
    readonly createdAt: number;
  } | null;
  readonly rejection: { readonly id: string; readonly kind: string; readonly reason: string | null } | null;
};

/** How a place was looked through. `not asked`: nothing was known that could be looked for there. */
export type LookedThrough = 'all' | 'a part' | 'not asked' | 'unavailable';

/** `GET /events/find`. */
export type FindAnswer = {
  readonly events: readonly FoundEvent[];
  /** Of a question by request id: the requests with that id, as far as they are remembered. */
  readonly requests: readonly {
    readonly requestId: string;
    readonly projectId: string;
    readonly receivedAt: number;
    readonly accepted: number;
    readonly rejected: number;
    /** Nothing of it was taken, and its sender was told so. */
    readonly isRefused: boolean;
  }[];
  /** Since when requests are remembered. */
  readonly requestsSince: number | null;
  readonly looked: {
    readonly pending: LookedThrough;
    readonly store: LookedThrough;
    readonly letters: LookedThrough;
    readonly rejected: LookedThrough;
  };
};
