/** JSON that is written byte by byte, as it is read elsewhere: no string is made of any part of it. */

/** What is written so far: the first `length` bytes. */
export type JsonText = { bytes: Buffer; length: number };

export const createJsonText = (expectedBytes: number): JsonText => ({
  bytes: Buffer.allocUnsafe(expectedBytes),
  length: 0,
});

/** Makes room for so many bytes more; the bytes to write into. */
export function reserve(text: JsonText, count: number): Buffer {
  if (text.length + count > text.bytes.length) {
    const larger = Buffer.allocUnsafe(2 * (text.length + count));
    text.bytes.copy(larger, 0, 0, text.length);
    text.bytes = larger;
  }
  return text.bytes;
}

export function putByte(text: JsonText, byte: number): void {
  reserve(text, 1)[text.length] = byte;
  text.length += 1;
}

/** Calls that fill or copy a Buffer take longer than so many bytes one by one. */
const FEW_BYTES = 48;

/** Raw JSON, as byte text. */
export function putRaw(text: JsonText, raw: string): void {
  const bytes = reserve(text, raw.length);
  let to = text.length;
  text.length += raw.length;
  if (raw.length > FEW_BYTES) bytes.write(raw, to, 'latin1');
  else for (let at = 0; at < raw.length; at += 1) bytes[to++] = raw.charCodeAt(at);
}

/** Bytes of another document, or of an earlier part of this one. */
export function putRange(text: JsonText, from: Uint8Array, start: number, end: number): void {
  const bytes = reserve(text, end - start);
  let to = text.length;
  text.length += end - start;
  if (end - start > FEW_BYTES) bytes.set(from.subarray(start, end), to);
  else for (let at = start; at < end; at += 1) bytes[to++] = from[at]!;
}

/** Drops everything behind `at` but a range of it. */
export function keepOnly(text: JsonText, at: number, start: number, end: number): void {
  if (start !== at) text.bytes.copyWithin(at, start, end);
  text.length = at + end - start;
}

/** A part of it, as byte text. */
export const rawPart = (text: JsonText, start: number, end: number): string =>
  text.bytes.toString('latin1', start, end);
