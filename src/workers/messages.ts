/**
 * The messages between supervisor and workers. Configuration and addresses travel
 * this way too: other users can read a command line or an environment.
 */
import type { Config } from '../config/config.ts';
import type { Demo } from '../composition/demo.ts';
import type { Answer } from '../http/ingest/idempotency.ts';
import type { Refusal } from '../http/answers/refusals.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { Leftovers } from '../pipeline/shutdown.ts';
import type { StopOptions } from '../composition/weir.ts';
import type { Snapshot } from '../composition/pages.ts';
import type { StoreAccess } from '../composition/storage.ts';
import type { PendingAnswer, PendingQuestion, StreamOrder, WatchReport } from '../watch/messages.ts';
import type { WorkerSnapshots } from './aggregated-pages.ts';

/** `serve`: a worker that listens. `deliver`: one that delivers an abandoned directory and ends. */
export type WorkerRole = 'serve' | 'deliver';

/** Everything a worker needs to begin. */
export type Assignment = {
  readonly worker: number;
  readonly role: WorkerRole;
  readonly config: Config;
  readonly access: StoreAccess;
  readonly version: string;
  /** The project of requests without a token, when the demo has one. */
  readonly anonymousProject: string | null;
};

/** Messages of a worker; they have no reply. */
export type WorkerMessage =
  /** The worker takes requests, or delivers. */
  | { readonly kind: 'running' }
  /** Answers to idempotency keys in its journal; `isAll` with the last of them. */
  | { readonly kind: 'keys'; readonly keys: readonly KeptAnswer[]; readonly isAll: boolean }
  /** The worker cannot start, for a reason that a person can fix. */
  | { readonly kind: 'cannot start'; readonly message: string }
  /** From a worker that delivers: nothing is left, and it ends now. */
  | { readonly kind: 'delivered'; readonly snapshot: Snapshot }
  /** The end of a claim, with the answer that was given; null when there was none. */
  | { readonly kind: 'release'; readonly claim: number; readonly answer: Answer | null }
  /** The worker returns its query slot, or no longer waits for one. */
  | { readonly kind: 'leave query slot'; readonly slot: number }
  /** What the console is told of events. */
  | { readonly kind: 'watched'; readonly report: WatchReport }
  | ({ readonly kind: 'stopped' } & Leftovers);

export type SupervisorMessage =
  | ({ readonly kind: 'start' } & Assignment)
  /** Drain, then end. */
  | ({ readonly kind: 'stop' } & StopOptions)
  /** Save what is in memory and end at once. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'admit'; readonly projectId: string }
  /** What the console wants to be told; null: it is gone. */
  | { readonly kind: 'watch'; readonly streams: readonly StreamOrder[] | null };

export type ClaimRequest = {
  /** Unique within the worker. */
  readonly claim: number;
  readonly projectId: KeptAnswer['projectId'];
  readonly key: string;
  readonly bodyHash: string;
};

/** Whether the worker may take a request with an idempotency key. Only `granted` requires a release. */
export type ClaimVerdict =
  | { readonly kind: 'granted' }
  /** The key was used before. */
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'mismatch' }
  /** The supervisor cannot decide at the moment. */
  | { readonly kind: 'unavailable' };

/** Requests by name: what each asks and what answers it. */
export type RequestsByName = { readonly [about: string]: { readonly asks: unknown; readonly answers: unknown } };

export type WorkerRequests = {
  /** The snapshots of all workers. */
  snapshots: { asks: null; answers: WorkerSnapshots };
  claim: { asks: ClaimRequest; answers: ClaimVerdict };
  /** A slot for a query about a project; `slot` is unique within the worker. */
  querySlot: { asks: { slot: number; projectId: string }; answers: { isGiven: boolean } };
  rate: { asks: KeptAnswer['projectId']; answers: { refusal: Refusal<'rate_limited'> | null } };
};

export type SupervisorRequests = {
  snapshot: { asks: null; answers: Snapshot };
  /** null where none is wanted. */
  demo: { asks: null; answers: { demo: Demo | null } };
  /** Writes the answers to the worker's own journal. */
  remember: { asks: readonly KeptAnswer[]; answers: 'remembered' };
  /** Looks for events that are pending in the worker. */
  pending: { asks: PendingQuestion; answers: PendingAnswer };
};
