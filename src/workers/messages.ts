/**
 * What supervisor and workers say to each other. Configuration and addresses
 * travel this way too: a command line or an environment can be read by others.
 */
import type { Config } from '../config.ts';
import type { Demo } from '../demo.ts';
import type { Answer } from '../http/idempotency.ts';
import type { Refusal } from '../http/refusals.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { Residue } from '../pipeline/shutdown.ts';
import type { Look, StoreAccess } from '../weir.ts';
import type { Whole } from './whole.ts';

/** `serve`: one that listens. `deliver`: one that brings home what a worker that is no more has left, and ends. */
export type Role = 'serve' | 'deliver';

/** Everything a worker needs to begin. */
export type Assignment = {
  readonly worker: number;
  readonly role: Role;
  readonly config: Config;
  readonly access: StoreAccess;
  readonly version: string;
  /** The project that whoever has no token belongs to, when the demo has one. */
  readonly anonymousProject: string | null;
};

/** What a supervisor tells; nothing comes back. */
export type ToldByWorker =
  /** It takes requests, or delivers. */
  | { readonly kind: 'running' }
  /** Answers to idempotency keys in its journal; `isAll` with the last of them. */
  | { readonly kind: 'keys'; readonly keys: readonly KeptAnswer[]; readonly isAll: boolean }
  /** It cannot start, for a reason a person can do something about. */
  | { readonly kind: 'cannot start'; readonly message: string }
  /** Of one that delivers: nothing is left. It ends now. */
  | { readonly kind: 'delivered'; readonly look: Look }
  /** The end of a claim, with the answer that was given; null when there was none. */
  | { readonly kind: 'release'; readonly claim: number; readonly answer: Answer | null }
  | ({ readonly kind: 'stopped' } & Residue);

export type ToldBySupervisor =
  | ({ readonly kind: 'start' } & Assignment)
  /** Drain, then end. */
  | { readonly kind: 'stop' }
  /** Save what is in memory and end at once. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'admit'; readonly projectId: string };

export type ClaimRequest = {
  /** Unique in the worker. */
  readonly claim: number;
  readonly projectId: KeptAnswer['projectId'];
  readonly key: string;
  readonly bodyHash: string;
};

/** Whether the worker that asks may take a request with an idempotency key. Only after `granted` must it be released. */
export type Verdict =
  | { readonly kind: 'granted' }
  /** It was taken before. */
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'mismatch' }
  /** That cannot be told at the moment. */
  | { readonly kind: 'unavailable' };

/** What may be asked, by its name: what the question holds, and what the answer. */
export type Questions = { readonly [about: string]: { readonly asks: unknown; readonly answers: unknown } };

export type AskedByWorker = {
  whole: { asks: null; answers: Whole };
  claim: { asks: ClaimRequest; answers: Verdict };
  rate: { asks: KeptAnswer['projectId']; answers: { refusal: Refusal<'rate_limited'> | null } };
};

export type AskedBySupervisor = {
  look: { asks: null; answers: Look };
  /** null where there is to be none. */
  demo: { asks: null; answers: { demo: Demo | null } };
  /** Put the answers into the own journal. */
  remember: { asks: readonly KeptAnswer[]; answers: 'remembered' };
};
