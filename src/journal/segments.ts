/**
 * The files that hold the journal's records now: a base, and the logs that
 * continue it, oldest first; the last one is being written. What is written here
 * is on disk when the promise resolves. After a failure that leaves a file's end
 * in doubt, no record is ever written behind it.
 *
 * One call at a time: there is one writer.
 */
import { join } from 'node:path';
import { failureOf } from '../pipeline/outcome.ts';
import type { JournalFiles, WritableFile } from './files.ts';
import { encodeRecord, type JournalRecord, SEGMENT_HEADER_BYTES, segmentHeader, sizeOf, totalSize } from './record.ts';
import { fileName } from './recover.ts';
import { Abandoned, codeOf, ignore, isDiskFull } from './trouble.ts';
import { bytesIn, type Voided } from './voided.ts';

export type Segment = {
  readonly number: number;
  readonly path: string;
  bytes: number;
  /** Kept by `unsettled.ts`. */
  unsettled: number;
};

/** A segment and what writes to it. */
type Open = { readonly segment: Segment; readonly file: WritableFile };

export type Segments = {
  /**
   * Writes and syncs the records, in the current segment or a new one. A full disk
   * leaves the segment as it was; after any other failure, `Abandoned`, it is not
   * to be written any more.
   */
  write(records: readonly JournalRecord[]): Promise<Segment>;
  /** Writes the records to a file that, under its name, makes all older ones void. When it throws, nothing has changed. */
  writeBase(records: readonly JournalRecord[]): Promise<Open>;
  /** The base is the only segment from now on. */
  continueIn(base: Open): Promise<void>;
  /** The oldest segment, when nothing in it is unsettled and it is not the one being written. */
  settled(): Segment | null;
  removeOldest(): Promise<void>;
  count(): number;
  bytes(): number;
  close(): Promise<void>;
};

/** Where what an earlier process wrote is, until it is restated. */
export const EARLIER: Segment = { number: 0, path: '', bytes: 0, unsettled: 0 };

/** The most bytes of one write: at 100 MB/s it delays the next by 40 ms. */
export const MAX_WRITE_BYTES = 4 * 1024 * 1024;

/** `firstNumber` is higher than that of any file that is there. */
export function createSegments(
  { dir, files, voided }: { dir: string; files: JournalFiles; voided: Voided },
  { segmentBytes }: { segmentBytes: number },
  firstNumber: number,
): Segments {
  let nextNumber = firstNumber;
  let current: Open | null = null;
  let segments: Segment[] = [];
  /** Bases that were not finished, or may not be under their name, and are still there. */
  const failedTries: Segment[] = [];
  /** What records are encoded into for one write after the other: new memory for each would be most of the garbage. */
  let scratch = Buffer.alloc(0);

  return {
    write,
    writeBase,
    continueIn,
    settled: () => (segments.length > 1 && segments[0]!.unsettled === 0 ? segments[0]! : null),
    removeOldest,
    count: () => segments.length,
    bytes: () => bytesIn(segments) + bytesIn(failedTries),
    close,
  };

  async function write(records: readonly JournalRecord[]) {
    const { segment, file } = await segmentFor(totalSize(records));
    const bytes = encodeAll(records, segment.number, segment.bytes);
    try {
      await file.write(bytes, segment.bytes);
    } catch (error) {
      if (!isDiskFull(error)) throw new Abandoned(error);
      // What was written of it must not stand in front of what comes later.
      await file.truncate(segment.bytes).catch(abandon);
      throw error;
    }
    await file.sync().catch(abandon);
    segment.bytes += bytes.length;
    return segment;
  }

  async function segmentFor(bytes: number): Promise<Open> {
    if (current && current.segment.bytes + bytes <= segmentBytes) return current;
    if (current && current.segment.bytes === SEGMENT_HEADER_BYTES) return current;
    const number = nextNumber++;
    const path = join(dir, fileName(number, 'log'));
    const file = await files.create(path).catch((error: unknown) => {
      throw isDiskFull(error) ? error : new Abandoned(error);
    });
    const segment: Segment = { number, path, bytes: SEGMENT_HEADER_BYTES, unsettled: 0 };
    try {
      await file.write(segmentHeader(number), 0);
      await files.syncDirectory(dir);
    } catch (error) {
      await file.close().catch(ignore);
      await files.remove(path).catch(ignore);
      throw isDiskFull(error) ? error : new Abandoned(error);
    }
    // All of it was synced when it was written.
    await current?.file.close().catch(ignore);
    current = { segment, file };
    segments.push(segment);
    return current;
  }

  async function writeBase(records: readonly JournalRecord[]) {
    const number = nextNumber++;
    const draft = join(dir, fileName(number, 'draft'));
    const path = join(dir, fileName(number, 'base'));
    const segment: Segment = { number, path, bytes: 0, unsettled: 0 };
    let file: WritableFile | null = null;
    let isRenamed = false;
    await removeFailedTries();
    try {
      file = await files.create(draft);
      await file.write(segmentHeader(number), 0);
      segment.bytes = SEGMENT_HEADER_BYTES;
      for (const chunk of chunked(records)) {
        await file.write(encodeAll(chunk, number, segment.bytes), segment.bytes);
        segment.bytes += totalSize(chunk);
      }
      await file.sync();
      await files.rename(draft, path);
      isRenamed = true;
      await files.syncDirectory(dir);
      voided.add(failedTries.splice(0));
      return { segment, file };
    } catch (error) {
      await file?.close().catch(ignore);
      failedTries.push({ ...segment, path: isRenamed ? path : draft });
      await removeFailedTries();
      throw error;
    }
  }

  /** Complete or not, they hold nothing that is not elsewhere; without this every retry would leave one more. */
  async function removeFailedTries() {
    for (const tried of failedTries.splice(0)) {
      const error = await failureOf(files.remove(tried.path));
      if (error !== null && codeOf(error) !== 'ENOENT') failedTries.push(tried);
    }
  }

  async function continueIn(base: Open) {
    await close();
    voided.add(segments);
    current = base;
    segments = [base.segment];
  }

  async function removeOldest() {
    await files.remove(segments[0]!.path);
    // On disk before the next one goes: a settled record must not vanish before what it settles.
    await files.syncDirectory(dir);
    segments.shift();
  }

  async function close() {
    await current?.file.close().catch(ignore);
  }

  /** Good until the next call. */
  function encodeAll(records: readonly JournalRecord[], segment: number, offset: number): Buffer {
    const size = totalSize(records);
    if (size > scratch.length) scratch = Buffer.allocUnsafeSlow(Math.max(size, 2 * scratch.length));
    const bytes = scratch.subarray(0, size);
    // Larger than any round: an envelope of its own, which is rare, and not to be kept.
    if (size > MAX_WRITE_BYTES) scratch = Buffer.alloc(0);
    let at = 0;
    for (const record of records) at += encodeRecord(record, bytes, at, { segment, offset: offset + at });
    return bytes;
  }
}

function abandon(error: unknown): never {
  throw new Abandoned(error);
}

/** Records in pieces of about one write. */
function* chunked(records: readonly JournalRecord[]): Generator<JournalRecord[]> {
  let chunk: JournalRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    chunk.push(record);
    bytes += sizeOf(record);
    if (bytes < MAX_WRITE_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
  if (chunk.length > 0) yield chunk;
}
