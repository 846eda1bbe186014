/**
 * How the rows of a record travel: as one LZ4 frame that Weir makes, inside a record that is not compressed again. Left
 * to the driver, rows would be copied twice into memory of their own before they are compressed, and what is allocated
 * in such amounts costs more in collections of garbage than the compression itself.
 */
import type { TopicRecord } from '../topic/topic-port.ts';
import type { Driver } from './client.ts';

/** The name of the header that says how a value is packed; without it the value is as it is. */
export const ENCODING = Buffer.from('weir-encoding');
const LZ4 = Buffer.from('lz4');

export type Packed = { readonly value: Buffer; readonly headers: readonly (readonly [Buffer, Buffer])[] };

/** No value is larger before it is packed: whoever reads it has to hold it. */
export const MAX_VALUE_BYTES = 64 * 1024 * 1024;
/** What is larger is not kept for the next one. */
const KEPT_BYTES = 2 * 1024 * 1024;

export type Packer = {
  /** The pieces as one value. */
  pack(chunks: readonly Buffer[]): Packed;
};

/** Each packs one value at a time, in memory that it keeps. */
export function createPacker({ compressionsAlgorithms: { lz4 } }: Pick<Driver, 'compressionsAlgorithms'>): Packer {
  let kept = Buffer.alloc(0);

  return {
    pack(chunks) {
      const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
      const raw = join(chunks, bytes);
      const value = bytes === 0 ? raw : lz4.compressSync(raw);
      if (value.length < bytes) return { value, headers: [[ENCODING, LZ4]] };
      // What cannot be made smaller goes as it is, out of memory that is used again.
      return { value: Buffer.from(raw), headers: [] };
    },
  };

  function join(chunks: readonly Buffer[], bytes: number): Buffer {
    const room = roomFor(bytes);
    let end = 0;
    for (const chunk of chunks) end += chunk.copy(room, end);
    return room.subarray(0, bytes);
  }

  function roomFor(bytes: number): Buffer {
    if (bytes <= kept.length) return kept;
    const room = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(kept.length * 2, KEPT_BYTES)));
    if (room.length <= KEPT_BYTES) kept = room;
    return room;
  }
}

/** A value as it was before it was packed; where it cannot be read, as it is, and why. */
export type Unpacked = Pick<TopicRecord, 'value' | 'unreadable'>;

export function unpack(
  { compressionsAlgorithms: { lz4 } }: Pick<Driver, 'compressionsAlgorithms'>,
  value: Buffer,
  encoding: Buffer | null,
): Unpacked {
  if (encoding === null) return { value };
  if (!encoding.equals(LZ4)) return { value, unreadable: 'it is packed in a way that a later version may know' };
  const mostBytes = mostBytesIn(value);
  if (mostBytes === null) return { value, unreadable: 'it is damaged' };
  if (mostBytes > MAX_VALUE_BYTES) return { value, unreadable: 'it would be larger than any that Weir has packed' };
  try {
    return { value: lz4.decompressSync(value) };
  } catch {
    return { value, unreadable: 'it is damaged' };
  }
}

const LZ4_FRAME = 0x184d2204;
const HAS_BLOCK_CHECKSUMS = 0b1_0000;
const HAS_CONTENT_SIZE = 0b1000;
const HAS_DICTIONARY = 0b1;
/** In the size of a block: that it is not compressed. */
const IS_PLAIN = 0x8000_0000;

/**
 * What an LZ4 frame unpacks to at most: as Weir packs it, all blocks but the last are full. Null where it is no whole
 * frame. Weir's own look costs nothing; the driver's code unpacks however much there is.
 */
function mostBytesIn(frame: Buffer): number | null {
  if (frame.length < 7 || frame.readUInt32LE(0) !== LZ4_FRAME) return null;
  const flags = frame[4]!;
  const maxBlockBytes = 4 ** (4 + ((frame[5]! >> 4) & 0b111));
  let at = 7 + ((flags & HAS_CONTENT_SIZE) !== 0 ? 8 : 0) + ((flags & HAS_DICTIONARY) !== 0 ? 4 : 0);
  for (let blocks = 0; at + 4 <= frame.length; blocks++) {
    const size = frame.readUInt32LE(at);
    if (size === 0) return blocks * maxBlockBytes;
    at += 4 + (size & ~IS_PLAIN) + ((flags & HAS_BLOCK_CHECKSUMS) !== 0 ? 4 : 0);
  }
  return null;
}
