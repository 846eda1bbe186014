/**
 * The files that hold the journal's current records: a base, and the logs that continue it, oldest first; the last one
 * is being written. Records are on disk when the promise of their write resolves. After a failure that leaves the end
 * of a file uncertain, no record is ever written behind it.
 *
 * One call at a time: there is one writer.
 */
import { join } from 'node:path';
import { failureOf } from '../pipeline/outcome.ts';
import type { JournalFiles, WritableFile } from './files.ts';
import type { JournalRecord } from './record.ts';
import { encodeRecord, SEGMENT_HEADER_BYTES, segmentHeader, sizeOf, totalSize } from './segment-format.ts';
import { fileName } from './recover.ts';
import { SegmentAbandoned, codeOf, ignore, isDiskFull } from './disk-failures.ts';
import { bytesIn, type SupersededFiles } from './superseded-files.ts';

export type Segment = {
  readonly number: number;
  readonly path: string;
  bytes: number;
  /** Kept by `unsettled.ts`. */
  unsettled: number;
};

/** A segment and the file it is written through. `fileBytes`: the size of that, room behind the records included. */
type OpenSegment = { readonly segment: Segment; readonly file: WritableFile; fileBytes: number };

export type Segments = {
  /**
   * Writes the records to disk, in the current segment or a new one. A full disk leaves the segment as it was; after
   * any other failure, `SegmentAbandoned`, it must not be written any more.
   */
  write(records: readonly JournalRecord[]): Promise<Segment>;
  /** Writes the records to a file whose name supersedes all older ones. When it throws, nothing has changed. */
  writeBase(records: readonly JournalRecord[]): Promise<OpenSegment>;
  /** Makes the base the only segment. */
  continueIn(base: OpenSegment): Promise<void>;
  /** The oldest segment, when nothing in it is unsettled and it is not the one being written. */
  settled(): Segment | null;
  /** Removes all, including the one being written; the next write begins another. */
  removeOldest(): Promise<void>;
  count(): number;
  bytes(): number;
  /** How much larger than its records the one being written may be. */
  readonly roomBytes: number;
  close(): Promise<void>;
};

/** Stands for the files of an earlier process, until they are restated. */
export const EARLIER: Segment = { number: 0, path: '', bytes: 0, unsettled: 0 };

/** The most bytes of one write: at 100 MB/s it delays the next by 40 ms. */
export const MAX_WRITE_BYTES = 4 * 1024 * 1024;

/**
 * A write that makes a file larger waits for its size and its blocks to be on disk too. So a small one that does so takes
 * zeros with it, which the next ones replace (decision 71).
 */
const ROOM_BYTES = 256 * 1024;
/** For larger ones, the bytes themselves are most of what it costs. */
const MAX_WRITE_WITH_ROOM_BYTES = 32 * 1024;

