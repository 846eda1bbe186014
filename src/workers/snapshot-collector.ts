/**
 * Snapshots of all workers at one moment, and the counts of processes that have ended, so that counters add up and
 * never fall.
 */
import { type MetricsPage, addEnded } from '../metrics/pages.ts';
import type { WorkerSnapshots } from './aggregated-pages.ts';
import type { WorkerSlot } from './worker-slot.ts';

export type SnapshotCollector = {
  /** Requests a new snapshot from every worker. Concurrent callers share one that began after they called. */
  collect(): Promise<WorkerSnapshots>;
  /** Adds what an ended process counted; `recovered`: those of its events that its successor counts again. */
  countEnded(page: MetricsPage, recovered: number): void;
};

/** A worker takes a millisecond for a snapshot; one that has not replied by then is frozen, or nearly so. */
const SNAPSHOT_WITHIN_MS = 700;

export function createSnapshotCollector(slots: () => readonly WorkerSlot[]): SnapshotCollector {
  let ended: Promise<MetricsPage> = Promise.resolve([]);

  return {
    collect: oneAtATime(collect),
    countEnded(page, recovered) {
      ended = ended.then((before) => addEnded(before, page, recovered));
    },
  };

  async function collect(): Promise<WorkerSnapshots> {
    await Promise.all(slots().map((slot) => slot.refresh(SNAPSHOT_WITHIN_MS)));
    for (;;) {
      const known = ended;
      const counted = await known;
      // In one step with the members' snapshots: no process is counted twice or left out.
      if (known === ended) return { members: slots().map((slot) => slot.member()), ended: counted };
    }
  }
}

/** Runs `work` for every caller, always begun after the call, however many call at the same time. */
function oneAtATime<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  let next: Promise<T> | null = null;
  return () => {
    if (running === null) return begin();
    next ??= running.then(begin, begin);
    return next;
  };

  function begin(): Promise<T> {
    next = null;
    running = work().finally(() => {
      running = null;
    });
    return running;
  }
}
