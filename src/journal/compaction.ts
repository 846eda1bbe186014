/**
 * How the journal's files become fewer without a promise being lost: settled segments are removed, oldest first, and
 * unsettled records are restated in one new file that supersedes all others. Never while anything else is written.
 */
import type { BatchId } from '../pipeline/batch.ts';
import type { KeptKey, IdempotencyKeys } from './idempotency-keys.ts';
import { type JournalRecord, rangesOf } from './record.ts';
import type { DiskReserve } from './disk-reserve.ts';
import type { Segment, Segments } from './segments.ts';
import { isDiskFull } from './disk-failures.ts';
import type { UnsettledEnvelope, Unsettled } from './unsettled.ts';
import type { SupersededFiles } from './superseded-files.ts';

export type Compaction = {
  /** Throws as `Segments.write` does. */
  removeSettled(): Promise<void>;
  /** Whether something old is still unsettled and holds back everything behind it. */
  isDue(): boolean;
  /**
   * Writes everything unsettled to one new file; once that is on disk under its name, older files no longer count.
   * Returns why it failed; then nothing has changed.
   */
  restate(): Promise<unknown>;
  /**
   * On a full disk, frees all that can be freed: without writing a byte if no written record is needed any more. Queued
   * records take no room yet. Returns why it failed. Throws as `Segments.write` does.
   */
  giveBack(): Promise<unknown>;
};

export function createCompaction(
  deps: {
    segments: Segments;
    superseded: SupersededFiles;
    reserve: DiskReserve;
    unsettled: Unsettled;
    keys: IdempotencyKeys;
  },
  { maxBytes }: { maxBytes: number },
): Compaction {
  const { segments, superseded, reserve, unsettled, keys } = deps;
  return { removeSettled, isDue, restate, giveBack };

  async function removeSettled() {
    for (let oldest = segments.settled(); oldest && (await superseded.clear()); oldest = segments.settled()) {
      await carryKeys(oldest);
      await segments.removeOldest();
    }
  }

  /** Keys outlive the segment they are in. */
  async function carryKeys(from: Segment) {
    const carried = keys.heldBy(from);
    if (carried.length === 0) return;
    const segment = await segments.write(carried.map(keyRecord));
    for (const kept of carried) kept.segment = segment;
  }

  function isDue() {
    const written = segments.bytes();
    return written * 2 > maxBytes && (unsettled.bytes() + keys.bytes()) * 4 < written;
  }

  async function restate(): Promise<unknown> {
    // Queued records are left out: they are not acknowledged, and may still be refused.
    const entries = unsettled.written();
    const kept = keys.written();
    const records = [
      ...entries.map(envelopeRecord),
      ...[...unsettled.batches].map(batchRecord),
      ...kept.map(keyRecord),
    ];
    let base: Awaited<ReturnType<Segments['writeBase']>>;
    try {
      base = await segments.writeBase(records);
    } catch (error) {
      if (isDiskFull(error)) await reserve.giveUp();
      return error;
    }
    await segments.continueIn(base);
    // Records that were settled during the write are still in the file, and are queued or written again.
    for (const entry of entries) unsettled.place(entry, base.segment);
    for (const key of kept) key.segment = base.segment;
    await superseded.clear();
    await reserve.refill();
    return null;
  }

  async function giveBack(): Promise<unknown> {
    const needed = [...unsettled.written(), ...keys.written()];
    if (needed.length === 0) {
      while (segments.count() > 0 && (await superseded.clear())) await segments.removeOldest();
      return null;
    }
    await removeSettled();
    const isWorthIt = needed.reduce((sum, { bytes }) => sum + bytes, 0) < segments.bytes() / 2;
    if (!isWorthIt) return null;
    // The new file is written into the room of the reserve, which is filled again afterwards.
    await reserve.giveUp();
    return restate();
  }
}

function envelopeRecord({ sequence, envelope }: UnsettledEnvelope): JournalRecord {
  return { type: 'envelope', sequence, envelope, key: null };
}

function batchRecord([batchId, sequences]: readonly [BatchId, readonly number[]]): JournalRecord {
  return { type: 'batch', batchId, ranges: rangesOf(sequences) };
}

function keyRecord({ key }: KeptKey): JournalRecord {
  return { type: 'key', key };
}
