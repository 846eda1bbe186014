/** Reads OTLP/JSON: in one scan, which writes the values of the records in the one spelling that protobuf has as well. */
import { isUtf8 } from 'node:buffer';
import { type BodyProblem, jsonProblem, type ScannedEvents } from '../../../../event/envelope.ts';
import { createScanner, enter, isAtArray, isAtObject, nextElement, nextKey } from '../../../../event/json.ts';
import { scanValue, type Scanner } from '../../../../event/json.ts';
import { putRaw, rawPart } from '../../../../event/json-text.ts';
import { createNameFinder } from '../../../../event/names.ts';
import type { Steps } from '../../../../event/steps.ts';
import { type Attributes, createAttributes, nowhere, type Place, resetAttributes, setPlace } from './attributes.ts';
import {
  addNoRecord,
  addValue,
  checkSize,
  closeRecord,
  createOtlpEvents,
  endsStep,
  finishEvents,
  openRecord,
  type OtlpEvents,
  Refused,
} from './events.ts';
import { putDigits, putText, takeRaw } from './json-scalars.ts';
import { putAnyValue, putAttributes } from './json-values.ts';
import { KEYS, putKey } from './members.ts';
import { EXACT_DIGITS, putRounded } from './numbers.ts';
import { membersAt } from './outline.ts';
import { closeResource, closeScope, openResource, openScope } from './resources.ts';

/** The records of a request, as events that the format of OTLP reads. */
export function* readOtlpJson(body: Buffer, maxEvents: number = Infinity): Steps<ScannedEvents | BodyProblem> {
  try {
    return yield* readRequest(body, maxEvents);
  } catch (error) {
    if (error instanceof Refused) return error.problem;
    throw error;
  }
}

function* readRequest(body: Buffer, maxEvents: number): Steps<ScannedEvents | BodyProblem> {
  const bytes = isUtf8(body) ? body : Buffer.from(body.toString('utf8'));
  const scanner = createScanner(bytes);
  const events = createOtlpEvents(bytes, maxEvents);
  if (scanner.at === bytes.length) return finishEvents(events);
  const isRequest = isAtObject(scanner);
  for (const key of membersAt(scanner)) {
    if (key !== '"resourceLogs"' || !isAtArray(scanner)) scanValue(scanner);
    else {
      enter(scanner);
      while (hasElement(scanner)) {
        yield* readResource(scanner, events);
        if (endsStep(events, scanner.at)) yield;
      }
    }
  }
  return jsonProblem(scanner) ?? (isRequest ? finishEvents(events) : NO_REQUEST);
}

const NO_REQUEST: BodyProblem = {
  ok: false,
  code: 'invalid_envelope',
  message: 'the body must be an object with "resourceLogs"',
};

function* readResource(scanner: Scanner, events: OtlpEvents): Steps<void> {
  let hasUnreadable = false;
  openResource(events);
  for (const key of membersAt(scanner)) {
    if (key === '"scopeLogs"' && isAtArray(scanner)) {
      enter(scanner);
      while (hasElement(scanner)) {
        yield* readScope(scanner, events);
        if (endsStep(events, scanner.at)) yield;
      }
    } else if (key === '"resource"') {
      events.hasUnreadable = false;
      readAttributesOf(scanner, events, events.resource, null);
      ({ hasUnreadable } = events);
    } else if (key === '"schemaUrl"') readWords(scanner, events, events.resourceSchema);
    else scanValue(scanner);
  }
  if (scanner.problem === null) yield* closeResource(events, hasUnreadable);
}

function* readScope(scanner: Scanner, events: OtlpEvents): Steps<void> {
  const scope = openScope(events);
  const attributes = createAttributes();
  const schema = nowhere();
  let own: string[] = [];
  for (const key of membersAt(scanner)) {
    if (key === '"logRecords"' && isAtArray(scanner)) {
      enter(scanner);
      while (hasElement(scanner)) {
        readRecord(scanner, events);
        checkSize(events.text);
        if (endsStep(events, scanner.at)) yield;
      }
    } else if (key === '"scope"') {
      own = [];
      events.hasUnreadable = false;
      readAttributesOf(scanner, events, attributes, own);
      scope.hasUnreadable = events.hasUnreadable;
    } else if (key === '"schemaUrl"') readWords(scanner, events, schema);
    else scanValue(scanner);
  }
  closeScope(events, scope, { own, attributes, schema });
}

