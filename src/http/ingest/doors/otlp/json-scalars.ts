/** Reads scalars of OTLP/JSON and writes each in its one spelling. */
import { scanValue, type Scanner } from '../../../../event/json.ts';
import { type JsonText, putRange, putRaw, reserve } from '../../../../event/json-text.ts';
import { rawStringOf, stringOf } from '../../../../event/raw-json.ts';
import { isShortDecimal, putDouble, putInteger, type Written } from './numbers.ts';

/** Writes the text at the cursor, which moves behind it; false where it is none. */
export function putText(scanner: Scanner, text: JsonText): boolean {
  const { bytes, at: start } = scanner;
  if (bytes[start] !== QUOTE) {
    scanValue(scanner);
    return false;
  }
  const end = copyString(bytes, start, text);
  if (end >= 0) {
    scanner.at = end;
    text.length += end - start;
    return true;
  }
  if (!scanValue(scanner)) return false;
  putRaw(text, rawStringOf(stringOf(scanner.text.slice(start, scanner.at))));
  return true;
}

/**
 * Writes the string that begins at `at` behind what is written, without counting it. Returns where it ends; negative
 * where it has another usual spelling, or is none.
 */
export function copyString(bytes: Buffer, at: number, text: JsonText): number {
  // Whatever is left of the body fits in.
  const { length: bodyEnd } = bytes;
  const to = reserve(text, bodyEnd - at);
  let { length } = text;
  to[length++] = QUOTE;
  for (let from = at + 1; from < bodyEnd; from += 1) {
    const byte = bytes[from]!;
    to[length++] = byte;
    // Most characters are lower-case letters, which a single comparison accepts.
    if (byte > BACKSLASH) continue;
    if (byte === QUOTE) return from + 1;
    if (byte < SPACE || (byte === BACKSLASH && !isShortEscape(bytes[++from]!))) return -1;
    if (byte === BACKSLASH) to[length++] = bytes[from]!;
  }
  return -1;
}

/** Whether a backslash before it is how JSON is usually written: `\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`. */
const isShortEscape = (byte: number): boolean =>
  byte === QUOTE ||
  byte === BACKSLASH ||
  byte === 0x62 ||
  byte === 0x66 ||
  byte === 0x6e ||
  byte === 0x72 ||
  byte === 0x74;

/** Writes the digits of the integer at the cursor, which may stand in quotes; false where it is none. */
export function putDigits(scanner: Scanner, to: Written): boolean {
  const { bytes, at: start } = scanner;
  scanValue(scanner);
  const isQuoted = bytes[start] === QUOTE;
  return putInteger(to, bytes, isQuoted ? start + 1 : start, isQuoted ? scanner.at - 1 : scanner.at);
}

export function putFlag(scanner: Scanner, text: JsonText): boolean {
  const { bytes, at: start } = scanner;
  scanValue(scanner);
  const isFlag = bytes[start] === LETTER_T || bytes[start] === LETTER_F;
  if (isFlag) putRange(text, bytes, start, scanner.at);
  return isFlag;
}

export function putFraction(scanner: Scanner, to: Written): boolean {
  const { bytes, at: start } = scanner;
  scanValue(scanner);
  if (isShortDecimal(bytes, start, scanner.at)) {
    putRange(to.text, bytes, start, scanner.at);
    return true;
  }
  const raw = scanner.text.slice(start, scanner.at);
  return putDouble(to, raw[0] === '"' ? stringOf(raw) : raw);
}

export function putBytes(scanner: Scanner, text: JsonText): boolean {
  const raw = takeRaw(scanner);
  if (raw[0] !== '"') return false;
  putRaw(text, `"${Buffer.from(stringOf(raw), 'base64').toString('base64')}"`);
  return true;
}

/** The raw value at the cursor, which moves behind it. */
export function takeRaw(scanner: Scanner): string {
  const { at } = scanner;
  scanValue(scanner);
  return scanner.text.slice(at, scanner.at);
}

const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_F = 0x66;
const LETTER_T = 0x74;
