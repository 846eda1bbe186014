/**
 * How the journal's files become fewer without a promise being lost: settled
 * segments go, oldest first, and what is unsettled is restated in one new file
 * that voids all others. Never while something else is written.
 */
import type { BatchId } from '../pipeline/batch.ts';
import type { KeptKey, Keys } from './keys.ts';
import { type JournalRecord, rangesOf } from './record.ts';
import type { Reserve } from './reserve.ts';
import type { Segment, Segments } from './segments.ts';
import { isDiskFull } from './trouble.ts';
import type { Live, Unsettled } from './unsettled.ts';
import type { Voided } from './voided.ts';

export type Compaction = {
  /** Throws as `Segments.write` does. */
  removeSettled(): Promise<void>;
  /** Whether something old is still unsettled and holds back everything behind it. */
  isDue(): boolean;
  /**
   * Writes everything unsettled to one new file; when it is on disk under its
   * name, whatever is older counts no more. Returns why it could not; then
   * nothing has changed.
   */
  restate(): Promise<unknown>;
};

export function createCompaction(
  deps: { segments: Segments; voided: Voided; reserve: Reserve; unsettled: Unsettled; keys: Keys },
  { maxBytes }: { maxBytes: number },
): Compaction {
  const { segments, voided, reserve, unsettled, keys } = deps;
  return { removeSettled, isDue, restate };

  async function removeSettled() {
    for (let oldest = segments.settled(); oldest && (await voided.clear()); oldest = segments.settled()) {
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
    // What waits in line is left out: it is not acknowledged, and may yet be refused.
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
    // What was settled while the file was written is still in it, and waits in line or is written again.
    for (const entry of entries) unsettled.place(entry, base.segment);
    for (const key of kept) key.segment = base.segment;
    await voided.clear();
    await reserve.refill();
    return null;
  }
}

function envelopeRecord({ sequence, envelope }: Live): JournalRecord {
  return { type: 'envelope', sequence, envelope, key: null };
}

function batchRecord([batchId, sequences]: readonly [BatchId, readonly number[]]): JournalRecord {
  return { type: 'batch', batchId, ranges: rangesOf(sequences) };
}

function keyRecord({ key }: KeptKey): JournalRecord {
  return { type: 'key', key };
}
