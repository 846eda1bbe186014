/**
 * The bytes of a journal segment: a file header, then records one after the other. Pure; knows no file. `record.ts`
 * encodes the payload of a record.
 *
 * A record is a header of 16 bytes (marker, payload length, checksum, type, version, two reserved zero bytes) and its
 * payload; all numbers are little-endian. The checksum covers length, type, version and payload, and also segment
 * number and offset: a record counts only at the very place it was written to, so that neither the leftovers of a
 * failed write nor bytes from a client can pass for one. Behind unreadable bytes, reading continues at the next marker
 * with a valid record; the marker holds control characters, which NDJSON cannot.
 *
 * The checksum is CRC-32, which zlib computes in native code. CRC-32C was considered, but Node has no native
 * implementation, and both find the same errors: a burst of up to 32 bits always, any other with a probability of all
 * but 2^-32.
 */
import { crc32 } from 'node:zlib';
import type { Envelope } from '../event/event.ts';
import {
  type JournalRecord,
  decodePayload,
  encodePayload,
  envelopePayloadSize,
  payloadSize,
  RECORD_TYPES,
} from './record.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 24;
export const RECORD_HEADER_BYTES = 16;

const MAGIC = Buffer.from('weirjrnl', 'latin1');
export const MARKER = Buffer.from([0x1e, 0x57, 0x52, 0x00]);
export const ENVELOPE_TYPE = RECORD_TYPES.indexOf('envelope') + 1;

/** The position of a record in the journal. */
export type RecordPosition = { readonly segment: number; readonly offset: number };

/** The file header: magic, format version, checksum, segment number. */
export function segmentHeader(segment: number): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(FORMAT_VERSION, 8);
  header.writeBigUInt64LE(BigInt(segment), 16);
  header.writeUInt32LE(headerSum(header), 12);
  return header;
}

/** The size of the record in a segment. */
export function sizeOf(record: JournalRecord): number {
  return RECORD_HEADER_BYTES + payloadSize(record);
}

/** The size in a segment of the envelope's record, without a key. */
export function envelopeSize(envelope: Envelope): number {
  return RECORD_HEADER_BYTES + envelopePayloadSize(envelope);
}

/** The size of all of them in a segment. */
export function totalSize(records: readonly JournalRecord[]): number {
  let bytes = 0;
  for (const record of records) bytes += sizeOf(record);
  return bytes;
}

/** Writes the record to `target` at `at`; `position` is where that will be in the journal. Returns its size. */
export function encodeRecord(record: JournalRecord, target: Buffer, at: number, position: RecordPosition): number {
  const length = payloadSize(record);
  const payload = target.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length);
  encodePayload(record, payload);
  MARKER.copy(target, at);
  target.writeUInt32LE(length, at + 4);
  target.writeUInt8(RECORD_TYPES.indexOf(record.type) + 1, at + 12);
  target.writeUInt8(FORMAT_VERSION, at + 13);
  target.writeUInt16LE(0, at + 14);
  target.writeUInt32LE(recordSum(target, at, payload, position), at + 8);
  return RECORD_HEADER_BYTES + length;
}

/** Bytes that hold no readable record. At the end of the last segment they are what a crash tore. */
export type UnreadableBytes = { readonly offset: number; readonly bytes: number };

/**
 * Every readable record in order, and every stretch of bytes between. Records are views of `content`: copy what you
 * keep. Never throws.
 */
export function readSegment(
  content: Buffer,
  segment: number,
): { records: JournalRecord[]; unreadable: UnreadableBytes[] } {
  const records: JournalRecord[] = [];
  const unreadable: UnreadableBytes[] = [];
  const hasHeader = isSegmentHeader(content, segment);
  let at = hasHeader ? SEGMENT_HEADER_BYTES : 0;
  let badFrom: number | null = null;
  while (at < content.length) {
    const read = readRecord(content, { segment, offset: at });
    if (read === null) {
      badFrom ??= at;
      const next = content.indexOf(MARKER, at + 1);
      at = next === -1 ? content.length : next;
      continue;
    }
    if (badFrom !== null) unreadable.push({ offset: badFrom, bytes: at - badFrom });
    badFrom = null;
    records.push(read.record);
    at += read.size;
  }
  if (badFrom !== null) unreadable.push({ offset: badFrom, bytes: at - badFrom });
  return { records, unreadable };
}

/**
 * The record at `position`, and its size; null when there is none, or one of a type or version unknown to this Weir.
 */
function readRecord(content: Buffer, position: RecordPosition): { record: JournalRecord; size: number } | null {
  const { offset } = position;
  if (offset + RECORD_HEADER_BYTES > content.length) return null;
  if (!content.subarray(offset, offset + MARKER.length).equals(MARKER)) return null;
  const size = RECORD_HEADER_BYTES + content.readUInt32LE(offset + 4);
  if (offset + size > content.length) return null;
  const payload = content.subarray(offset + RECORD_HEADER_BYTES, offset + size);
  if (content.readUInt32LE(offset + 8) !== recordSum(content, offset, payload, position)) return null;
  const type = RECORD_TYPES[content.readUInt8(offset + 12) - 1];
  if (type === undefined || content.readUInt8(offset + 13) !== FORMAT_VERSION) return null;
  return { record: decodePayload(type, payload), size };
}

function isSegmentHeader(content: Buffer, segment: number): boolean {
  if (content.length < SEGMENT_HEADER_BYTES) return false;
  const header = content.subarray(0, SEGMENT_HEADER_BYTES);
  return (
    header.subarray(0, MAGIC.length).equals(MAGIC) &&
    header.readUInt32LE(12) === headerSum(header) &&
    Number(header.readBigUInt64LE(16)) === segment
  );
}

function headerSum(header: Buffer): number {
  return crc32(header.subarray(16), crc32(header.subarray(8, 12)));
}

const covered = Buffer.alloc(24);

/** Of the record whose header is at `at`. */
function recordSum(bytes: Buffer, at: number, payload: Buffer, { segment, offset }: RecordPosition): number {
  covered.writeDoubleLE(segment, 0);
  covered.writeDoubleLE(offset, 8);
  covered.writeUInt32LE(bytes.readUInt32LE(at + 4), 16);
  covered.writeUInt32LE(bytes.readUInt32LE(at + 12), 20);
  return crc32(payload, crc32(covered));
}