/** The attributes of a resource or a scope. `own`: where raw members of a scope's name and version go; null for none. */
function readAttributesOf(scanner: Scanner, events: OtlpEvents, attributes: Attributes, own: string[] | null): void {
  const { text } = events;
  const words = nowhere();
  resetAttributes(attributes);
  for (const key of membersAt(scanner)) {
    if (key === '"attributes"') putAttributes(scanner, events, attributes);
    else if (own === null || (key !== '"name"' && key !== '"version"')) scanValue(scanner);
    else {
      readWords(scanner, events, words);
      if (words.start >= 0) own.push(`${key}:${rawPart(text, words.start, words.end)}`);
    }
  }
}

const hasElement = (scanner: Scanner): boolean => scanner.problem === null && nextElement(scanner);

const MEMBERS = [
  'timeUnixNano',
  'observedTimeUnixNano',
  'severityNumber',
  'severityText',
  'body',
  'eventName',
  'attributes',
  'droppedAttributesCount',
  'flags',
  'traceId',
  'spanId',
] as const;
const findMember = createNameFinder(MEMBERS);

/** The record at the cursor, which moves behind it. */
function readRecord(scanner: Scanner, events: OtlpEvents): void {
  if (!isAtObject(scanner)) {
    scanValue(scanner);
    return addNoRecord(events);
  }
  openRecord(events);
  enter(scanner);
  while (scanner.problem === null && nextKey(scanner)) {
    const member = findMember(scanner.bytes, scanner.keyStart + 1, scanner.keyEnd - 1);
    if (member < 0) scanValue(scanner);
    else readMember(scanner, events, MEMBERS[member]!);
  }
  closeRecord(events);
}

function readMember(scanner: Scanner, events: OtlpEvents, member: (typeof MEMBERS)[number]): void {
  const { record, text } = events;
  const { length: start } = text;
  switch (member) {
    case 'timeUnixNano':
      return readNanos(scanner, events, record.time);
    case 'observedTimeUnixNano':
      return readNanos(scanner, events, record.observed);
    case 'severityNumber':
      return readSeverity(scanner, events);
    case 'severityText':
      return addWords(scanner, events, KEYS.severityText);
    case 'body':
      record.bodyDepth = putAnyValue(scanner, events, 0);
      return setPlace(record.body, start, text.length);
    case 'eventName':
      return readWords(scanner, events, record.name);
    case 'attributes':
      return putAttributes(scanner, events, record.attributes);
    case 'droppedAttributesCount':
      return addCount(scanner, events, KEYS.droppedAttributes);
    case 'flags':
      return addCount(scanner, events, KEYS.flags);
    case 'traceId':
      return addHex(scanner, events, KEYS.traceId);
    case 'spanId':
      return addHex(scanner, events, KEYS.spanId);
  }
}

/** Writes the text at the cursor, unless it is empty. */
function readWords(scanner: Scanner, events: OtlpEvents, place: Place): void {
  const { text } = events;
  const { length: start } = text;
  const isText = putText(scanner, text) && text.length > start + 2;
  setPlace(place, isText ? start : -1, text.length);
}

/** Writes digits of nanoseconds; 0 stands for none. */
function readNanos(scanner: Scanner, events: OtlpEvents, place: Place): void {
  const { text } = events;
  const { length: start } = text;
  const first = putDigits(scanner, events) ? text.bytes[start]! : ZERO;
  setPlace(place, first > ZERO ? start : -1, text.length);
}

/** Writes the number of a severity; 0 stands for none. */
function readSeverity(scanner: Scanner, events: OtlpEvents): void {
  const { record, text } = events;
  const { length: start } = text;
  if (!putDigits(scanner, events)) return setPlace(record.severity, -1, -1);
  if (text.length - start > EXACT_DIGITS) putRounded(events, start);
  const isZero = text.bytes[start] === ZERO || (text.bytes[start] === MINUS && text.bytes[start + 1] === ZERO);
  setPlace(record.severity, isZero ? -1 : start, text.length);
}

function addWords(scanner: Scanner, events: OtlpEvents, key: number): void {
  const { text } = events;
  const start = putKey(text, key);
  if (putText(scanner, text) && text.length > start + 2) addValue(events, key, start, text.length);
}

function addCount(scanner: Scanner, events: OtlpEvents, key: number): void {
  const { text } = events;
  const start = putKey(text, key);
  if (putDigits(scanner, events) && text.bytes[start] !== ZERO) addValue(events, key, start, text.length);
}

function addHex(scanner: Scanner, events: OtlpEvents, key: number): void {
  const { text } = events;
  const start = putKey(text, key);
  const raw = takeRaw(scanner);
  if (!HEX.test(raw)) return;
  putRaw(text, raw.toLowerCase());
  addValue(events, key, start, text.length);
}

const HEX = /^"[\da-f]+"$/i;
const MINUS = 0x2d;
const ZERO = 0x30;
