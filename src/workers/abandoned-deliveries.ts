/**
 * Delivers the directories that workers of a formerly larger number have left: one process for each, a few at a time,
 * until its events are in a store and its idempotency keys in another journal.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { WorkerMessage } from './messages.ts';
import type { SnapshotCollector } from './snapshot-collector.ts';
import { removeWorkerDirectory } from './worker-directories.ts';
import type { WorkerSlot, WorkerSlotEvents } from './worker-slot.ts';

export type AbandonedDeliveriesDeps = {
  readonly createSlot: (worker: number, events: Partial<WorkerSlotEvents>) => WorkerSlot;
  readonly onMessage: (worker: number, message: WorkerMessage) => void;
  /** Called when the worker's journal cannot be read: then no keys will come from it. */
  readonly onUnreadable: (worker: number) => void;
  /** Puts the keys into the journal of a serving worker; false when that failed. */
  readonly remember: (keys: readonly KeptAnswer[]) => Promise<boolean>;
  readonly countEnded: SnapshotCollector['countEnded'];
  readonly dataDir: string;
  /** Aborts when the service ends. */
  readonly stopping: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
};

export type AbandonedDeliveries = {
  /** Resolves when every directory is delivered, or when the service ends. Call it once. */
  run(workers: readonly number[]): Promise<void>;
  /** The slots that are delivering at the moment. */
  slots(): readonly WorkerSlot[];
};

/** Directories delivered at the same time; each needs a process. */
const MAX_DELIVERING = 8;
const RETRY_MS = 2_000;

export function createAbandonedDeliveries({
  createSlot,
  onMessage,
  onUnreadable,
  remember,
  countEnded,
  dataDir,
  stopping,
  clock,
  log,
}: AbandonedDeliveriesDeps): AbandonedDeliveries {
  const delivering = new Set<WorkerSlot>();

  return { run, slots: () => [...delivering] };

  async function run(workers: readonly number[]): Promise<void> {
    const waiting = [...workers];
    const lanes = workers.slice(0, MAX_DELIVERING).map(async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await deliver(next);
    });
    await Promise.all(lanes);
  }

  /** Gives up only when the service ends. */
  async function deliver(worker: number): Promise<void> {
    while (!stopping.aborted) {
      const keys = await deliverOnce(worker);
      if (stopping.aborted) return;
      if (await handOver(worker, keys)) return;
      await clock.sleep(RETRY_MS, stopping);
    }
  }

  /** Runs a process until the directory is delivered. Returns the keys in its journal. */
  async function deliverOnce(worker: number): Promise<KeptAnswer[]> {
    const keys: KeptAnswer[] = [];
    const slot = createSlot(worker, {
      onMessage(message) {
        if (message.kind === 'keys') keys.push(...message.keys);
        onMessage(worker, message);
      },
      mayTryAgain({ reason }) {
        if (reason !== null) onUnreadable(worker);
        return true;
      },
    });
    delivering.add(slot);
    await slot.run();
    delivering.delete(slot);
    const { snapshot } = slot.member();
    if (snapshot !== null) countEnded(snapshot.metrics, 0);
    return keys;
  }

  /** A key outlives the events it came with: another journal must hold it before this one is removed. */
  async function handOver(worker: number, keys: readonly KeptAnswer[]): Promise<boolean> {
    if (keys.length > 0 && !(await remember(keys))) {
      log.warn({ worker, keys: keys.length }, 'idempotency keys could not be handed over; retrying');
      return false;
    }
    log.info({ worker }, 'delivered the events that a former worker left behind');
    remove(worker);
    return true;
  }

  /** What cannot be removed is delivered, so that it costs no more than a look at every start. */
  function remove(worker: number): void {
    try {
      const keptAs = removeWorkerDirectory(dataDir, worker);
      if (keptAs !== null) log.warn({ worker, dir: keptAs }, 'worker directory holds unreadable files and was kept');
    } catch (error) {
      log.warn({ worker, err: error }, 'worker directory cannot be removed; it stays');
    }
  }
}
