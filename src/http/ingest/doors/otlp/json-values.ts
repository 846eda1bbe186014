/** Reads values of OTLP/JSON and writes them as plain JSON, each in one spelling. */
import { enter, isAtArray, isAtObject, nextElement, nextKey, scanValue, type Scanner } from '../../../../event/json.ts';
import { keepOnly, putByte, putRaw } from '../../../../event/json-text.ts';
import { createNameFinder, createPattern, matchesAt } from '../../../../event/names.ts';
import {
  arrangeMember,
  type Attributes,
  closeAttributes,
  MAX_DEPTH,
  nextAttribute,
  noteAttribute,
  openAttributes,
  resetAttributes,
} from './attributes.ts';
import { checkSize, type OtlpEvents } from './events.ts';
import { copyString, putBytes, putDigits, putFlag, putFraction, putText } from './json-scalars.ts';

const KINDS = ['stringValue', 'boolValue', 'intValue', 'doubleValue', 'bytesValue', 'arrayValue', 'kvlistValue'];
const [STRING, BOOL, INT, DOUBLE, BYTES, ARRAY, KEY_VALUES] = [0, 1, 2, 3, 4, 5, 6] as const;
const findKind = createNameFinder(KINDS);

/** What was not written, because the value is none of its kind. */
const NOTHING = -1;

/** Writes the value at the cursor, which moves behind it; returns how many containers deep it is. */
export function putAnyValue(scanner: Scanner, events: OtlpEvents, depth: number): number {
  const { text } = events;
  if (depth > MAX_DEPTH || !isAtObject(scanner)) {
    const isDeep = isAtObject(scanner);
    scanValue(scanner);
    putRaw(text, 'null');
    return isDeep ? MAX_DEPTH + 1 : 0;
  }
  if (putScalar(scanner, events)) return 0;
  const { length: start } = text;
  let from = -1;
  let deepest = 0;
  enter(scanner);
  for (let kind = nextKind(scanner); kind !== END; kind = nextKind(scanner)) {
    const { length: at } = text;
    const written = putKind(scanner, events, kind, depth);
    if (written === NOTHING) text.length = at;
    else {
      // Of several values the last one counts.
      from = at;
      deepest = written;
    }
  }
  if (from < 0) putRaw(text, 'null');
  else if (from !== start) keepOnly(text, start, from, text.length);
  return deepest;
}

function kindAt(letter: number): number {
  if (letter === 0x73) return STRING;
  if (letter === 0x69) return INT;
  if (letter === 0x64) return DOUBLE;
  return letter === 0x62 ? BOOL : NOTHING;
}
const SCALARS = KINDS.slice(0, 4).map((kind) => createPattern(`{"${kind}":`));

/** Writes the value at the cursor if it is a scalar and stands there as usual; otherwise nothing has happened. */
function putScalar(scanner: Scanner, events: OtlpEvents): boolean {
  const { bytes, at } = scanner;
  const { length } = events.text;
  const kind = kindAt(bytes[at + 2]!);
  if (kind < 0 || !matchesAt(events.body, at, SCALARS[kind]!)) return false;
  scanner.at = at + SCALARS[kind]!.length;
  if (putKind(scanner, events, kind, 0) >= 0 && bytes[scanner.at] === CLOSE_BRACE) {
    scanner.at += 1;
    return true;
  }
  scanner.at = at;
  scanner.problem = null;
  events.text.length = length;
  return false;
}

/** Moves behind the closing brace of the object, if the cursor is right there. */
function isAtEnd(scanner: Scanner): boolean {
  if (scanner.bytes[scanner.at] !== CLOSE_BRACE || scanner.problem !== null) return false;
  scanner.at += 1;
  scanner.isFirst = false;
  return true;
}

/** Moves to the next value of any kind, and tells which it is: -1 for none that is known. */
function nextKind(scanner: Scanner): number {
  if (isAtEnd(scanner)) return END;
  if (scanner.problem !== null || !nextKey(scanner)) return END;
  return findKind(scanner.bytes, scanner.keyStart + 1, scanner.keyEnd - 1);
}

/** As `putAnyValue`, for a value of a kind; `NOTHING` for one that is none. */
function putKind(scanner: Scanner, events: OtlpEvents, kind: number, depth: number): number {
  switch (kind) {
    case STRING:
      return putText(scanner, events.text) ? 0 : NOTHING;
    case BOOL:
      return putFlag(scanner, events.text) ? 0 : NOTHING;
    case INT:
      return putDigits(scanner, events) ? 0 : NOTHING;
    case DOUBLE:
      return putFraction(scanner, events) ? 0 : NOTHING;
    case BYTES:
      return putBytes(scanner, events.text) ? 0 : NOTHING;
    case ARRAY:
      return putValues(scanner, events, depth, false);
    case KEY_VALUES:
      return putValues(scanner, events, depth, true);
    default:
      scanValue(scanner);
      return NOTHING;
  }
}

