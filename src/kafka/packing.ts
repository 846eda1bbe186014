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
  try {
    return { value: lz4.decompressSync(value) };
  } catch {
    return { value, unreadable: 'it is damaged' };
  }
}
