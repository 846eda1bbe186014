/**
 * One partition for as long as a member holds it: reads its records, cuts them into batches, at most a few ahead of
 * those that have settled, and commits what has.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type Batch, type BatchId, bytesOf } from '../pipeline/batch.ts';
import { type CutBatch, type OpenBatch, createBatchCutter } from './batch-cutter.ts';
import { createBell } from './bell.ts';
import { createPartitionCommits } from './partition-commits.ts';
import type { ReadBudget } from './read-budget.ts';
import { createSettlement } from './settlement.ts';
import { keepTicking } from './tick-keeper.ts';
import type { Tenure, TopicRecord, TopicWriter } from './topic-port.ts';
import { hasTwin } from './twin-search.ts';

export type PartitionFeedDeps = {
  readonly tenure: Tenure;
  readonly writer: Pick<TopicWriter, 'append'>;
  readonly budget: ReadBudget;
  /** Whether another member may have held the partition without this one's knowing, since that time. */
  readonly hasPausedSince: (elapsed: number) => boolean;
  /** Aborts when nothing more is to be read: it is over, or this process ends. */
  readonly end: AbortSignal;
  /** Called when a batch may be ready, or there is room again. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
};

/** What stands in a partition and is not settled, as far as this member knows. */
export type PartitionLag = {
  readonly partition: number;
  /** Between the first that is not settled and the end. */
  readonly records: number;
  /** Read and not settled. */
  readonly events: number;
  readonly bytes: number;
  /** Since the oldest frame of these was made; null when there is none. */
  readonly seconds: number | null;
  /** Records that the broker removed before they were read. */
  readonly removed: number;
  /** Records that Weir did not write. */
  readonly foreign: number;
};

export type PartitionFeed = {
  readonly partition: number;
  /** Works until `end` aborts. */
  run(): Promise<void>;
  isReady(): boolean;
  take(): Batch;
  /** The batch has its destination; or `isLeft`: nobody will deliver it here. */
  settle(batch: Batch, how: { readonly isLeft: boolean }): void;
  /** Resolves when no commit is under way. */
  committed(): Promise<void>;
  /** Whether it does not read for want of room. */
  isStarved(): boolean;
  /** There may be room again. */
  wake(): void;
  lag(): PartitionLag;
  /** What keeps the partition's events from being stored, besides stores; null when nothing does. */
  problem(): string | null;
};

/** Batches of a partition that were cut and have not settled. */
export const MAX_UNSETTLED = 4;
/** Well beyond the wait of a read at the end of a partition. */
const LONG_READ_MS = 2_000;

