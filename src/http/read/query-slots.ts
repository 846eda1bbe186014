/**
 * Slots for concurrent queries, few, so that reading cannot starve the inserts. A query that finds none waits a moment
 * for its turn. However many queries some projects have, one slot is kept for a project that has none: no project can
 * be kept out by others.
 */
import type { Clock } from '../../runtime/clock.ts';

export type QuerySlotLimits = {
  /** Each may use two threads and a gigabyte of ClickHouse's memory. */
  readonly maxAtOnce: number;
  /** So that one project's dashboard does not keep the others out. */
  readonly maxOfProject: number;
  readonly maxWaiting: number;
  readonly maxWaitingOfProject: number;
  readonly maxWaitMs: number;
};

export const QUERY_SLOTS: QuerySlotLimits = {
  maxAtOnce: 4,
  maxOfProject: 2,
  maxWaiting: 64,
  maxWaitingOfProject: 4,
  maxWaitMs: 5_000,
};

/** Releases a slot; further calls do nothing. */
export type ReleaseQuerySlot = () => void;

export type QuerySlots = {
  /** Waits for a slot; null when there is none in time, when too many wait, or when `signal` aborts before. */
  take(projectId: string, signal: AbortSignal): Promise<ReleaseQuerySlot | null>;
};

type Waiter = { readonly projectId: string; readonly decide: (leave: ReleaseQuerySlot | null) => void };

export function createQuerySlots({ clock }: { clock: Clock }, limits: QuerySlotLimits): QuerySlots {
  const taken = new Map<string, number>();
  let total = 0;
  /** In the order of their arrival. */
  const waiting = new Set<Waiter>();
  const ownOf = (projectId: string) => taken.get(projectId) ?? 0;

  return { take };

  async function take(projectId: string, signal: AbortSignal): Promise<ReleaseQuerySlot | null> {
    if (signal.aborted) return null;
    // This overtakes no query: the waiting ones may not use what is free.
    if (mayTake(projectId)) return occupy(projectId);
    if (isQueueFull(projectId)) return null;
    const decision = Promise.withResolvers<ReleaseQuerySlot | null>();
    const waiter = { projectId, decide: decision.resolve };
    waiting.add(waiter);
    const decided = new AbortController();
    void clock.sleep(limits.maxWaitMs, AbortSignal.any([signal, decided.signal])).then(() => {
      if (waiting.delete(waiter)) decision.resolve(null);
    });
    const leave = await decision.promise;
    decided.abort();
    return leave;
  }

  function mayTake(projectId: string): boolean {
    const own = ownOf(projectId);
    if (own === 0) return total < limits.maxAtOnce;
    return own < limits.maxOfProject && total < limits.maxAtOnce - 1;
  }

  function isQueueFull(projectId: string): boolean {
    const own = [...waiting].filter((waiter) => waiter.projectId === projectId).length;
    return waiting.size >= limits.maxWaiting || own >= limits.maxWaitingOfProject;
  }

  function occupy(projectId: string): ReleaseQuerySlot {
    total += 1;
    taken.set(projectId, ownOf(projectId) + 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      total -= 1;
      const left = ownOf(projectId) - 1;
      if (left === 0) taken.delete(projectId);
      else taken.set(projectId, left);
      admitNext();
    };
  }

  function admitNext() {
    for (let next = chosen(); next !== null; next = chosen()) {
      waiting.delete(next);
      next.decide(occupy(next.projectId));
    }
  }

  /** The project with the fewest slots comes first; among equals, the one that came first. */
  function chosen(): Waiter | null {
    let best: Waiter | null = null;
    for (const waiter of waiting) {
      if (!mayTake(waiter.projectId)) continue;
      if (best === null || ownOf(waiter.projectId) < ownOf(best.projectId)) best = waiter;
    }
    return best;
  }
}
