/**
 * The bytes of a journal segment: a file header, then records one after the
 * other. Pure; knows no file.
 *
 * A record is a header of 16 bytes (marker, payload length, checksum, type,
 * version, two reserved zero bytes) and its payload; all numbers little-endian.
 * The checksum covers length, type, version and payload, and also segment number
 * and offset: a record counts only at the very place it was written to, so that
 * neither the leftovers of a failed write nor bytes a client made up can pass for
 * one. Behind unreadable bytes, reading goes on at the next marker with a good
 * record; the marker holds control characters, which NDJSON cannot.
 *
 * The checksum is CRC-32, the one zlib computes in native code. CRC-32C was the
 * first idea, but Node has none that is native, and both find the same errors: a
 * burst of up to 32 bits always, anything else but for one in 2^32.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import type { Envelope, ProjectId } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';

/** Sequences from `first` to `last`, both included. */
export type SequenceRange = { readonly first: number; readonly last: number };

export type JournalRecord =
  /** The key is part of the record: one without the other would lose or double events when the client tries again. */
  | {
      readonly type: 'envelope';
      readonly sequence: number;
      readonly envelope: Envelope;
      readonly key: KeptAnswer | null;
    }
  /** Ranges in the order of the batch's rows; nearly always one. */
  | { readonly type: 'batch'; readonly batchId: BatchId; readonly ranges: readonly SequenceRange[] }
  /** Names the sequences again, so that it still settles them when the batch's own record has become unreadable. */
  | { readonly type: 'settled'; readonly batchId: BatchId; readonly ranges: readonly SequenceRange[] }
  /** An envelope that will be in no batch. */
  | { readonly type: 'withdrawn'; readonly sequence: number }
  | { readonly type: 'key'; readonly key: KeptAnswer };

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER_BYTES = 24;
export const RECORD_HEADER_BYTES = 16;

const MAGIC = Buffer.from('weirjrnl', 'latin1');
const MARKER = Buffer.from([0x1e, 0x57, 0x52, 0x00]);
const TYPES = ['envelope', 'batch', 'settled', 'key', 'withdrawn'] as const;
/** Sequence, project, event count, length of the key. */
const ENVELOPE_FIXED_BYTES = 8 + 16 + 4 + 4;
const BATCH_FIXED_BYTES = 16 + 4;
/** Project, instant, lengths of key, hash and answer. */
const KEY_FIXED_BYTES = 16 + 8 + 4 + 4 + 4;
const RANGE_BYTES = 16;

/** Where in the journal a record is. */
export type Place = { readonly segment: number; readonly offset: number };

/** The file header: magic, format version, checksum, segment number. */
export function segmentHeader(segment: number): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32LE(FORMAT_VERSION, 8);
  header.writeBigUInt64LE(BigInt(segment), 16);
  header.writeUInt32LE(headerSum(header), 12);
  return header;
}

/** How many bytes the record takes in a segment. */
export function sizeOf(record: JournalRecord): number {
  return RECORD_HEADER_BYTES + payloadSize(record);
}

export const totalSize = (records: readonly JournalRecord[]) =>
  records.reduce((sum, record) => sum + sizeOf(record), 0);

/** Writes the record to `target` at `at`; `place` is where that will be in the journal. Returns its size. */
export function encodeRecord(record: JournalRecord, target: Buffer, at: number, place: Place): number {
  const length = payloadSize(record);
  const payload = target.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length);
  encodePayload(record, payload);
  MARKER.copy(target, at);
  target.writeUInt32LE(length, at + 4);
  target.writeUInt8(TYPES.indexOf(record.type) + 1, at + 12);
  target.writeUInt8(FORMAT_VERSION, at + 13);
  target.writeUInt16LE(0, at + 14);
  target.writeUInt32LE(recordSum(target, at, payload, place), at + 8);
  return RECORD_HEADER_BYTES + length;
}

