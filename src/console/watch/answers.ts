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
