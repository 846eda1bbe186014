/** Reads OTLP's protobuf: the values of the records are written as those of OTLP/JSON are. */
import type { BodyProblem, ScannedEvents } from '../../../../event/envelope.ts';
import { putRaw, rawPart } from '../../../../event/json-text.ts';
import type { Steps } from '../../../../event/steps.ts';
import {
  type Attributes,
  closeAttributes,
  createAttributes,
  nowhere,
  type Place,
  resetAttributes,
  setPlace,
} from './attributes.ts';
import {
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
import { KEYS, putKey } from './members.ts';
import { addAttribute, putAnyValue, putText } from './protobuf-values.ts';
import { closeResource, closeScope, openResource, openScope } from './resources.ts';
import { bits32, bits64, createWire, END, endOfSized, nextField, sized, skipField, varint, type Wire } from './wire.ts';

/** The records of a request, as events that the format of OTLP reads. */
export function* readOtlpProtobuf(body: Buffer, maxEvents: number = Infinity): Steps<ScannedEvents | BodyProblem> {
  try {
    return yield* readRequest(createWire(body), createOtlpEvents(body, maxEvents));
  } catch (error) {
    if (error instanceof Refused) return error.problem;
    return { ok: false, code: 'invalid_envelope', message: 'the body is no ExportLogsServiceRequest' };
  }
}

const RESOURCE_LOGS = sized(1);

function* readRequest(wire: Wire, events: OtlpEvents): Steps<ScannedEvents | BodyProblem> {
  const { length: end } = wire.bytes;
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    if (tag !== RESOURCE_LOGS) {
      skipField(wire, tag);
      continue;
    }
    yield* readResource(wire, events, endOfSized(wire));
    if (endsStep(events, wire.reader.pos)) yield;
  }
  return finishEvents(events);
}

const RESOURCE = sized(1);
const SCOPE_LOGS = sized(2);
const SCHEMA_URL = sized(3);

function* readResource(wire: Wire, events: OtlpEvents, end: number): Steps<void> {
  let hasUnreadable = false;
  openResource(events);
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    if (tag === RESOURCE) {
      events.hasUnreadable = false;
      readAttributes(wire, events, events.resource, endOfSized(wire));
      ({ hasUnreadable } = events);
    } else if (tag === SCOPE_LOGS) {
      yield* readScope(wire, events, endOfSized(wire));
      if (endsStep(events, wire.reader.pos)) yield;
    } else if (tag === SCHEMA_URL) readWords(wire, events, events.resourceSchema);
    else skipField(wire, tag);
  }
  yield* closeResource(events, hasUnreadable);
}

const RESOURCE_ATTRIBUTES = sized(1);

function readAttributes(wire: Wire, events: OtlpEvents, attributes: Attributes, end: number): void {
  noteFields(wire, events, { attributes, tag: RESOURCE_ATTRIBUTES, end });
}

/** The last field of the message that has the most; so few places need no index. */
const LAST_FIELD = sized(12);

/** Where the last value of a field is; the fields are in the order of their first ones. */
const tags: number[] = [];
const places: number[] = [];

/**
 * Writes the attributes of a message and notes the places of its other fields, since nothing may be written between
 * attributes. What is there twice counts where it was last.
 */
function noteFields(
  wire: Wire,
  events: OtlpEvents,
  { attributes, tag: attribute, end }: { attributes: Attributes; tag: number; end: number },
): void {
  tags.length = 0;
  places.length = 0;
  resetAttributes(attributes);
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    if (tag === attribute) {
      addAttribute(wire, events, attributes);
      continue;
    }
    if (tag <= LAST_FIELD) {
      const index = tags.indexOf(tag);
      if (index < 0) tags.push(tag);
      places[index < 0 ? tags.length - 1 : index] = wire.reader.pos;
    }
    skipField(wire, tag);
  }
  if (attributes.object.start >= 0) closeAttributes(attributes, events.text);
}

const SCOPE = sized(1);
const LOG_RECORD = sized(2);

function* readScope(wire: Wire, events: OtlpEvents, end: number): Steps<void> {
  const scope = openScope(events);
  const attributes = createAttributes();
  const schema = nowhere();
  let own: readonly string[] = [];
  for (let tag = nextField(wire, end); tag !== END; tag = nextField(wire, end)) {
    if (tag === LOG_RECORD) {
      readRecord(wire, events, endOfSized(wire));
      checkSize(events.text);
      if (endsStep(events, wire.reader.pos)) yield;
    } else if (tag === SCOPE) {
      events.hasUnreadable = false;
      own = readOwnScope(wire, events, attributes, endOfSized(wire));
      scope.hasUnreadable = events.hasUnreadable;
    } else if (tag === SCHEMA_URL) readWords(wire, events, schema);
    else skipField(wire, tag);
  }
  closeScope(events, scope, { own, attributes, schema });
}

