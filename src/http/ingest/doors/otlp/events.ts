/**
 * Flat events of OTLP's records, each with what its scope and its resource say of it. All values stand in one text, and
 * what many events share stands there once. A resource may follow its records: until then they wait as a few numbers.
 */
import { type BodyProblem, type ScannedEvents, TOO_MANY_EVENTS } from '../../../../event/envelope.ts';
import { createJsonText, type JsonText, putByte, putRange, putRaw } from '../../../../event/json-text.ts';
import { withRoomFor } from '../../../../event/json-tape.ts';
import { MAX_REWRITTEN_BYTES, TOO_MUCH } from '../../../../event/rewriting.ts';
import { BYTES_A_STEP } from '../../../../event/steps.ts';
import { createTapeWriter, finishTape, type TapeWriter } from '../../../../event/tape-writer.ts';
import {
  type Attributes,
  createAttributes,
  isSaid,
  NULL,
  nowhere,
  type Place,
  resetAttributes,
  type Said,
  setPlace,
  whereSaid,
} from './attributes.ts';
import { valueOfDigits, putInstant } from './numbers.ts';
import { EMPTY_OBJECT, KEYS, levelOf, PRELUDE, putKey } from './members.ts';

/** A record as far as it is read. Times are digits of nanoseconds; what is absent or says nothing is nowhere. */
export type OtlpRecord = {
  readonly attributes: Attributes;
  readonly body: Place;
  bodyDepth: number;
  readonly time: Place;
  readonly observed: Place;
  readonly name: Place;
  readonly severity: Place;
};

/** What a resource or a scope says of its records: keys, and where the values begin and end. */
export type Origin = { readonly members: number[]; depth: number; hasUnreadable: boolean };

export type OtlpEvents = {
  /** The request. */
  readonly body: DataView;
  readonly text: JsonText;
  readonly tape: TapeWriter;
  readonly record: OtlpRecord;
  /** Whether something was written that ClickHouse cannot read, since this was last set to false. */
  hasUnreadable: boolean;
  /** Where the key ends of the attribute that was written last. */
  keyEnd: number;
  readonly resource: Attributes;
  readonly resourceSchema: Place;
  /** Of the resource that is being read. */
  scopes: Origin[];
  /** Of each of its records: where the next one begins, the scope, the depth, if it is unreadable, and its members. */
  waiting: Int32Array;
  waitingLength: number;
  /** Where the record that is being read begins among them. */
  head: number;
  /** The place in the request where the step ends. */
  stepEnd: number;
  /** How many records there are so far, and how many there may be. */
  recordCount: number;
  readonly maxRecords: number;
  /** How many resources and scopes there are so far. */
  originCount: number;
};

/** A request is refused as a whole. Thrown, as it is found amidst values. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly problem: BodyProblem;

  constructor(problem: BodyProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Refuses a request of which too much is written: two bytes may become eight. */
export function checkSize({ length }: JsonText): void {
  if (length > MAX_REWRITTEN_BYTES) throw new Refused(TOO_MUCH);
}

/** Each resource and each scope has at least one record where an exporter sends it; empty ones cost two bytes. */
const MAX_ORIGINS = 200_000;
const TOO_MANY_ORIGINS: BodyProblem = {
  ok: false,
  code: 'body_too_large',
  message: `more than ${MAX_ORIGINS} resources and scopes; send them in parts`,
};

/** Counts one more resource or scope. */
export function countOrigin(events: OtlpEvents): void {
  events.originCount += 1;
  if (events.originCount > MAX_ORIGINS) throw new Refused(TOO_MANY_ORIGINS);
}

function countRecord(events: OtlpEvents): void {
  events.recordCount += 1;
  if (events.recordCount > events.maxRecords) throw new Refused(TOO_MANY_EVENTS);
}

export const HEAD_NUMBERS = 4;
/** The depth of a record that is no object. */
export const NO_OBJECT = -1;

/** What few records take is written without growing. */
const SPARE_BYTES = 1_024;

export function createOtlpEvents(body: Buffer, maxRecords: number): OtlpEvents {
  const { length: bodyBytes } = body;
  const text = createJsonText(bodyBytes + PRELUDE.length + SPARE_BYTES);
  putRaw(text, PRELUDE);
  return {
    body: new DataView(body.buffer, body.byteOffset, bodyBytes),
    text,
    tape: createTapeWriter(text, bodyBytes >> 3),
    record: {
      attributes: createAttributes(),
      body: nowhere(),
      bodyDepth: 0,
      time: nowhere(),
      observed: nowhere(),
      name: nowhere(),
      severity: nowhere(),
    },
    hasUnreadable: false,
    keyEnd: 0,
    resource: createAttributes(),
    resourceSchema: nowhere(),
    scopes: [],
    waiting: new Int32Array(64 + (bodyBytes >> 4)),
    waitingLength: 0,
    head: 0,
    stepEnd: BYTES_A_STEP,
    recordCount: 0,
    maxRecords,
    originCount: 0,
  };
}

/** Whether a step ends at that place of the request; another begins then. */
export function endsStep(events: OtlpEvents, at: number): boolean {
  if (at < events.stepEnd) return false;
  events.stepEnd = at + BYTES_A_STEP;
  return true;
}

