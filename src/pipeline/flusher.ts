/**
 * Takes batches from the channel and delivers several at a time. A batch leaves the channel's count only after the
 * destination of all its rows confirmed them; until then this holds it completely.
 */
import type { Batch } from './batch.ts';
import { type BatchDeliveryDeps, type Delivered, createBatchDelivery } from './batch-delivery.ts';
import type { Channel } from './channel-port.ts';
import { type InsertAttemptDeps, createInsertAttempts } from './insert-attempt.ts';
import type { Ledger } from './ledger.ts';
import type { InsertFailure, UsageSink } from './ports.ts';

export type FlusherDeps = Omit<InsertAttemptDeps, 'onVerdict'> &
  Omit<BatchDeliveryDeps, 'inserts'> & {
    readonly channel: Pick<Channel, 'take' | 'settle' | 'setBatchScale'> & {
      /** The batch, which a log keeps, is left to whoever reads that next. */
      letGo?(batch: Batch): void;
    };
    readonly ledger: Ledger;
    readonly usage: UsageSink;
    /** Told of every batch of which some landed, and how many of its events did. */
    readonly onStored: (batch: Batch, events: number) => void;
  };

export type Flusher = {
  /** Works until the channel is closed and empty and every batch has a destination, or `giveUp` was called. */
  run(): Promise<void>;
  /** Whether fresh batches use every insert slot, so that the drain must step back. */
  isBusy(): boolean;
  /**
   * Cuts running inserts and starts no more; batches go to the dead letters, or are left to the log that keeps them.
   * The shutdown calls it.
   */
  stopInserting(): void;
  /** Ends the retries of batches that no store takes. */
  giveUp(): void;
  /** The batches that were taken and have no destination yet, and that no log keeps, complete and in memory. */
  held(): readonly Batch[];
};

/** How much larger batches may get while ClickHouse has too many parts to merge. */
const MAX_BATCH_SCALE = 8;

/** While so many inserts are under way, the next batch may grow: the store has enough to do without it (decision 69). */
const ENOUGH_INSERTS = 2;
const GROWTH = 2;

export function createFlusher(
  deps: FlusherDeps,
  { maxInFlight, batchEvents }: { maxInFlight: number; /** In a batch of the usual size. */ batchEvents: number },
): Flusher {
  const { channel, ledger, usage, onStored } = deps;
  const inserts = createInsertAttempts({ ...deps, onVerdict: adapt });
  const delivery = createBatchDelivery({ ...deps, inserts });
  const held = new Set<Batch>();
  const inFlight = new Set<Promise<void>>();
  /** The slots of those: a batch that has grown takes more than one. */
  let slotsInUse = 0;
  let hasGivenUp = false;
  let slots = maxInFlight;
  let batchScale = 1;

  return {
    run,
    isBusy,
    stopInserting,
    giveUp,
    held: () => [...held].filter(({ inLog }) => inLog === undefined),
  };

  async function run() {
    for (;;) {
      while (isBusy()) await Promise.race(inFlight);
      if (hasGivenUp) break;
      const batch = await channel.take();
      if (batch === null) break;
      if (batch.inLog) ledger.taken += batch.eventCount;
      const work = flush(batch).finally(() => {
        slotsInUse -= slotsOf(batch);
        inFlight.delete(work);
        scaleBatches();
      });
      slotsInUse += slotsOf(batch);
      inFlight.add(work);
      scaleBatches();
    }
    await Promise.all(inFlight);
  }

  function isBusy() {
    return slotsInUse >= slots;
  }

  /** What a log holds was cut by the limits of whoever wrote it, and has not grown. */
  function slotsOf({ eventCount, inLog }: Batch) {
    return inLog === undefined && eventCount > batchEvents ? GROWTH : 1;
  }

  function stopInserting() {
    inserts.stop();
    delivery.release();
  }

  function giveUp() {
    hasGivenUp = true;
    delivery.giveUp();
  }

  async function flush(batch: Batch) {
    held.add(batch);
    const delivered = await delivery.deliver(batch);
    if (delivered === null) {
      if (batch.inLog) leave(batch);
      return;
    }
    held.delete(batch);
    account(batch, delivered);
    // Settling comes last: until then the batch counts against the channel.
    channel.settle(batch, delivered.destination, delivered.takenOut);
  }

  function leave(batch: Batch) {
    held.delete(batch);
    ledger.handedOver += batch.eventCount;
    channel.letGo?.(batch);
  }

  function account(batch: Batch, { destination, remainder, takenOut }: Delivered) {
    ledger.deadLettered += takenOut.length;
    if (remainder === null) return;
    if (destination === 'dead-lettered') {
      ledger.deadLettered += remainder.eventCount;
      return;
    }
    ledger.stored += remainder.eventCount;
    onStored(batch, remainder.eventCount);
    for (const [projectId, { events }] of remainder.useByProject) if (events > 0) usage(projectId, events);
  }

  /** A store with too many parts gets one insert at a time, and larger ones, until it accepts them again. */
  function adapt(failure: InsertFailure | null) {
    if (failure?.failureClass === 'capacity') {
      slots = 1;
      batchScale = Math.min(batchScale * 2, MAX_BATCH_SCALE);
    } else if (failure === null && (slots < maxInFlight || batchScale > 1)) {
      slots = Math.min(slots + 1, maxInFlight);
      batchScale = Math.max(batchScale / 2, 1);
    } else return;
    scaleBatches();
  }

  function scaleBatches() {
    // Not its bytes: proxies and memory are made for those.
    const growth = inFlight.size >= ENOUGH_INSERTS ? GROWTH : 1;
    channel.setBatchScale({ events: batchScale * growth, bytes: batchScale });
  }
}