/** `firstNumber` is higher than that of any existing file. */
export function createSegments(
  { dir, files, superseded }: { dir: string; files: JournalFiles; superseded: SupersededFiles },
  { segmentBytes }: { segmentBytes: number },
  firstNumber: number,
): Segments {
  let nextNumber = firstNumber;
  let current: OpenSegment | null = null;
  let segments: Segment[] = [];
  /** Bases that were not finished, or may lack their final name, and still exist. */
  const unfinishedBases: Segment[] = [];
  /**
   * A buffer that is reused to encode one write after the other: allocating one for each would be most of the garbage.
   */
  let scratch = Buffer.alloc(0);
  const roomBytes = Math.min(ROOM_BYTES, Math.floor(segmentBytes / 4));

  return {
    write: (records) => write(records),
    writeBase,
    continueIn,
    settled: () => (segments.length > 1 && segments[0]!.unsettled === 0 ? segments[0]! : null),
    removeOldest,
    count: () => segments.length,
    bytes: () => bytesIn(segments) + (current ? roomIn(current) : 0) + bytesIn(unfinishedBases),
    roomBytes,
    close,
  };

  async function write(records: readonly JournalRecord[], mayTakeRoom = true): Promise<Segment> {
    const size = totalSize(records);
    const open = await segmentFor(size);
    const room = mayTakeRoom ? roomFor(open, size) : 0;
    try {
      await writeTo(open, records, { size, room });
    } catch (error) {
      if (!isDiskFull(error)) throw new SegmentAbandoned(error);
      // A partial record must not stand in front of later ones.
      await endAtRecords(open);
      if (room === 0) throw error;
      // For want of room that no record needs, none is refused.
      return write(records, false);
    }
    return open.segment;
  }

  async function segmentFor(bytes: number): Promise<OpenSegment> {
    if (current && current.segment.bytes + bytes <= segmentBytes) return current;
    if (current && current.segment.bytes === SEGMENT_HEADER_BYTES) return current;
    // Only the last file may have room behind its records: elsewhere, zeros are damage.
    if (current && roomIn(current) > 0) await endAtRecords(current);
    const number = nextNumber++;
    const path = join(dir, fileName(number, 'log'));
    const file = await files.create(path).catch((error: unknown) => {
      throw isDiskFull(error) ? error : new SegmentAbandoned(error);
    });
    const segment: Segment = { number, path, bytes: SEGMENT_HEADER_BYTES, unsettled: 0 };
    try {
      await file.write(segmentHeader(number), 0);
      await files.syncDirectory(dir);
    } catch (error) {
      await file.close().catch(ignore);
      await files.remove(path).catch(ignore);
      throw isDiskFull(error) ? error : new SegmentAbandoned(error);
    }
    // Everything in it was synced when it was written.
    await current?.file.close().catch(ignore);
    current = { segment, file, fileBytes: segment.bytes };
    segments.push(segment);
    return current;
  }

  /** How many zeros a write of so many bytes takes with it. */
  function roomFor({ segment, fileBytes }: OpenSegment, bytes: number): number {
    const end = segment.bytes + bytes;
    if (end <= fileBytes || bytes > MAX_WRITE_WITH_ROOM_BYTES) return 0;
    return Math.max(0, Math.min(roomBytes, segmentBytes - end));
  }

  /** `size`: of the records; `room`: the zeros behind them. */
  async function writeTo(
    open: OpenSegment,
    records: readonly JournalRecord[],
    { size, room }: { size: number; room: number },
  ): Promise<void> {
    const { segment, file } = open;
    await file.write(encodeAll(records, segment, size + room), segment.bytes);
    open.fileBytes = Math.max(open.fileBytes, segment.bytes + size + room);
    segment.bytes += size;
  }

  async function endAtRecords(open: OpenSegment): Promise<void> {
    await open.file.truncate(open.segment.bytes).catch(abandon);
    open.fileBytes = open.segment.bytes;
  }

  async function writeBase(records: readonly JournalRecord[]) {
    const number = nextNumber++;
    const draft = join(dir, fileName(number, 'draft'));
    const path = join(dir, fileName(number, 'base'));
    const segment: Segment = { number, path, bytes: 0, unsettled: 0 };
    let file: WritableFile | null = null;
    let isRenamed = false;
    await removeUnfinishedBases();
    try {
      file = await files.create(draft);
      await file.write(segmentHeader(number), 0);
      segment.bytes = SEGMENT_HEADER_BYTES;
      for (const chunk of chunked(records)) {
        const size = totalSize(chunk);
        await file.write(encodeAll(chunk, segment, size), segment.bytes);
        segment.bytes += size;
      }
      await files.rename(draft, path);
      isRenamed = true;
      await files.syncDirectory(dir);
      superseded.add(unfinishedBases.splice(0));
      return { segment, file, fileBytes: segment.bytes };
    } catch (error) {
      await file?.close().catch(ignore);
      unfinishedBases.push({ ...segment, path: isRenamed ? path : draft });
      await removeUnfinishedBases();
      throw error;
    }
  }

  /** Complete or not, they hold nothing that is not elsewhere; without this every retry would leave one more. */
  async function removeUnfinishedBases() {
    for (const tried of unfinishedBases.splice(0)) {
      const error = await failureOf(files.remove(tried.path));
      if (error !== null && codeOf(error) !== 'ENOENT') unfinishedBases.push(tried);
    }
  }

  async function continueIn(base: OpenSegment) {
    await close();
    if (current) current.segment.bytes = current.fileBytes;
    superseded.add(segments);
    current = base;
    segments = [base.segment];
  }

  async function removeOldest() {
    if (segments.length === 1) {
      await close();
      current = null;
    }
    // One that is gone already was removed by a call whose answer was an error, as one of the directory's sync.
    const error = await failureOf(files.remove(segments[0]!.path));
    if (error !== null && codeOf(error) !== 'ENOENT') throw error;
    // Each removal is on disk before the next: a settled record must not vanish before what it settles.
    await files.syncDirectory(dir);
    segments.shift();
  }

  async function close() {
    await current?.file.close().catch(ignore);
  }

  /** The records as they stand at the end of the segment, and zeros up to that size. Valid until the next call. */
  function encodeAll(records: readonly JournalRecord[], { number, bytes: offset }: Segment, size: number): Buffer {
    if (size > scratch.length) scratch = Buffer.allocUnsafeSlow(Math.max(size, 2 * scratch.length));
    const bytes = scratch.subarray(0, size);
    // Larger than any round: a rare large envelope, whose buffer is not kept.
    if (size > MAX_WRITE_BYTES) scratch = Buffer.alloc(0);
    let at = 0;
    for (const record of records) at += encodeRecord(record, bytes, at, { segment: number, offset: offset + at });
    return bytes.fill(0, at);
  }
}

const roomIn = ({ segment, fileBytes }: OpenSegment): number => fileBytes - segment.bytes;

function abandon(error: unknown): never {
  throw new SegmentAbandoned(error);
}

/** Records in groups of about one write. */
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
