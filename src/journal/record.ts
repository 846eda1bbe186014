/**
 * The records of the journal, and the bytes of their payloads. Pure; `segment-format.ts` decides where a record stands
 * in a file. Numbers are little-endian, ids 16 bytes.
 */
import assert from 'node:assert/strict';
import type { Envelope, ProjectId } from '../event/event.ts';
import type { BatchId } from '../pipeline/batch.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';

/** Sequences from `first` to `last`, inclusive. */
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
  /** Repeats the sequences, so that it still settles them when the batch's own record has become unreadable. */
  | { readonly type: 'settled'; readonly batchId: BatchId; readonly ranges: readonly SequenceRange[] }
  /** An envelope that will be in no batch. Part of version 1, and so it is read; nothing writes it. */
  | { readonly type: 'withdrawn'; readonly sequence: number }
  | { readonly type: 'key'; readonly key: KeptAnswer };

/** Whether the record concerns envelopes that are already written: settling those makes room. */
export const isControl = ({ type }: JournalRecord): boolean => type === 'batch' || type === 'settled';

/** In the order of their numbers in a record's header, which start at 1. */
export const RECORD_TYPES = [
  'envelope',
  'batch',
  'settled',
  'key',
  'withdrawn',
] as const satisfies JournalRecord['type'][];
/** Sequence, project, event count, length of the key. */
export const ENVELOPE_FIXED_BYTES = 8 + 16 + 4 + 4;
const BATCH_FIXED_BYTES = 16 + 4;
/** Project, instant, lengths of key, hash and answer. */
const KEY_FIXED_BYTES = 16 + 8 + 4 + 4 + 4;
const RANGE_BYTES = 16;

/** Sequences as ranges, in the given order. */
export function rangesOf(sequences: readonly number[]): SequenceRange[] {
  const ranges: { first: number; last: number }[] = [];
  for (const sequence of sequences) {
    const range = ranges.at(-1);
    if (range && range.last + 1 === sequence) range.last = sequence;
    else ranges.push({ first: sequence, last: sequence });
  }
  return ranges;
}

export function payloadSize(record: JournalRecord): number {
  switch (record.type) {
    case 'envelope':
      return envelopePayloadSize(record.envelope) + (record.key === null ? 0 : keySize(record.key));
    case 'batch':
    case 'settled':
      return BATCH_FIXED_BYTES + record.ranges.length * RANGE_BYTES;
    case 'withdrawn':
      return 8;
    case 'key':
      return keySize(record.key);
  }
}

/** Of an envelope without a key. */
export function envelopePayloadSize({ rows }: Envelope): number {
  return ENVELOPE_FIXED_BYTES + rows.length;
}

function keySize({ key, bodyHash, answer }: KeptAnswer): number {
  return KEY_FIXED_BYTES + Buffer.byteLength(key) + Buffer.byteLength(bodyHash) + Buffer.byteLength(answer);
}

export function encodePayload(record: JournalRecord, target: Buffer): void {
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

/** Needs no checks of its own: the checksum proves that these are the encoded bytes. */
export function decodePayload(type: JournalRecord['type'], payload: Buffer): JournalRecord {
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

/** As 64 bits. Without a BigInt, which takes memory. */
function writeNumber(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value % 2 ** 32, at);
  target.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function readNumber(source: Buffer, at: number): number {
  return Number(source.readBigUInt64LE(at));
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The last id written, and its bytes: many consecutive envelopes belong to one project. */
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
