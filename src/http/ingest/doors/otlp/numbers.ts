/** Numbers of OTLP in the one spelling that they have as plain JSON. */
import { type JsonText, putByte, putRange, putRaw, rawPart, reserve } from '../../../../event/json-text.ts';
import { isReadableNumber } from '../../../../event/readable-number.ts';
import { isoOf } from '../../../../event/row.ts';

/** Where numbers are written; and whether ClickHouse cannot read one of them. */
export type Written = { readonly text: JsonText; hasUnreadable: boolean };

const MAX_DIGITS = 20;
/** What is no longer is certainly in the range of ClickHouse: 19 digits, or 18 and a minus. */
const SAFE_BYTES = 19;

/** Writes an integer of at most twenty digits without leading zeroes; false where it is none. */
export function putInteger(to: Written, from: Uint8Array, start: number, end: number): boolean {
  const { text } = to;
  const isNegative = from[start] === MINUS;
  let at = isNegative ? start + 1 : start;
  const count = end - at;
  if (count < 1 || count > MAX_DIGITS) return false;
  const bytes = reserve(text, MAX_DIGITS + 1);
  let { length } = text;
  if (isNegative) bytes[length++] = MINUS;
  while (from[at] === ZERO && at < end - 1) at += 1;
  for (; at < end; at += 1) {
    const byte = from[at]!;
    if (!isDigit(byte)) return false;
    bytes[length++] = byte;
  }
  if (end - start > SAFE_BYTES && !isReadableNumber(rawPart(text, text.length, length))) to.hasUnreadable = true;
  text.length = length;
  return true;
}

/** What has no more digits is the same decimal after it was a double. */
export const EXACT_DIGITS = 15;

/** Whether a number is written as every double of it is: `19.99`, no exponent, no zeroes that mean nothing. */
export function isShortDecimal(bytes: Uint8Array, start: number, end: number): boolean {
  const first = bytes[start] === MINUS ? start + 1 : start;
  if (end - first > EXACT_DIGITS + 1 || !isDigit(bytes[first]!)) return false;
  let point = first + 1;
  while (isDigit(bytes[point]!)) point += 1;
  if (bytes[point] !== DOT || bytes[end - 1] === ZERO) return false;
  // Small numbers have an exponent.
  if (bytes[first] === ZERO && bytes[point + 1] === ZERO) return false;
  for (let at = point + 1; at < end; at += 1) if (!isDigit(bytes[at]!)) return false;
  return true;
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= NINE;

/** Writes a double, given in words; what is no number in JSON is a text. False where they are no number. */
export function putDouble(to: Written, words: string): boolean {
  const value = Number(words);
  if (words.trim() === '' || (Number.isNaN(value) && words !== 'NaN')) return false;
  putNumber(to, value);
  return true;
}

export function putNumber(to: Written, value: number): void {
  const raw = Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
  putRaw(to.text, raw);
  // A large one is written as an integer.
  if (raw.length > SAFE_BYTES && !isReadableNumber(raw)) to.hasUnreadable = true;
}

/** Writes the integer at the end of the text anew, as JavaScript has it. */
export function putRounded(to: Written, start: number): void {
  const { text } = to;
  const raw = String(Number(rawPart(text, start, text.length)));
  text.length = start;
  putRaw(text, raw);
  if (!isReadableNumber(raw)) to.hasUnreadable = true;
}

/** The value of digits, as far as a number can hold it; negative where they begin with a minus. */
export function valueOfDigits(bytes: Uint8Array, start: number, end: number): number {
  let value = bytes[start] === MINUS ? -1 : 0;
  for (let at = start; at < end && value >= 0; at += 1) value = value * 10 + bytes[at]! - ZERO;
  return value;
}

const NANO_DIGITS = 9;
const LATEST_SECOND = 253_402_300_799;

/** Writes digits of nanoseconds as RFC 3339 with all nine digits; as a text of digits behind the year 9999. */
export function putInstant(text: JsonText, start: number, end: number): void {
  const from = reserve(text, end - start + RFC_3339_BYTES);
  const point = end - NANO_DIGITS;
  const seconds = valueOfDigits(from, start, point);
  putByte(text, QUOTE);
  if (seconds > LATEST_SECOND) putRange(text, from, start, end);
  else {
    putRaw(text, isoOf(seconds * 1_000).slice(0, 20));
    for (let at = point; at < end; at += 1) putByte(text, at < start ? ZERO : from[at]!);
    putByte(text, LETTER_Z);
  }
  putByte(text, QUOTE);
}

const RFC_3339_BYTES = 40;
const QUOTE = 0x22;
const LETTER_Z = 0x5a;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
