/** OTLP/JSON → flat events: a record with what its scope and its resource say of it. */
import { isUtf8 } from 'node:buffer';
import { type BodyProblem, isBodyProblem, jsonProblem } from '../../../event/envelope.ts';
import { createScanner, enter, isAtObject, nextKey, type Scanner, scanValue } from '../../../event/json.ts';
import { MAX_REWRITTEN_BYTES, rawObjectOf, scanRewritten, TOO_MUCH } from '../../../event/rewriting.ts';
import { BYTES_A_STEP, type Steps } from '../../../event/steps.ts';
import type { Opened } from './door.ts';
import { membersAt, readOutline } from './otlp-outline.ts';
import { createRequestWalk } from './otlp-single.ts';
import {
  type Attributes,
  found,
  integerOf,
  objectOf,
  readAnyValue,
  readAttributes,
  takeRaw,
  textOf,
} from './otlp-values.ts';

/** What a resource or a scope says of all its records: `members` is raw, each with a comma behind it. */
type Origin = { readonly attributes: Attributes; readonly members: string };

/** The records of a request, as events that the format of OTLP reads; and each as a request of its own. */
export type OtlpRecords = Pick<Opened, 'events' | 'sent'>;

export function* readOtlpRecords(body: Buffer): Steps<OtlpRecords | BodyProblem> {
  const bytes = isUtf8(body) ? body : Buffer.from(body.toString('utf8'));
  const scanner = createScanner(bytes);
  if (scanner.at === bytes.length) return yield* scanned([]);
  const isRequest = isAtObject(scanner);
  const resources = yield* readOutline(scanner);
  const problem = jsonProblem(scanner);
  if (problem) return problem;
  if (!isRequest) return NO_REQUEST;

  const events: string[] = [];
  let byteCount = 0;
  let stepEnd = BYTES_A_STEP;
  for (const { at, schemaAt, scopes } of resources) {
    const resource = resourceAt(scanner, at, schemaAt);
    for (const { at: scopeAt, schemaAt: scopeSchemaAt, records } of scopes) {
      const origin = resource.members + scopeMembersAt(scanner, scopeAt, scopeSchemaAt);
      for (const record of records) {
        scanner.at = record;
        const event = isAtObject(scanner) ? flatRecord(scanner, resource.attributes, origin) : 'null';
        events.push(event);
        byteCount += event.length;
        if (byteCount > MAX_REWRITTEN_BYTES) return TOO_MUCH;
        if (byteCount < stepEnd) continue;
        stepEnd = byteCount + BYTES_A_STEP;
        yield;
      }
    }
  }
  return yield* scanned(events, createRequestWalk(scanner, resources));
}

function* scanned(events: readonly string[], sent: Opened['sent'] = () => null): Steps<OtlpRecords | BodyProblem> {
  const tape = yield* scanRewritten(events);
  return isBodyProblem(tape) ? tape : { events: tape, sent };
}

const NO_REQUEST: BodyProblem = {
  ok: false,
  code: 'invalid_envelope',
  message: 'the body must be an object with "resourceLogs"',
};

const ENVIRONMENTS = ['"deployment.environment.name"', '"deployment.environment"'];

function resourceAt(scanner: Scanner, at: number, schemaAt: number): Origin {
  let attributes: Attributes = [];
  for (const key of membersFrom(scanner, at)) {
    if (key === '"attributes"') attributes = readAttributes(scanner);
    else scanValue(scanner);
  }
  const members =
    member('resource', attributes.length === 0 ? null : objectOf(attributes)) +
    member('service', found(attributes, ['"service.name"'])) +
    member('env', found(attributes, ENVIRONMENTS)) +
    member('resource_schema_url', wordsAt(scanner, schemaAt));
  return { attributes, members };
}

function scopeMembersAt(scanner: Scanner, at: number, schemaAt: number): string {
  const own: [string, string][] = [];
  let attributes: Attributes = [];
  for (const key of membersFrom(scanner, at)) {
    if (key === '"attributes"') attributes = readAttributes(scanner);
    else if (key !== '"name"' && key !== '"version"') scanValue(scanner);
    else {
      const words = wordsOf(takeRaw(scanner));
      if (words !== null) own.push([key.slice(1, -1), words]);
    }
  }
  if (attributes.length > 0) own.push(['attributes', objectOf(attributes)]);
  const scope = own.length === 0 ? null : rawObjectOf(own);
  return member('scope', scope) + member('scope_schema_url', wordsAt(scanner, schemaAt));
}

