/**
 * What the journal is responsible for: every envelope without another destination, the batches cut from them, and the
 * segment of each envelope. It alone counts a segment's unsettled envelopes, according to what is on disk: an envelope
 * counts from when it is written until its settling is written too.
 */
import type { Envelope } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import { envelopeSize } from './segment-format.ts';
import type { Segment } from './segments.ts';
import { SequenceTable } from './sequence-table.ts';

/** `bytes`: its size in a segment, without a key. `segment`: where it is on disk; null while it waits to be written. */
export type UnsettledEnvelope = {
  readonly sequence: number;
  readonly envelope: Envelope;
  readonly bytes: number;
  segment: Segment | null;
};

export type Unsettled = {
  add(sequence: number, envelope: Envelope, segment: Segment | null): UnsettledEnvelope;
  /** Drops the envelopes and returns those it knew. Their segments still count them, until `release`. */
  drop(sequences: readonly number[]): UnsettledEnvelope[];
  /** The envelope is on disk, in that segment. */
  place(entry: UnsettledEnvelope, segment: Segment): void;
  /** The record that settles them is on disk. */
  release(entries: readonly UnsettledEnvelope[]): void;
  /** Remembers the batch, and returns those of its sequences that are here. */
  cut(batchId: BatchId, sequences: readonly number[]): readonly number[];
  /** Forgets the batch, not its envelopes. */
  endBatch(batchId: BatchId): readonly number[] | undefined;
  readonly batches: ReadonlyMap<BatchId, readonly number[]>;
  /** The envelopes that are on disk. */
  written(): UnsettledEnvelope[];
  count(): number;
  /** The size of the envelopes in a segment. */
  bytes(): number;
};

export function createUnsettled(): Unsettled {
  const live = new SequenceTable<UnsettledEnvelope>();
  const batches = new Map<BatchId, readonly number[]>();
  const isLive = (sequence: number) => live.has(sequence);
  let bytes = 0;

  return {
    add(sequence, envelope, segment) {
      const entry = { sequence, envelope, bytes: envelopeSize(envelope), segment };
      live.add(sequence, entry);
      bytes += entry.bytes;
      return entry;
    },
    drop(sequences) {
      const dropped: UnsettledEnvelope[] = [];
      for (const sequence of sequences) {
        const entry = remove(sequence);
        if (entry !== undefined) dropped.push(entry);
      }
      return dropped;
    },
    place(entry, segment) {
      entry.segment = segment;
      segment.unsettled += 1;
    },
    release(entries) {
      for (const { segment } of entries) if (segment) segment.unsettled--;
    },
    cut(batchId, asked) {
      const sequences = asked.filter(isLive);
      batches.set(batchId, sequences);
      return sequences;
    },
    endBatch(batchId) {
      const sequences = batches.get(batchId);
      batches.delete(batchId);
      return sequences;
    },
    batches,
    written: () =>
      live
        .values()
        .filter(({ segment }) => segment !== null)
        .toArray(),
    count: () => live.size,
    bytes: () => bytes,
  };

  function remove(sequence: number): UnsettledEnvelope | undefined {
    const entry = live.take(sequence);
    bytes -= entry?.bytes ?? 0;
    return entry;
  }
}
