import type { RateLimit } from '../http/access/rate-limit.ts';
import type { Idempotency } from '../http/ingest/idempotency.ts';
import type { QuerySlots } from '../http/read/query-slots.ts';
import type { DurableDirs } from './durability.ts';
import type { Pages, Snapshot } from './pages.ts';

/** What a Weir shares with the other workers of the same service. */
export type WorkerContext = {
  readonly workers: number;
  readonly dirs: DurableDirs;
  /** False for one that only delivers what its directory holds. */
  readonly listens: boolean;
  /** Aborts when the supervisor, which owns the socket, is gone. */
  readonly abandoned: AbortSignal;
  readonly idempotency: Idempotency;
  readonly rateLimit: RateLimit | null;
  /** For queries about projects. */
  readonly querySlots: QuerySlots;
  readonly pagesWith: (own: () => Promise<Snapshot>) => Pages;
};