function* membersFrom(scanner: Scanner, at: number): Generator<string> {
  if (at < 0) return;
  scanner.at = at;
  yield* membersAt(scanner);
}

function wordsAt(scanner: Scanner, at: number): string | null {
  if (at < 0) return null;
  scanner.at = at;
  return wordsOf(takeRaw(scanner));
}

/** A member with a comma behind it; nothing for null. */
const member = (name: string, raw: string | null): string => (raw === null ? '' : `"${name}":${raw},`);

const USERS = ['"user.id"', '"enduser.id"'];
const DEVICES = ['"device.id"', '"app.installation.id"', '"client.id"'];
const SESSIONS = ['"session.id"'];

/** The record at the cursor as an event. */
function flatRecord(scanner: Scanner, ofResource: Attributes, origin: string): string {
  let attributes: Attributes = [];
  let body = 'null';
  let time: string | null = null;
  let observed: string | null = null;
  let name: string | null = null;
  let severity = 0;
  let event = origin;
  enter(scanner);
  while (nextKey(scanner)) {
    switch (scanner.text.slice(scanner.keyStart, scanner.keyEnd)) {
      case '"attributes"':
        attributes = readAttributes(scanner);
        break;
      case '"body"':
        body = readAnyValue(scanner);
        break;
      case '"timeUnixNano"':
        time = nanosOf(takeRaw(scanner));
        break;
      case '"observedTimeUnixNano"':
        observed = nanosOf(takeRaw(scanner));
        break;
      case '"eventName"':
        name = wordsOf(takeRaw(scanner));
        break;
      case '"severityNumber"':
        severity = Number(integerOf(takeRaw(scanner)) ?? 0);
        break;
      case '"severityText"':
        event += member('severity_text', wordsOf(takeRaw(scanner)));
        break;
      case '"traceId"':
        event += member('trace_id', hexOf(takeRaw(scanner)));
        break;
      case '"spanId"':
        event += member('span_id', hexOf(takeRaw(scanner)));
        break;
      case '"flags"':
        event += member('flags', countOf(takeRaw(scanner)));
        break;
      case '"droppedAttributesCount"':
        event += member('dropped_attributes_count', countOf(takeRaw(scanner)));
        break;
      default:
        scanValue(scanner);
    }
  }
  if (severity !== 0) event += member('severity_number', String(severity)) + member('level', levelOf(severity));
  if (observed !== null) event += member('observed_time', `"${instantOf(observed)}"`);
  const isBodyTaken = body !== 'null' && attributes.some(([key]) => key === '"body"');
  if (isBodyTaken) event += member('body', body);
  const said = (keys: readonly string[]) => found(attributes, keys) ?? found(ofResource, keys);
  event +=
    member('weir:event', name ?? found(attributes, ['"event.name"'])) +
    member('weir:timeUnixNano', time ?? observed) +
    member('weir:user_id', said(USERS)) +
    member('weir:anonymous_id', said(DEVICES)) +
    member('weir:session_id', said(SESSIONS)) +
    member('weir:event_id', found(attributes, ['"log.record.uid"']));
  return `{${event}"weir:properties":${objectOf(attributes, body === 'null' || isBodyTaken ? '' : `"body":${body}`)}}`;
}

/** Digits of nanoseconds; null for none, which 0 stands for. */
function nanosOf(raw: string): string | null {
  const digits = integerOf(raw);
  return digits === null || digits === '0' || digits.startsWith('-') ? null : digits;
}

function wordsOf(raw: string): string | null {
  const text = textOf(raw);
  return text === '""' ? null : text;
}

function countOf(raw: string): string | null {
  const digits = integerOf(raw);
  return digits === '0' ? null : digits;
}

function hexOf(raw: string): string | null {
  return /^"[\da-f]+"$/i.test(raw) ? raw.toLowerCase() : null;
}

const LEVELS = ['"trace"', '"debug"', '"info"', '"warn"', '"error"', '"fatal"'];

/** OTLP's twenty-four levels in the words of loggers. */
function levelOf(severity: number): string | null {
  return severity < 1 || severity > 24 ? null : LEVELS[Math.floor((severity - 1) / 4)]!;
}

const NANO_DIGITS = 9;
const LATEST_SECOND = 253_402_300_799;

/** RFC 3339 with all nine digits; the digits alone behind the year 9999. */
function instantOf(nanos: string): string {
  const seconds = Number(nanos.slice(0, -NANO_DIGITS));
  if (seconds > LATEST_SECOND) return nanos;
  const fraction = nanos.slice(-NANO_DIGITS).padStart(NANO_DIGITS, '0');
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}.${fraction}Z`;
}
