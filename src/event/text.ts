import { rawStringOf, stringOf } from './raw-json.ts';

/** The most code points of an event's name and of its ids. */
export const MAX_TEXT_LENGTH = 200;

/** Why a value is refused: the reason, or the part of it behind the field's name; of an event also the id it was sent with. */
export type Refusal = { readonly reason: string; readonly id?: string };

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null;
}

export const NOT_A_STRING: Refusal = { reason: 'must be a string' };
const TOO_LONG: Refusal = { reason: 'too long' };

/** The longest escape of one code point is a surrogate pair, `\ud83d\ude00`. */
const MAX_ESCAPE_BYTES = 12;

/**
 * Reads the raw JSON value of a text of at most `maxLength` code points. Returns the raw string to store, made
 * well-formed, and null for null and for "".
 */
export function readText(raw: string, maxLength: number): string | null | Refusal {
  if (raw === 'null' || raw === '""') return null;
  if (raw[0] !== '"') return NOT_A_STRING;
  if (!raw.includes('\\')) return lengthOf(raw, maxLength) > maxLength ? TOO_LONG : raw;
  if (raw.length - 2 > maxLength * MAX_ESCAPE_BYTES) return TOO_LONG;
  const text = stringOf(raw);
  return codePointCount(text) > maxLength ? TOO_LONG : rawStringOf(text);
}

/** As `readText`, for ids: a number is read as its digits, as written. */
export function readId(raw: string, maxLength: number): string | null | Refusal {
  return readText(isNumber(raw) ? `"${raw}"` : raw, maxLength);
}

/** Whether a raw JSON value is a number. */
export function isNumber(raw: string): boolean {
  const first = raw.charCodeAt(0);
  return first === 0x2d || (first >= 0x30 && first <= 0x39);
}

/** The number of code points in a raw string without escapes; its bytes, when those are few enough anyway. */
function lengthOf(raw: string, maxLength: number): number {
  const byteCount = raw.length - 2;
  if (byteCount <= maxLength) return byteCount;
  let count = 0;
  for (let i = 1; i <= byteCount; i += 1) if ((raw.charCodeAt(i) & 0xc0) !== 0x80) count += 1;
  return count;
}

function codePointCount(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
