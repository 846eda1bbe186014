/** Reads values of OTLP's protobuf and writes them as plain JSON. */
import { isUtf8 } from 'node:buffer';
import { keepOnly, type JsonText, putByte, putRaw, reserve } from '../../../../event/json-text.ts';
import { rawStringOf } from '../../../../event/raw-json.ts';
import {
  arrangeMember,
  type Attributes,
  MAX_DEPTH,
  nextAttribute,
  noteAttribute,
  openAttributes,
} from './attributes.ts';
import { checkSize, type OtlpEvents } from './events.ts';
import { putNumber } from './numbers.ts';
import { bits64, END, endOfSized, nextField, sized, skipField, varint, type Wire } from './wire.ts';

const STRING = sized(1);
const BOOL = varint(2);
const INT = varint(3);
const DOUBLE = bits64(4);
const ARRAY = sized(5);
const KEY_VALUES = sized(6);
const BYTES = sized(7);

/** Writes the value at the cursor, which moves behind it; returns how many containers deep it is. */
export function putAnyValue(wire: Wire, events: OtlpEvents, end: number, depth: number): number {
  const { text } = events;
  if (depth > MAX_DEPTH) {
    wire.reader.pos = end;
    putRaw(text, 'null');
    return MAX_DEPTH + 1;
  }
  const { length: start } = text;
  let from = -1;
  let deepest = 0;
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    const { length: at } = text;
    const written = putKind(wire, events, tag, depth);
    if (written < 0) continue;
    // Of several values the last one counts.
    from = at;
    deepest = written;
  }
  if (from < 0) putRaw(text, 'null');
  else if (from !== start) keepOnly(text, start, from, text.length);
  return deepest;
}

/** As `putAnyValue`, for a value of a kind; negative where nothing is known of it. */
function putKind(wire: Wire, events: OtlpEvents, tag: number, depth: number): number {
  const { text } = events;
  const { reader } = wire;
  switch (tag) {
    case STRING:
      putText(wire, text);
      return 0;
    case BOOL:
      putRaw(text, reader.bool() ? 'true' : 'false');
      return 0;
    case INT:
      putInteger(wire, text);
      return 0;
    case DOUBLE:
      putNumber(events, reader.double());
      return 0;
    case ARRAY:
      return putValues(wire, events, endOfSized(wire), depth, false);
    case KEY_VALUES:
      return putValues(wire, events, endOfSized(wire), depth, true);
    case BYTES: {
      const end = endOfSized(wire);
      putRaw(text, `"${wire.bytes.toString('base64', reader.pos, end)}"`);
      reader.pos = end;
      return 0;
    }
    default:
      skipField(wire, tag);
      return -1;
  }
}

const VALUES = sized(1);

function putValues(wire: Wire, events: OtlpEvents, end: number, depth: number, isMap: boolean): number {
  const { text } = events;
  let deepest = 0;
  putByte(text, isMap ? OPEN_BRACE : OPEN_BRACKET);
  const { length: start } = text;
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    if (tag !== VALUES) {
      skipField(wire, tag);
      continue;
    }
    if (text.length > start) putByte(text, COMMA);
    const innerEnd = endOfSized(wire);
    const inner = isMap
      ? putKeyValue(wire, events, innerEnd, depth + 1)
      : putAnyValue(wire, events, innerEnd, depth + 1);
    if (inner > deepest) deepest = inner;
    checkSize(text);
  }
  putByte(text, isMap ? CLOSE_BRACE : CLOSE_BRACKET);
  return deepest + 1;
}

/** Writes the attribute at the cursor behind those before it; `closeAttributes` follows. */
export function addAttribute(wire: Wire, events: OtlpEvents, attributes: Attributes): void {
  const { text } = events;
  if (attributes.object.start < 0) openAttributes(attributes, text);
  nextAttribute(attributes, text);
  const { length: start } = text;
  const depth = putKeyValue(wire, events, endOfSized(wire), 0);
  if (depth > attributes.depth) attributes.depth = depth;
  noteAttribute(attributes, text, start, events.keyEnd);
  checkSize(text);
}

const KEY = sized(1);
const VALUE = sized(2);

/** Writes a key and a value as a member, whose key ends at `keyEnd` then. */
function putKeyValue(wire: Wire, events: OtlpEvents, end: number, depth: number): number {
  const { text } = events;
  const { length: start } = text;
  let keyStart = -1;
  let keyEnd = -1;
  let valueStart = -1;
  let valueEnd = -1;
  let deepest = 0;
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    const { length: at } = text;
    if (tag === KEY) {
      putText(wire, text);
      keyStart = at;
      keyEnd = text.length;
      putByte(text, COLON);
    } else if (tag === VALUE) {
      deepest = putAnyValue(wire, events, endOfSized(wire), depth);
      valueStart = at;
      valueEnd = text.length;
    } else skipField(wire, tag);
  }
  const isInPlace = keyStart === start && valueStart === keyEnd + 1 && valueEnd === text.length;
  events.keyEnd = isInPlace ? keyEnd : arrangeMember(text, start, { keyStart, keyEnd, valueStart, valueEnd });
  return deepest;
}

/** Writes the text at the cursor, which moves behind it. */
export function putText(wire: Wire, text: JsonText): void {
  const { bytes, reader } = wire;
  const end = endOfSized(wire);
  const { pos: start } = reader;
  reader.pos = end;
  const to = reserve(text, end - start + 2);
  let length = text.length;
  let isAscii = true;
  to[length++] = QUOTE;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte < SPACE || byte === QUOTE || byte === BACKSLASH) return putEscaped(wire, text, start, end);
    if (byte > LAST_OF_ASCII) isAscii = false;
    to[length++] = byte;
  }
  if (!isAscii && !isUtf8(bytes.subarray(start, end))) return putEscaped(wire, text, start, end);
  to[length++] = QUOTE;
  text.length = length;
}

function putEscaped({ bytes }: Wire, text: JsonText, start: number, end: number): void {
  putRaw(text, rawStringOf(bytes.toString('utf8', start, end)));
}

/** Larger numbers than this have more than seven bytes, and JavaScript does not have all of them. */
const EXACT_BYTES = 7;

function putInteger({ reader, bytes }: Wire, text: JsonText): void {
  const { pos } = reader;
  let value = 0;
  let factor = 1;
  for (let at = pos; at < pos + EXACT_BYTES && at < bytes.length; at += 1) {
    const byte = bytes[at]!;
    value += (byte % MORE) * factor;
    factor *= MORE;
    if (byte >= MORE) continue;
    reader.pos = at + 1;
    return putRaw(text, String(value));
  }
  putRaw(text, String(reader.int64()));
}

const MORE = 0x80;
const LAST_OF_ASCII = 0x7f;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
