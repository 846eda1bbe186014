/**
 * The journal makes an acknowledgement survive a crash. It stands beside the channel, not in front of it: the channel
 * owns what is pending, and after a crash the journal can tell what that was.
 *
 * It promises that an envelope whose `written` resolved is returned by every later start until its batch is settled,
 * and, once `cut` resolved, in a batch with the same id and the same bytes.
 *
 * One writer works in rounds: everything waiting shares one write to disk; what arrives in the meantime is
 * the next round. Segments are removed whole and oldest first, each removal on disk before the next: the record that
 * settles an envelope is never older than the envelope.
 *
 * Starting, compacting and recovering from a failed fsync are one operation, `restate`: everything unsettled, which is
 * in memory anyway, is written to one new file whose renaming supersedes all older ones in one step. So no file that a
 * failed sync or a crash has touched is ever written again.
 *
 * This file is its interface. Its state is in `unsettled` and `keys`; `writer` has the rounds and the recovery from
 * disk failures; below it `compaction` decides which files are removed, and `segments` writes them.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Envelope } from '../event/event.ts';
import type { Log } from '../log/log.ts';
import type { BatchId } from '../pipeline/batch.ts';
import { JournalUnavailable, type KeptAnswer } from '../pipeline/ports.ts';
import { createCompaction } from './compaction.ts';
import type { JournalFiles } from './files.ts';
import { createIdempotencyKeys, type KeptKey } from './idempotency-keys.ts';
import { type JournalRecord, rangesOf } from './record.ts';
import { SEGMENT_HEADER_BYTES, sizeOf } from './segment-format.ts';
import { type FoundJournal, recover } from './recover.ts';
import { type Recovered, recoveredFrom, reportDamage } from './recovered.ts';
import { createDiskReserve } from './disk-reserve.ts';
import type { RecordOutcome } from './record-queue.ts';
import { createSegments, EARLIER, type Segment } from './segments.ts';
import { ignore } from './disk-failures.ts';
import { createUnsettled, type UnsettledEnvelope } from './unsettled.ts';
import { createSupersededFiles } from './superseded-files.ts';
import { createWriter, type JournalState } from './writer.ts';

export type JournalLimits = {
  /** Counts every file of the journal, also while it is being restated. Must exceed twice the largest envelope. */
  readonly maxBytes: number;
  /** The size at which a new segment begins. */
  readonly segmentBytes: number;
  readonly maxKeys: number;
  readonly maxKeyBytes: number;
};

export type Appended = {
  readonly sequence: number;
  /**
   * Resolves when the envelope, and its key, survive a power cut. Rejects with `JournalUnavailable`: always handle it.
   */
  readonly written: Promise<void>;
};

export type Journal = {
  /** Whether an envelope of that many bytes would be refused now. */
  isFull(bytes: number): boolean;
  /**
   * Writes the envelope, and in the same record the key whose answer it is. When `written` rejects, the journal has
   * dropped both, unless it crashes before the next success.
   */
  append(envelope: Envelope, key?: KeptAnswer): Appended;
  /**
   * Fixes which sequences form the batch, and in which order. Must resolve before the first insert is sent. When it
   * rejects, the journal still knows the batch and writes it as soon as it can.
   */
  cut(batchId: BatchId, sequences: readonly number[]): Promise<void>;
  /**
   * The batch has another destination. No need to wait: unwritten, it costs a repeated insert that changes nothing.
   * `onForgotten`: nothing reads the batch's rows here any more.
   */
  settle(batchId: BatchId, onForgotten?: () => void): void;
  /** As `settle`, for envelopes of no batch here: that batch is in another place on disk, and has them. */
  leaveTo(batchId: BatchId, sequences: readonly number[], onForgotten: () => void): void;
  /** Keeps a key that belongs to no envelope, or replaces its answer. */
  remember(key: KeptAnswer): Promise<void>;
  usage(): { readonly bytes: number; readonly segments: number; readonly unsettled: number; readonly keys: number };
  state(): JournalState;
  /** Writes what is waiting and releases the lock. What is unsettled stays for the next start. */
  close(): Promise<void>;
};

/** A journal, and apart from it what it found, which may be much: it does not hold that itself once it has settled. */
export type OpenedJournal = { readonly journal: Journal; readonly recovered: Recovered };

/** The size of the batch and settled records for an envelope that is a batch of its own. */
const CONTROL_BYTES = 2 * (16 + 16 + 4 + 16);

/**
 * Takes the lock, reads the existing files, and opens for writing. Throws `JournalLocked`, or when the directory cannot
 * be used at all.
 */
