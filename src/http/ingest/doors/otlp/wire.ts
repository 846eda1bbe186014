/** Protobuf, read in place: a cursor in the bytes, and where its message ends. Throws where they are no such message. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

export type Wire = { readonly reader: BinaryReader; readonly bytes: Buffer };

export const createWire = (bytes: Buffer): Wire => ({ reader: new BinaryReader(bytes), bytes });

const NUMBER_AT = 8;
const LAST_TYPE: number = WireType.Bit32;
/** What a field begins with: its number and how its value is written. */
const tagOf = (number: number, type: WireType): number => number * NUMBER_AT + type;
export const sized = (number: number): number => tagOf(number, WireType.LengthDelimited);
export const varint = (number: number): number => tagOf(number, WireType.Varint);
export const bits64 = (number: number): number => tagOf(number, WireType.Bit64);
export const bits32 = (number: number): number => tagOf(number, WireType.Bit32);

export const END = 0;
/** Of a byte: that more follow. */
const MORE = 0x80;

/** Moves to the value of the message's next field, and returns its tag; `END` behind the last one. */
export function nextField({ reader, bytes }: Wire, end: number): number {
  if (reader.pos >= end) {
    if (reader.pos > end) throw new RangeError('a field is longer than its message');
    return END;
  }
  const tag = bytes[reader.pos]!;
  // Nearly all tags have one byte.
  if (tag >= MORE) {
    const [number, type] = reader.tag();
    return tagOf(number, type);
  }
  reader.pos += 1;
  if (tag < NUMBER_AT || tag % NUMBER_AT > LAST_TYPE) throw new RangeError('no tag');
  return tag;
}

/** Moves behind the value of a field that has no meaning here. */
export function skipField({ reader }: Wire, tag: number): void {
  reader.skip(tag % NUMBER_AT, Math.floor(tag / NUMBER_AT));
}

/** Moves behind the length of a text or a message; returns where that ends. */
export function endOfSized({ reader, bytes }: Wire): number {
  let size = bytes[reader.pos]!;
  // Nearly all sizes have one byte.
  if (size < MORE) reader.pos += 1;
  else size = reader.uint32();
  const end = reader.pos + size;
  if (end > bytes.length) throw new RangeError('a field is longer than its message');
  return end;
}
