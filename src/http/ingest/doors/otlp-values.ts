/** OTLP's values as plain JSON, in the one spelling that JSON and protobuf of the same value both have. */
import { enter, isAtArray, isAtObject, nextElement, nextKey, scanValue, type Scanner } from '../../../event/json.ts';
import { rawStringOf, stringOf } from '../../../event/raw-json.ts';

/** Raw keys and raw values, in their order. */
export type Attributes = readonly (readonly [rawKey: string, raw: string])[];

/** Deeper than an event may be, so that the decoder rejects it. */
const MAX_DEPTH = 64;
const TOO_DEEP = '['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1);

/** The value at the cursor, which moves behind it. The document was scanned before. */
export function readAnyValue(scanner: Scanner, depth: number = 0): string {
  let raw = 'null';
  if (depth > MAX_DEPTH || !isAtObject(scanner)) {
    const isDeep = isAtObject(scanner);
    scanValue(scanner);
    return isDeep ? TOO_DEEP : raw;
  }
  enter(scanner);
  while (nextKey(scanner)) {
    switch (scanner.text.slice(scanner.keyStart, scanner.keyEnd)) {
      case '"stringValue"':
        raw = textOf(takeRaw(scanner)) ?? raw;
        break;
      case '"boolValue"':
        raw = flagOf(takeRaw(scanner)) ?? raw;
        break;
      case '"intValue"':
        raw = integerOf(takeRaw(scanner)) ?? raw;
        break;
      case '"doubleValue"':
        raw = doubleOf(takeRaw(scanner)) ?? raw;
        break;
      case '"bytesValue"':
        raw = bytesOf(takeRaw(scanner)) ?? raw;
        break;
      case '"arrayValue"':
        raw = readValues(scanner, (inner) => readAnyValue(inner, depth + 1), '[', ']') ?? raw;
        break;
      case '"kvlistValue"':
        raw = readValues(scanner, (inner) => memberOf(readKeyValue(inner, depth + 1)), '{', '}') ?? raw;
        break;
      default:
        scanValue(scanner);
    }
  }
  return raw;
}

/** The attributes at the cursor, which moves behind them. */
export function readAttributes(scanner: Scanner): Attributes {
  const attributes: (readonly [string, string])[] = [];
  if (!isAtArray(scanner)) {
    scanValue(scanner);
    return attributes;
  }
  enter(scanner);
  while (nextElement(scanner)) attributes.push(readKeyValue(scanner, 0));
  return attributes;
}

export function objectOf(attributes: Attributes, more: string = ''): string {
  let members = '';
  for (const attribute of attributes) members += members === '' ? memberOf(attribute) : `,${memberOf(attribute)}`;
  return more === '' ? `{${members}}` : `{${members}${members === '' ? '' : ','}${more}}`;
}

/** The value of the first of these attributes, by its raw key, that is there and not null. */
export function found(attributes: Attributes, rawKeys: readonly string[]): string | null {
  for (const rawKey of rawKeys) {
    // Of a key that is there twice the last one counts, as in any object.
    for (let index = attributes.length - 1; index >= 0; index -= 1) {
      const [key, raw] = attributes[index]!;
      if (key !== rawKey) continue;
      if (raw !== 'null') return raw;
      break;
    }
  }
  return null;
}

const memberOf = ([rawKey, raw]: readonly [string, string]): string => `${rawKey}:${raw}`;

/** `{"values": [...]}`, which is what a list and a map are. */
function readValues(scanner: Scanner, read: (scanner: Scanner) => string, open: string, close: string): string | null {
  if (!isAtObject(scanner)) {
    scanValue(scanner);
    return null;
  }
  const parts: string[] = [];
  enter(scanner);
  while (nextKey(scanner)) {
    const isValues = scanner.text.slice(scanner.keyStart, scanner.keyEnd) === '"values"';
    if (!isValues || !isAtArray(scanner)) {
      scanValue(scanner);
      continue;
    }
    enter(scanner);
    while (nextElement(scanner)) parts.push(read(scanner));
  }
  return open + parts.join(',') + close;
}

function readKeyValue(scanner: Scanner, depth: number): readonly [string, string] {
  let rawKey = '""';
  let value = 'null';
  if (!isAtObject(scanner)) {
    scanValue(scanner);
    return [rawKey, value];
  }
  enter(scanner);
  while (nextKey(scanner)) {
    const name = scanner.text.slice(scanner.keyStart, scanner.keyEnd);
    if (name === '"value"') value = readAnyValue(scanner, depth);
    else if (name === '"key"') rawKey = textOf(takeRaw(scanner)) ?? rawKey;
    else scanValue(scanner);
  }
  return [rawKey, value];
}

/** The raw value at the cursor, which moves behind it. */
export function takeRaw(scanner: Scanner): string {
  const { at } = scanner;
  scanValue(scanner);
  return scanner.text.slice(at, scanner.at);
}

/** A text in its usual spelling; null for what is none. */
export function textOf(raw: string): string | null {
  if (raw[0] !== '"') return null;
  // Without escapes there is only one.
  return raw.includes('\\') ? rawStringOf(stringOf(raw)) : raw;
}

const flagOf = (raw: string): string | null => (raw === 'true' || raw === 'false' ? raw : null);

/** The digits of an integer, which may stand in quotes. */
export function integerOf(raw: string): string | null {
  const digits = raw[0] === '"' ? raw.slice(1, -1) : raw;
  if (!INTEGER.test(digits)) return null;
  return LEADING_ZERO.test(digits) ? digits.replace(LEADING_ZERO, '$1') : digits;
}

const INTEGER = /^-?\d{1,20}$/;
const LEADING_ZERO = /^(-?)0+(?=\d)/;

/** What is no number in JSON is a text. */
function doubleOf(raw: string): string | null {
  const words = raw[0] === '"' ? stringOf(raw) : raw;
  const value = Number(words);
  if (words.trim() === '' || (Number.isNaN(value) && words !== 'NaN')) return null;
  return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
}

function bytesOf(raw: string): string | null {
  return raw[0] === '"' ? `"${Buffer.from(stringOf(raw), 'base64').toString('base64')}"` : null;
}
