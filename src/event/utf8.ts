import { BYTES_A_STEP, type Steps } from './steps.ts';

/** ASCII's own character for one that was received in error. As a raw control character it occurs nowhere in JSON. */
export const SUBSTITUTE = 0x1a;

/** A copy of the bytes, of the same length, in which every byte that is not part of valid UTF-8 is `SUBSTITUTE`. */
export function* substituteBadBytes(bytes: Buffer): Steps<Buffer> {
  const copy = Buffer.from(bytes);
  for (let at = 0; at < copy.length;) {
    const stepEnd = Math.min(at + BYTES_A_STEP, copy.length);
    while (at < stepEnd) {
      const length = characterLength(copy, at);
      if (length === 0) copy[at] = SUBSTITUTE;
      at += length || 1;
    }
    if (at < copy.length) yield;
  }
  return copy;
}

/**
 * The length of the character at `at` in bytes; 0 when there is none. After RFC 3629: the shortest form, no surrogates,
 * up to U+10FFFF.
 */
function characterLength(bytes: Buffer, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0) return 0;
  for (let i = 1; i < length; i += 1) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1]!;
  if ((first === 0xe0 && second < 0xa0) || (first === 0xed && second > 0x9f)) return 0;
  if ((first === 0xf0 && second < 0x90) || (first === 0xf4 && second > 0x8f)) return 0;
  return length;
}
