/**
 * How many events are lost with an envelope whose record is damaged. Usually a few bytes of the rows are wrong, and the
 * head in front of them is intact and tells their number. Nothing here is ever taken for an event.
 */
import { ENVELOPE_FIXED_BYTES } from './record.ts';
import { ENVELOPE_TYPE, MARKER, RECORD_HEADER_BYTES, type UnreadableBytes } from './segment-format.ts';

export type SalvagedHead = { readonly sequence: number; readonly eventCount: number };

/** Even the smallest row, with its line end, is longer than this. */
const MIN_ROW_BYTES = 2;

/** The heads of envelopes among unreadable bytes, as far as they are plausible. */
export function salvageHeads(content: Buffer, { offset, bytes }: UnreadableBytes): SalvagedHead[] {
  const found: SalvagedHead[] = [];
  const end = offset + bytes;
  for (let at = content.indexOf(MARKER, offset); at !== -1 && at < end; at = content.indexOf(MARKER, at + 1)) {
    const remains = envelopeAt(content.subarray(at, end));
    if (remains) found.push(remains);
  }
  return found;
}

function envelopeAt(record: Buffer): SalvagedHead | null {
  if (record.length < RECORD_HEADER_BYTES + ENVELOPE_FIXED_BYTES) return null;
  const payloadBytes = record.readUInt32LE(4);
  if (record.readUInt8(12) !== ENVELOPE_TYPE || RECORD_HEADER_BYTES + payloadBytes > record.length) return null;
  const payload = record.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + payloadBytes);
  const sequence = payload.readBigUInt64LE(0);
  const eventCount = payload.readUInt32LE(24);
  const isPlausible = sequence <= Number.MAX_SAFE_INTEGER && eventCount * MIN_ROW_BYTES <= payloadBytes;
  return isPlausible ? { sequence: Number(sequence), eventCount } : null;
}