export async function openJournal(
  { dir, files, clock, log }: { dir: string; files: JournalFiles; clock: Clock; log: Log },
  limits: JournalLimits,
): Promise<OpenedJournal> {
  await files.makeDirectory(dir);
  const release = await files.lock(dir);
  const found = await recover({ files, clock }, dir).catch((error: unknown) => {
    release();
    throw error;
  });
  reportDamage(found.damaged, log);

  let nextSequence = found.nextSequence;
  const unsettled = createUnsettled();
  const keys = createIdempotencyKeys({ clock }, limits);
  const reserve = createDiskReserve({ dir, files }, limits);
  const superseded = createSupersededFiles({ dir, files, log }, limits, found.files);
  const firstNumber = Math.max(0, ...found.files.map(({ number }) => number)) + 1;
  const segments = createSegments({ dir, files, superseded }, limits, firstNumber);
  const compaction = createCompaction({ segments, superseded, reserve, unsettled, keys }, limits);
  const writer = createWriter({ segments, compaction, reserve, unsettled, clock, log });

  takeUp(found);
  const recovered = recoveredFrom(found);
  await reserve.giveUp();
  await superseded.clearEarlier();
  await writer.restate();

  /** What becomes of an envelope and its key. A class, because there is one for each envelope. */
  class Appending implements RecordOutcome {
    readonly #entry: UnsettledEnvelope;
    readonly #kept: KeptKey | null;
    readonly #written = Promise.withResolvers<void>();

    constructor(entry: UnsettledEnvelope, kept: KeptKey | null) {
      this.#entry = entry;
      this.#kept = kept;
    }

    get written(): Promise<void> {
      return this.#written.promise;
    }

    onWritten(segment: Segment) {
      unsettled.place(this.#entry, segment);
      if (this.#kept) this.#kept.segment = segment;
      this.#written.resolve();
    }

    onFailed(error: JournalUnavailable) {
      unsettled.drop([this.#entry.sequence]);
      if (this.#kept) keys.forget(this.#kept);
      this.#written.reject(error);
    }
  }

  const usage = () => ({
    bytes: bytesOnDisk(),
    segments: segments.count(),
    unsettled: unsettled.count(),
    keys: keys.count(),
  });
  return { journal: { isFull, append, cut, settle, leaveTo, remember, usage, state: writer.state, close }, recovered };

  function takeUp({ envelopes, batches, keys: keptBefore }: FoundJournal) {
    for (const [sequence, envelope] of envelopes) unsettled.add(sequence, envelope, EARLIER);
    for (const [batchId, sequences] of batches) unsettled.cut(batchId, sequences);
    for (const key of keptBefore.values()) keys.keep(key, EARLIER);
  }

  function isFull(bytes: number) {
    // Twice, because there must be room to restate everything at any moment.
    const needed =
      bytesOnDisk() + writer.queuedBytes() + bytesStillToWrite() + 2 * (bytes + CONTROL_BYTES + SEGMENT_HEADER_BYTES);
    return writer.refusalReason() !== null || needed > limits.maxBytes;
  }

  /**
   * The bytes that the present state may still need: control records, all of it once more in case of a restatement, and
   * room behind the records.
   */
  function bytesStillToWrite() {
    const control = unsettled.count() * 2 * CONTROL_BYTES;
    return unsettled.bytes() + control + keys.bytes() + reserve.size + segments.roomBytes + 4 * SEGMENT_HEADER_BYTES;
  }

  function bytesOnDisk() {
    return segments.bytes() + superseded.bytes() + reserve.bytes();
  }

  function append(envelope: Envelope, key?: KeptAnswer): Appended {
    const sequence = nextSequence++;
    const record: JournalRecord = { type: 'envelope', sequence, envelope, key: key ?? null };
    const bytes = sizeOf(record);
    const refusal = refusalOf(bytes);
    if (refusal) return { sequence, written: Promise.reject(refusal) };
    const entry = unsettled.add(sequence, envelope, null);
    const outcome = new Appending(entry, key ? keys.keep(key, null) : null);
    writer.enqueue(record, bytes, outcome);
    return { sequence, written: outcome.written };
  }

  function remember(key: KeptAnswer): Promise<void> {
    const record: JournalRecord = { type: 'key', key };
    const refusal = refusalOf(sizeOf(record));
    // Kept although it is refused: the next restatement writes it.
    const kept = keys.keep(key, EARLIER);
    if (refusal) return ignorable(Promise.reject(refusal));
    return onceWritten(record, (segment) => {
      kept.segment = segment;
    });
  }

  /** Why a record that is not needed to settle others is not accepted now. */
  function refusalOf(bytes: number): JournalUnavailable | null {
    const reason = writer.refusalReason() ?? (isFull(bytes) ? 'full' : null);
    return reason === null ? null : new JournalUnavailable(reason);
  }

  function cut(batchId: BatchId, asked: readonly number[]): Promise<void> {
    const sequences = unsettled.cut(batchId, asked);
    return onceWritten({ type: 'batch', batchId, ranges: rangesOf(sequences) });
  }

  function onceWritten(record: JournalRecord, onWritten: (segment: Segment) => void = ignore): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    writer.enqueue(record, sizeOf(record), {
      onWritten(segment) {
        onWritten(segment);
        resolve();
      },
      onFailed: reject,
    });
    return ignorable(promise);
  }

  function settle(batchId: BatchId, onForgotten: () => void = ignore) {
    const sequences = unsettled.endBatch(batchId);
    if (sequences) leaveTo(batchId, sequences, onForgotten);
  }

  /** Drops the envelopes now; their segments count them until the record of it is on disk. */
  function leaveTo(batchId: BatchId, sequences: readonly number[], onForgotten: () => void) {
    const dropped = unsettled.drop(sequences);
    // A failure needs no handling: a restatement leaves out what was dropped.
    const record: JournalRecord = { type: 'settled', batchId, ranges: rangesOf(sequences) };
    writer.enqueue(record, sizeOf(record), {
      onWritten() {
        unsettled.release(dropped);
        // A restatement that had begun before is over: there is one writer.
        onForgotten();
      },
      onFailed: ignore,
    });
  }

  async function close() {
    await writer.close();
    await segments.close();
    release();
  }
}

/** A promise whose rejection may be ignored: the caller decides whether it matters. */
function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(ignore);
  return promise;
}