export const finishEvents = ({ tape }: OtlpEvents): ScannedEvents => finishTape(tape);

/** Begins a record; what it says is written and noted, then `closeRecord` follows. */
export function openRecord(events: OtlpEvents): void {
  countRecord(events);
  const { record } = events;
  events.head = events.waitingLength;
  events.waitingLength += HEAD_NUMBERS;
  events.hasUnreadable = false;
  resetAttributes(record.attributes);
  setPlace(record.body, -1, -1);
  setPlace(record.time, -1, -1);
  setPlace(record.observed, -1, -1);
  setPlace(record.name, -1, -1);
  setPlace(record.severity, -1, -1);
}

export function closeRecord(events: OtlpEvents): void {
  const { text, record } = events;
  const { attributes, body, bodyDepth, time, observed, name, severity } = record;
  if (severity.start >= 0) addSeverity(events, severity);
  if (observed.start >= 0) {
    const start = putKey(text, KEYS.observedTime);
    putInstant(text, observed.start, observed.end);
    addValue(events, KEYS.observedTime, start, text.length);
  }
  const hasBody = body.start >= 0 && text.bytes[body.start] !== NULL;
  const isBodyTaken = hasBody && isSaid(attributes, 'body');
  if (isBodyTaken) addCopy(events, KEYS.body, body);
  if (name.start >= 0) addValue(events, KEYS.event, name.start, name.end);
  else addSaid(events, KEYS.event, 'event');
  const { start, end } = time.start >= 0 ? time : observed;
  if (start >= 0) addValue(events, KEYS.time, start, end);
  addPerson(events, KEYS.user, 'user');
  addPerson(events, KEYS.device, 'device');
  addPerson(events, KEYS.session, 'session');
  addSaid(events, KEYS.recordId, 'recordId');
  const isInProperties = hasBody && !isBodyTaken;
  const properties = isInProperties ? withBody(attributes, text, body) : attributes.object;
  if (properties.start >= 0) addValue(events, KEYS.properties, properties.start, properties.end);
  else addValue(events, KEYS.properties, EMPTY_OBJECT.start, EMPTY_OBJECT.end);
  const depth = hasBody ? bodyDepth + (isInProperties ? 1 : 0) : 0;
  setHead(events, Math.max(1, attributes.depth, depth), events.hasUnreadable);
}

/** A record that is no object. */
export function addNoRecord(events: OtlpEvents): void {
  countRecord(events);
  events.head = events.waitingLength;
  events.waitingLength += HEAD_NUMBERS;
  setHead(events, NO_OBJECT, false);
}

/** Notes a value of the record; one for the extras stands behind its key, as `putKey` has written it. */
export function addValue(events: OtlpEvents, key: number, start: number, end: number): void {
  const { waitingLength: at } = events;
  events.waitingLength += 3;
  const waiting = roomIn(events);
  waiting[at] = key;
  waiting[at + 1] = start;
  waiting[at + 2] = end;
}

function setHead(events: OtlpEvents, depth: number, hasUnreadable: boolean): void {
  const waiting = roomIn(events);
  const { head } = events;
  waiting[head] = events.waitingLength;
  waiting[head + 1] = events.scopes.length - 1;
  waiting[head + 2] = depth;
  waiting[head + 3] = hasUnreadable ? 1 : 0;
}

function roomIn(events: OtlpEvents): Int32Array {
  return (events.waiting = withRoomFor(events.waitingLength, events.waiting));
}

function addSeverity(events: OtlpEvents, severity: Place): void {
  const { text } = events;
  addCopy(events, KEYS.severityNumber, severity);
  const level = levelOf(valueOfDigits(text.bytes, severity.start, severity.end));
  if (level === null) return;
  const start = putKey(text, KEYS.level);
  putRaw(text, level);
  addValue(events, KEYS.level, start, text.length);
}

/** Notes a member of the extras whose value was written before its key. */
function addCopy(events: OtlpEvents, key: number, { start, end }: Place): void {
  const { text } = events;
  const at = putKey(text, key);
  putRange(text, text.bytes, start, end);
  addValue(events, key, at, text.length);
}

/** False where the record’s attributes do not say it. */
function addSaid(events: OtlpEvents, key: number, said: Said): boolean {
  const { attributes } = events.record;
  const at = whereSaid(attributes, said, events.text);
  if (at >= 0) addValue(events, key, attributes.values[at]!, attributes.values[at + 1]!);
  return at >= 0;
}

/** Whom the record does not name, its resource may name: a negative number keeps the place. */
function addPerson(events: OtlpEvents, key: number, said: Said): void {
  if (addSaid(events, key, said)) return;
  events.waitingLength += 1;
  roomIn(events)[events.waitingLength - 1] = ~key;
}

/** The attributes with the body as one more. */
function withBody({ object }: Attributes, text: JsonText, body: Place): Place {
  const { length: start } = text;
  if (object.start < 0) putByte(text, OPEN_BRACE);
  else {
    putRange(text, text.bytes, object.start, object.end - 1);
    putByte(text, COMMA);
  }
  putRaw(text, '"body":');
  putRange(text, text.bytes, body.start, body.end);
  putByte(text, CLOSE_BRACE);
  return { start, end: text.length };
}

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;