export function createPartitionFeed(deps: PartitionFeedDeps): PartitionFeed {
  const { tenure, budget, end, clock, log } = deps;
  const { partition, over } = tenure;
  const cutter = createBatchCutter(tenure, tenure);
  const settlement = createSettlement();
  const changed = createBell();
  const begunAt = clock.elapsed();
  const inLog = { over, isInDoubt: () => deps.hasPausedSince(begunAt) };
  /** Read and not cut. */
  let records: TopicRecord[] = [];
  let position = tenure.start;
  let logEnd = tenure.takenAt;
  /** From there on every reader begins batches where this one does; null when it is not known yet. */
  let commonFrom = tenure.isBoundary ? tenure.start : null;
  /** Bytes that were read and are in no batch that can be delivered. */
  let heldBytes = 0;
  /** Where the batch begins that was cut and is looked for in the log. */
  let adding: number | null = null;
  /** Nothing is read for want of room, here or in memory. */
  let isStarved = false;
  let foreign = 0;
  let stoppedBy: string | null = null;
  let tickTrouble: string | null = null;

  const commits = createPartitionCommits(tenure, () => (isCommon(unsettledFrom()) ? unsettledFrom() : null));
  end.addEventListener('abort', changed.ring, { once: true });

  return {
    partition,
    run,
    isReady: () => !end.aborted && settlement.ready() !== null,
    take: settlement.take,
    settle,
    committed: commits.done,
    isStarved: () => isStarved,
    wake: changed.ring,
    lag,
    problem,
  };

  async function run(): Promise<void> {
    budget.join(cutter);
    const isWanted = commonFrom === null;
    const ticking = keepTicking({ ...deps, partition, waiting, changed: changed.next, isWanted, onTrouble });
    while (!end.aborted) {
      if (hasRoom() && records.length > 0) await cutSome();
      else {
        const bytes = hasRoom() ? budget.admit(cutter) : null;
        isStarved = bytes === null;
        await (bytes === null ? changed.next() : readSome(bytes));
      }
    }
    budget.drop(heldBytes);
    budget.delivered(settlement.untakenBytes());
    budget.leave(cutter);
    deps.onChange();
    await ticking;
  }

  function hasRoom(): boolean {
    return stoppedBy === null && settlement.count() < MAX_UNSETTLED;
  }

  function isCommon(offset: number): boolean {
    return commonFrom !== null && offset >= commonFrom;
  }

  function onTrouble(trouble: string | null) {
    tickTrouble = trouble;
  }

  async function readSome(admitted: number): Promise<void> {
    let bytes = 0;
    const answered = new AbortController();
    void passOnUnless(answered.signal);
    try {
      const read = await tenure.read(position, admitted);
      if (end.aborted) return;
      records = [...read.records];
      logEnd = read.end;
      position = (records.at(-1)?.offset ?? position - 1) + 1;
      bytes = bytesOf(records.map(({ value }) => value));
    } catch (error) {
      if (!over.aborted) throw error;
    } finally {
      answered.abort('answered');
      heldBytes += bytes;
      budget.read(cutter, admitted, bytes, heldBytes === 0);
      noteChange();
    }
    // Whoever waits for room comes first.
    if (bytes === 0) await clock.turn();
  }

  async function passOnUnless(answered: AbortSignal): Promise<void> {
    await clock.sleep(LONG_READ_MS, answered);
    if (answered.aborted) return;
    budget.waits(cutter);
    deps.onChange();
  }

  async function cutSome(): Promise<void> {
    while (hasRoom() && records.length > 0 && !end.aborted) {
      for (const batch of cut(records.shift()!)) {
        adding = batch.first;
        const isTwin = batch.repeatOf !== null && (await isThereAlready(batch, batch.repeatOf));
        if (end.aborted) return;
        add(batch, isTwin);
        adding = null;
      }
    }
    commits.soon();
    noteChange();
  }

  function cut(record: TopicRecord): readonly CutBatch[] {
    const { kind, closed, commonBoundary, refusal } = cutter.feed(record);
    commonFrom ??= commonBoundary;
    if (kind !== 'frame') {
      heldBytes -= record.value.length;
      budget.drop(record.value.length);
    }
    if (kind === 'foreign') {
      foreign++;
      log.warn({ partition, offset: record.offset }, 'a record of the topic is not from Weir and was skipped');
    }
    if (refusal !== null) stop(record, refusal);
    return closed;
  }

  /** What was read and is in no batch is let go: it is read again by whoever understands what stands there. */
  function stop({ offset }: TopicRecord, refusal: string): void {
    stoppedBy = refusal;
    records = [];
    budget.drop(heldBytes);
    heldBytes = 0;
    budget.leave(cutter);
    log.fatal({ partition, offset, holds: refusal }, 'a partition is not read on');
  }

  /** Null where the partition cannot tell. */
  async function isThereAlready({ first }: CutBatch, id: BatchId): Promise<boolean | null> {
    try {
      return await hasTwin(tenure, { id, before: first }, end);
    } catch (error) {
      if (!over.aborted) throw error;
      return null;
    }
  }

  /** `isTwin`: its rows are in a batch before it, or nobody can tell. */
  function add(batch: CutBatch, isTwin: boolean | null): void {
    const { id, first, chunks, eventCount, byteCount, useByProject } = batch;
    heldBytes -= byteCount;
    budget.closed(cutter, byteCount);
    if (isTwin === true) {
      budget.delivered(byteCount);
      log.info({ partition, offset: first, events: eventCount }, 'a frame that was appended twice is skipped');
      return;
    }
    // What other readers may have cut otherwise is in none of the batches before it here.
    const waitsForEarlier = batch.mayBeElsewhere || isTwin === null;
    const doubts = { mayHaveLanded: first < tenure.takenAt, mayBeElsewhere: waitsForEarlier || !isCommon(first) };
    settlement.add({ id, chunks, eventCount, byteCount, useByProject, ...doubts, inLog }, batch, { waitsForEarlier });
    deps.onChange();
  }

  function settle(batch: Batch, { isLeft }: { readonly isLeft: boolean }): void {
    budget.delivered(batch.byteCount);
    if (isLeft) return;
    settlement.settle(batch);
    commits.soon();
    noteChange();
  }

  function noteChange() {
    changed.ring();
    deps.onChange();
  }

  function unsettledFrom(): number {
    return settlement.firstUnsettled() ?? adding ?? cutter.boundary();
  }

  function waiting(): OpenBatch | null {
    const isAtEnd = records.length === 0 && position >= logEnd;
    return isAtEnd && !isStarved ? cutter.open() : null;
  }

  function lag(): PartitionLag {
    const { events, bytes, oldestAt } = settlement.sum();
    const open = cutter.open();
    const since = oldestAt ?? open?.at ?? null;
    return {
      partition,
      records: Math.max(0, logEnd - unsettledFrom()),
      events: events + (open?.eventCount ?? 0),
      bytes: bytes + (open?.byteCount ?? 0),
      seconds: since && Math.max(0, clock.now() - since) / 1_000,
      removed: tenure.removed,
      foreign,
    };
  }

  function problem(): string | null {
    if (stoppedBy !== null) return `partition ${partition} holds ${stoppedBy}; it is not read on`;
    return tickTrouble && `partition ${partition} cannot be written to by its reader: ${tickTrouble}`;
  }
}
