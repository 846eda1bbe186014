/** The batches of one partition that were cut and not settled, in order. */
import type { Batch } from '../pipeline/batch.ts';
import type { CutBatch } from './batch-cutter.ts';

export type Settlement = {
  /** `waitsForEarlier`: what is before it in the partition may hold its rows, and has to be where it can be asked about. */
  add(batch: Batch, cut: CutBatch, order: { readonly waitsForEarlier: boolean }): void;
  /** The next batch, if it may be delivered now: one that waits for earlier ones only when all of them have settled. */
  ready(): Batch | null;
  /** Hands out the batch that is ready. */
  take(): Batch;
  settle(batch: Batch): void;
  /** The offset of the first batch that has not settled; null when all have. */
  firstUnsettled(): number | null;
  count(): number;
  /** What has not settled: events and bytes, and when the first frame of the oldest was made. */
  sum(): { readonly events: number; readonly bytes: number; readonly oldestAt: number | null };
  /** Bytes of the batches that were not taken. */
  untakenBytes(): number;
};

type Entry = {
  readonly batch: Batch;
  readonly cut: CutBatch;
  readonly waitsForEarlier: boolean;
  state: 'ready' | 'taken' | 'settled';
};

export function createSettlement(): Settlement {
  const entries: Entry[] = [];

  return {
    add: (batch, cut, order) => void entries.push({ batch, cut, ...order, state: 'ready' }),
    ready: () => next()?.batch ?? null,
    take() {
      const entry = next()!;
      entry.state = 'taken';
      return entry.batch;
    },
    settle(batch) {
      const entry = entries.find((known) => known.batch === batch);
      if (entry) entry.state = 'settled';
      while (entries[0]?.state === 'settled') entries.shift();
    },
    firstUnsettled: () => entries[0]?.cut.first ?? null,
    count: () => unsettled().length,
    sum: () => ({
      events: unsettled().reduce((sum, { batch }) => sum + batch.eventCount, 0),
      bytes: unsettled().reduce((sum, { batch }) => sum + batch.byteCount, 0),
      oldestAt: entries[0]?.cut.at ?? null,
    }),
    untakenBytes: () => entries.reduce((sum, { batch, state }) => (state === 'ready' ? sum + batch.byteCount : sum), 0),
  };

  function next(): Entry | null {
    const entry = entries.find(({ state }) => state === 'ready');
    if (entry === undefined) return null;
    return entry.waitsForEarlier && entry !== entries[0] ? null : entry;
  }

  function unsettled(): Entry[] {
    return entries.filter(({ state }) => state !== 'settled');
  }
}