/** `{"values": [...]}`, which is what a list and a map are. */
function putValues(scanner: Scanner, events: OtlpEvents, depth: number, isMap: boolean): number {
  if (!isAtObject(scanner)) {
    scanValue(scanner);
    return NOTHING;
  }
  const { text } = events;
  let deepest = 0;
  putByte(text, isMap ? OPEN_BRACE : OPEN_BRACKET);
  const { length: start } = text;
  enter(scanner);
  while (scanner.problem === null && nextKey(scanner)) {
    if (findValues(scanner.bytes, scanner.keyStart + 1, scanner.keyEnd - 1) < 0 || !isAtArray(scanner)) {
      scanValue(scanner);
      continue;
    }
    enter(scanner);
    while (scanner.problem === null && nextElement(scanner)) {
      if (text.length > start) putByte(text, COMMA);
      const inner = isMap ? putKeyValue(scanner, events, depth + 1) : putAnyValue(scanner, events, depth + 1);
      if (inner > deepest) deepest = inner;
      checkSize(text);
    }
  }
  putByte(text, isMap ? CLOSE_BRACE : CLOSE_BRACKET);
  return deepest + 1;
}

const findValues = createNameFinder(['values']);

/** Writes the attributes at the cursor, which moves behind them. */
export function putAttributes(scanner: Scanner, events: OtlpEvents, attributes: Attributes): void {
  const { text } = events;
  if (!isAtArray(scanner)) {
    scanValue(scanner);
    return resetAttributes(attributes);
  }
  openAttributes(attributes, text);
  enter(scanner);
  while (scanner.problem === null && nextElement(scanner)) {
    nextAttribute(attributes, text);
    const { length: start } = text;
    const depth = putKeyValue(scanner, events, 0);
    if (depth > attributes.depth) attributes.depth = depth;
    noteAttribute(attributes, text, start, events.keyEnd);
    checkSize(text);
  }
  closeAttributes(attributes, text);
}

const KEY = 0;
const VALUE = 1;
const END = -2;
const findMember = createNameFinder(['key', 'value']);
const USUAL_KEY = createPattern('{"key":"');
const USUAL_VALUE = createPattern(',"value":{');

/** Moves to the value of the next member of an attribute, and tells which it is: -1 for one without a meaning. */
function nextMember(scanner: Scanner): number {
  if (isAtEnd(scanner)) return END;
  if (scanner.problem !== null || !nextKey(scanner)) return END;
  return findMember(scanner.bytes, scanner.keyStart + 1, scanner.keyEnd - 1);
}

/**
 * Writes the key of the attribute at the cursor, with a colon, and moves to its value. False where they do not stand
 * there as nearly all exporters write them, first and without spaces: then nothing has happened.
 */
function putUsualKey(scanner: Scanner, { text, body }: OtlpEvents): boolean {
  if (!matchesAt(body, scanner.at, USUAL_KEY)) return false;
  const keyAt = scanner.at + USUAL_KEY.length - 1;
  const keyEnd = copyString(scanner.bytes, keyAt, text);
  if (keyEnd < 0 || !matchesAt(body, keyEnd, USUAL_VALUE)) return false;
  text.length += keyEnd - keyAt;
  putByte(text, COLON);
  scanner.at = keyEnd + USUAL_VALUE.length - 1;
  scanner.isFirst = false;
  return true;
}

/** Writes the `{"key", "value"}` at the cursor as a member, whose key ends at `keyEnd` then. */
function putKeyValue(scanner: Scanner, events: OtlpEvents, depth: number): number {
  const { text } = events;
  const { length: start } = text;
  let keyStart = -1;
  let keyEnd = -1;
  let valueStart = -1;
  let valueEnd = -1;
  let deepest = 0;
  if (putUsualKey(scanner, events)) {
    keyStart = start;
    valueStart = text.length;
    keyEnd = valueStart - 1;
    deepest = putAnyValue(scanner, events, depth);
    valueEnd = text.length;
  } else if (isAtObject(scanner)) enter(scanner);
  else {
    scanValue(scanner);
    events.keyEnd = arrangeMember(text, start, { keyStart, keyEnd, valueStart, valueEnd });
    return deepest;
  }
  for (let member = nextMember(scanner); member !== END; member = nextMember(scanner)) {
    const { length: at } = text;
    if (member === VALUE) {
      deepest = putAnyValue(scanner, events, depth);
      valueStart = at;
      valueEnd = text.length;
    } else if (member !== KEY) scanValue(scanner);
    else if (putText(scanner, text)) {
      keyStart = at;
      keyEnd = text.length;
      putByte(text, COLON);
    }
  }
  const isInPlace = keyStart === start && valueStart === keyEnd + 1 && valueEnd === text.length;
  events.keyEnd = isInPlace ? keyEnd : arrangeMember(text, start, { keyStart, keyEnd, valueStart, valueEnd });
  return deepest;
}

const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
