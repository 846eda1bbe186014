/**
 * What the journal answers for: every envelope that has no other home yet, the
 * batches cut of them, and the segment each envelope is in. It alone keeps the
 * count of a segment's unsettled envelopes, and by what is on disk: an envelope
 * counts from when it is written until what settles it is written too.
 */
import type { Envelope } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import { sizeOf } from './record.ts';
import type { Segment } from './segments.ts';

/** `segment`: where it is on disk; null while it waits to be written. */
export type Live = {
  readonly sequence: number;
  readonly envelope: Envelope;
  readonly bytes: number;
  segment: Segment | null;
};

export type Unsettled = {
  add(sequence: number, envelope: Envelope, segment: Segment | null): Live;
  /** Forgets the envelopes and returns those it knew. Their segments still count them, until `release`. */
  drop(sequences: readonly number[]): Live[];
  /** It is on disk, in that segment. */
  place(entry: Live, segment: Segment): void;
  /** What settles them is on disk. */
  release(entries: readonly Live[]): void;
  /** Remembers the batch, and returns those of its sequences that are here. */
  cut(batchId: BatchId, sequences: readonly number[]): readonly number[];
  /** Forgets the batch, not its envelopes. */
  endBatch(batchId: BatchId): readonly number[] | undefined;
  readonly batches: ReadonlyMap<BatchId, readonly number[]>;
  /** What is on disk. */
  written(): Live[];
  count(): number;
  /** What the envelopes take in a segment. */
  bytes(): number;
};

export function createUnsettled(): Unsettled {
  const live = new Map<number, Live>();
  const batches = new Map<BatchId, readonly number[]>();
  let bytes = 0;

  return {
    add(sequence, envelope, segment) {
      const entry = { sequence, envelope, bytes: sizeOf({ type: 'envelope', sequence, envelope, key: null }), segment };
      live.set(sequence, entry);
      bytes += entry.bytes;
      return entry;
    },
    drop: (sequences) => sequences.flatMap((sequence) => remove(sequence) ?? []),
    place(entry, segment) {
      entry.segment = segment;
      segment.unsettled += 1;
    },
    release(entries) {
      for (const { segment } of entries) if (segment) segment.unsettled--;
    },
    cut(batchId, asked) {
      const sequences = asked.filter((sequence) => live.has(sequence));
      batches.set(batchId, sequences);
      return sequences;
    },
    endBatch(batchId) {
      const sequences = batches.get(batchId);
      batches.delete(batchId);
      return sequences;
    },
    batches,
    written: () => [...live.values()].filter(({ segment }) => segment !== null),
    count: () => live.size,
    bytes: () => bytes,
  };

  function remove(sequence: number): Live | undefined {
    const entry = live.get(sequence);
    if (live.delete(sequence)) bytes -= entry!.bytes;
    return entry;
  }
}