/** Bytes that hold no readable record. At the end of the last segment they are what a crash tore. */
export type Unreadable = { readonly offset: number; readonly bytes: number };

/**
 * Every readable record in order, and every stretch of bytes that is not one.
 * Records are views of `content`: copy what is kept. Never throws.
 */
export function readSegment(content: Buffer, segment: number): { records: JournalRecord[]; unreadable: Unreadable[] } {
  const records: JournalRecord[] = [];
  const unreadable: Unreadable[] = [];
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

/** Sequences as ranges, in the order given. */
export function rangesOf(sequences: readonly number[]): SequenceRange[] {
  const ranges: { first: number; last: number }[] = [];
  for (const sequence of sequences) {
    const range = ranges.at(-1);
    if (range && range.last + 1 === sequence) range.last = sequence;
    else ranges.push({ first: sequence, last: sequence });
  }
  return ranges;
}

function payloadSize(record: JournalRecord): number {
  switch (record.type) {
    case 'envelope':
      return ENVELOPE_FIXED_BYTES + (record.key === null ? 0 : keySize(record.key)) + record.envelope.rows.length;
    case 'batch':
    case 'settled':
      return BATCH_FIXED_BYTES + record.ranges.length * RANGE_BYTES;
    case 'withdrawn':
      return 8;
    case 'key':
      return keySize(record.key);
  }
}

function keySize({ key, bodyHash, answer }: KeptAnswer): number {
  return KEY_FIXED_BYTES + Buffer.byteLength(key) + Buffer.byteLength(bodyHash) + Buffer.byteLength(answer);
}

function encodePayload(record: JournalRecord, target: Buffer): void {
  switch (record.type) {
    case 'envelope': {
      const { sequence, envelope, key } = record;
      const keyBytes = key === null ? 0 : keySize(key);
      writeNumber(target, sequence, 0);
      writeId(target, envelope.projectId, 8);
      target.writeUInt32LE(envelope.eventCount, 24);
      target.writeUInt32LE(keyBytes, 28);
      if (key !== null) encodeKey(key, target.subarray(ENVELOPE_FIXED_BYTES));
      envelope.rows.copy(target, ENVELOPE_FIXED_BYTES + keyBytes);
      return;
    }
    case 'batch':
    case 'settled':
      writeId(target, record.batchId, 0);
      target.writeUInt32LE(record.ranges.length, 16);
      for (const [index, { first, last }] of record.ranges.entries()) {
        writeNumber(target, first, BATCH_FIXED_BYTES + index * RANGE_BYTES);
        writeNumber(target, last, BATCH_FIXED_BYTES + index * RANGE_BYTES + 8);
      }
      return;
    case 'withdrawn':
      writeNumber(target, record.sequence, 0);
      return;
    case 'key':
      encodeKey(record.key, target);
  }
}

function encodeKey({ projectId, at, key, bodyHash, answer }: KeptAnswer, target: Buffer): void {
  writeId(target, projectId, 0);
  writeNumber(target, at, 16);
  let end = KEY_FIXED_BYTES;
  for (const [index, text] of [key, bodyHash, answer].entries()) {
    const length = target.write(text, end);
    target.writeUInt32LE(length, 24 + index * 4);
    end += length;
  }
}

/** The record at `place`, and its size; null when there is none, or a type or version this Weir does not know. */
function readRecord(content: Buffer, place: Place): { record: JournalRecord; size: number } | null {
  const { offset } = place;
  if (offset + RECORD_HEADER_BYTES > content.length) return null;
  if (!content.subarray(offset, offset + MARKER.length).equals(MARKER)) return null;
  const size = RECORD_HEADER_BYTES + content.readUInt32LE(offset + 4);
  if (offset + size > content.length) return null;
  const payload = content.subarray(offset + RECORD_HEADER_BYTES, offset + size);
  if (content.readUInt32LE(offset + 8) !== recordSum(content, offset, payload, place)) return null;
  const type = TYPES[content.readUInt8(offset + 12) - 1];
  if (type === undefined || content.readUInt8(offset + 13) !== FORMAT_VERSION) return null;
  return { record: decodePayload(type, payload), size };
}

/** Needs no checks of its own: the checksum says that these are the bytes that were encoded. */
function decodePayload(type: (typeof TYPES)[number], payload: Buffer): JournalRecord {
  switch (type) {
    case 'envelope': {
      const rowsAt = ENVELOPE_FIXED_BYTES + payload.readUInt32LE(28);
      const envelope: Envelope = {
        projectId: readId(payload, 8) as ProjectId,
        eventCount: payload.readUInt32LE(24),
        rows: payload.subarray(rowsAt),
      };
      const key = rowsAt === ENVELOPE_FIXED_BYTES ? null : decodeKey(payload.subarray(ENVELOPE_FIXED_BYTES, rowsAt));
      return { type, sequence: readNumber(payload, 0), envelope, key };
    }
    case 'batch':
    case 'settled': {
      const ranges = Array.from({ length: payload.readUInt32LE(16) }, (_, index) => ({
        first: readNumber(payload, BATCH_FIXED_BYTES + index * RANGE_BYTES),
        last: readNumber(payload, BATCH_FIXED_BYTES + index * RANGE_BYTES + 8),
      }));
      return { type, batchId: readId(payload, 0) as BatchId, ranges };
    }
    case 'withdrawn':
      return { type, sequence: readNumber(payload, 0) };
    case 'key':
      return { type, key: decodeKey(payload) };
  }
}

function decodeKey(bytes: Buffer): KeptAnswer {
  let end = KEY_FIXED_BYTES;
  const [key, bodyHash, answer] = [24, 28, 32].map((at) => {
    const start = end;
    end += bytes.readUInt32LE(at);
    return bytes.toString('utf8', start, end);
  }) as [string, string, string];
  return { projectId: readId(bytes, 0) as ProjectId, at: readNumber(bytes, 16), key, bodyHash, answer };
}

function isSegmentHeader(content: Buffer, segment: number): boolean {
  if (content.length < SEGMENT_HEADER_BYTES) return false;
  const header = content.subarray(0, SEGMENT_HEADER_BYTES);
  return (
    header.subarray(0, MAGIC.length).equals(MAGIC) &&
    header.readUInt32LE(12) === headerSum(header) &&
    readNumber(header, 16) === segment
  );
}

function headerSum(header: Buffer): number {
  return crc32(header.subarray(16), crc32(header.subarray(8, 12)));
}

const covered = Buffer.alloc(24);

/** Of the record whose header is at `at`. */
function recordSum(bytes: Buffer, at: number, payload: Buffer, { segment, offset }: Place): number {
  covered.writeDoubleLE(segment, 0);
  covered.writeDoubleLE(offset, 8);
  covered.writeUInt32LE(bytes.readUInt32LE(at + 4), 16);
  covered.writeUInt32LE(bytes.readUInt32LE(at + 12), 20);
  return crc32(payload, crc32(covered));
}

/** As 64 bits. Not by way of a BigInt, which takes memory. */
function writeNumber(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value % 2 ** 32, at);
  target.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function readNumber(source: Buffer, at: number): number {
  return Number(source.readBigUInt64LE(at));
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The id that was written last, and its bytes: many envelopes in a row are of one project. */
let lastId = '';
const lastIdBytes = Buffer.alloc(16);

function writeId(target: Buffer, id: string, at: number): void {
  if (id !== lastId) {
    assert(UUID.test(id), 'ids in the journal are lowercase UUIDs');
    lastIdBytes.write(id.replaceAll('-', ''), 'hex');
    lastId = id;
  }
  lastIdBytes.copy(target, at);
}

function readId(source: Buffer, at: number): string {
  const hex = source.toString('hex', at, at + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