const SCOPE_NAME = sized(1);
const SCOPE_VERSION = sized(2);
const SCOPE_ATTRIBUTES = sized(3);

/** The raw members of a scope that are no attributes. */
function readOwnScope(wire: Wire, events: OtlpEvents, attributes: Attributes, end: number): readonly string[] {
  const own: string[] = [];
  const words = nowhere();
  noteFields(wire, events, { attributes, tag: SCOPE_ATTRIBUTES, end });
  for (const [index, tag] of tags.entries()) {
    if (tag !== SCOPE_NAME && tag !== SCOPE_VERSION) continue;
    wire.reader.pos = places[index]!;
    readWords(wire, events, words);
    if (words.start >= 0) {
      own.push(`"${tag === SCOPE_NAME ? 'name' : 'version'}":${rawPart(events.text, words.start, words.end)}`);
    }
  }
  wire.reader.pos = end;
  return own;
}

const TIME = bits64(1);
const SEVERITY_NUMBER = varint(2);
const SEVERITY_TEXT = sized(3);
const BODY = sized(5);
const ATTRIBUTES = sized(6);
const DROPPED_ATTRIBUTES = varint(7);
const FLAGS = bits32(8);
const TRACE_ID = sized(9);
const SPAN_ID = sized(10);
const OBSERVED_TIME = bits64(11);
const EVENT_NAME = LAST_FIELD;

/** The record at the cursor, which moves behind it. */
function readRecord(wire: Wire, events: OtlpEvents, end: number): void {
  openRecord(events);
  noteFields(wire, events, { attributes: events.record.attributes, tag: ATTRIBUTES, end });
  for (let index = 0; index < tags.length; index += 1) {
    wire.reader.pos = places[index]!;
    readField(wire, events, tags[index]!);
  }
  wire.reader.pos = end;
  closeRecord(events);
}

function readField(wire: Wire, events: OtlpEvents, tag: number): void {
  const { record, text } = events;
  const { reader } = wire;
  const { length: start } = text;
  switch (tag) {
    case TIME:
      return readNanos(wire, events, record.time);
    case OBSERVED_TIME:
      return readNanos(wire, events, record.observed);
    case SEVERITY_NUMBER:
      putRaw(text, String(reader.uint32()));
      return setPlace(record.severity, text.bytes[start] === ZERO ? -1 : start, text.length);
    case SEVERITY_TEXT:
      return addWords(wire, events, KEYS.severityText);
    case BODY:
      record.bodyDepth = putAnyValue(wire, events, endOfSized(wire), 0);
      return setPlace(record.body, start, text.length);
    case EVENT_NAME:
      return readWords(wire, events, record.name);
    case DROPPED_ATTRIBUTES:
      return addCount(events, KEYS.droppedAttributes, reader.uint32());
    case FLAGS:
      return addCount(events, KEYS.flags, reader.fixed32());
    case TRACE_ID:
      return addHex(wire, events, KEYS.traceId);
    case SPAN_ID:
      return addHex(wire, events, KEYS.spanId);
  }
}

/** Writes the text at the cursor, unless it is empty. */
function readWords(wire: Wire, { text }: OtlpEvents, place: Place): void {
  const { length: start } = text;
  putText(wire, text);
  setPlace(place, text.length > start + 2 ? start : -1, text.length);
}

/** Writes digits of nanoseconds; 0 stands for none. */
function readNanos({ reader }: Wire, { text }: OtlpEvents, place: Place): void {
  const { length: start } = text;
  putRaw(text, String(reader.fixed64()));
  setPlace(place, text.bytes[start] === ZERO ? -1 : start, text.length);
}

function addWords(wire: Wire, events: OtlpEvents, key: number): void {
  const { text } = events;
  const start = putKey(text, key);
  putText(wire, text);
  if (text.length > start + 2) addValue(events, key, start, text.length);
}

function addCount(events: OtlpEvents, key: number, count: number): void {
  const { text } = events;
  if (count === 0) return;
  const start = putKey(text, key);
  putRaw(text, String(count));
  addValue(events, key, start, text.length);
}

function addHex(wire: Wire, events: OtlpEvents, key: number): void {
  const { text } = events;
  const start = putKey(text, key);
  const end = endOfSized(wire);
  putRaw(text, `"${wire.bytes.toString('hex', wire.reader.pos, end)}"`);
  if (text.length > start + 2) addValue(events, key, start, text.length);
}

const ZERO = 0x30;
