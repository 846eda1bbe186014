/**
 * What becomes of a request in OTLP/JSON, in plain steps: each part of it is looked up in its raw text, and every event
 * is a raw object. For valid JSON only.
 */
import { membersOf } from '../../src/event/extras.ts';
import { enter, nextElement, scannerOf, scanValue } from '../../src/event/json.ts';
import { rawStringOf, stringOf } from '../../src/event/raw-json.ts';

/** Raw keys and raw values. */
type Members = readonly (readonly [rawKey: string, raw: string])[];

/** The flat events of a request, raw. */
export function otlpEventsOf(request: string): readonly string[] {
  return listsIn(request, 'resourceLogs').flatMap((resourceLogs) => {
    const attributes = attributesOf(lastIn(resourceLogs, 'resource'));
    const ofResource: Members = [
      ...given('resource', attributes.length > 0 ? objectOf(attributes) : null),
      ...given('service', found(attributes, 'service.name')),
      ...given('env', found(attributes, 'deployment.environment.name', 'deployment.environment')),
      ...given('resource_schema_url', wordsOf(lastIn(resourceLogs, 'schemaUrl'))),
    ];
    return listsIn(resourceLogs, 'scopeLogs').flatMap((scopeLogs) => {
      const ofScope = [
        ...given('scope', scopeOf(lastIn(scopeLogs, 'scope'))),
        ...given('scope_schema_url', wordsOf(lastIn(scopeLogs, 'schemaUrl'))),
      ];
      return listsIn(scopeLogs, 'logRecords').map((record) =>
        record[0] === '{' ? objectOf([...ofResource, ...ofScope, ...recordOf(record, attributes)]) : 'null',
      );
    });
  });
}

const LEVELS = ['"trace"', '"debug"', '"info"', '"warn"', '"error"', '"fatal"'];

function recordOf(record: string, ofResource: Members): Members {
  const attributes = attributesOf(record);
  const body = lastIn(record, 'body');
  const rawBody = body === null ? 'null' : valueOf(body);
  const time = nanosOf(lastIn(record, 'timeUnixNano'));
  const observed = nanosOf(lastIn(record, 'observedTimeUnixNano'));
  const severity = Number(integerOf(lastIn(record, 'severityNumber')) ?? 0);
  const level = severity >= 1 && severity <= 24 ? LEVELS[Math.floor((severity - 1) / 4)]! : null;
  const isTaken = rawBody !== 'null' && attributes.some(([key]) => key === '"body"');
  const said = (...names: string[]) => found(attributes, ...names) ?? found(ofResource, ...names);
  const properties: Members = rawBody === 'null' || isTaken ? attributes : [...attributes, ['"body"', rawBody]];
  return [
    ...membersIn(record).flatMap(([key, raw]) => strayOf(key, raw)),
    ...given('severity_number', severity === 0 ? null : String(severity)),
    ...given('level', level),
    ...given('observed_time', observed === null ? null : `"${instantOf(observed)}"`),
    ...given('body', isTaken ? rawBody : null),
    ...given('weir:event', wordsOf(lastIn(record, 'eventName')) ?? found(attributes, 'event.name')),
    ...given('weir:timeUnixNano', time ?? observed),
    ...given('weir:user_id', said('user.id', 'enduser.id')),
    ...given('weir:anonymous_id', said('device.id', 'app.installation.id', 'client.id')),
    ...given('weir:session_id', said('session.id')),
    ...given('weir:event_id', found(attributes, 'log.record.uid')),
    ...given('weir:properties', objectOf(properties)),
  ];
}

function strayOf(key: string, raw: string): Members {
  switch (key) {
    case '"severityText"':
      return given('severity_text', wordsOf(raw));
    case '"traceId"':
      return given('trace_id', hexOf(raw));
    case '"spanId"':
      return given('span_id', hexOf(raw));
    case '"flags"':
      return given('flags', countOf(raw));
    case '"droppedAttributesCount"':
      return given('dropped_attributes_count', countOf(raw));
    default:
      return [];
  }
}

function scopeOf(scope: string | null): string | null {
  const own = membersIn(scope).flatMap(([key, raw]) =>
    key === '"name"' || key === '"version"' ? given(stringOf(key), wordsOf(raw)) : [],
  );
  const attributes = attributesOf(scope);
  const all = [...own, ...given('attributes', attributes.length > 0 ? objectOf(attributes) : null)];
  return all.length > 0 ? objectOf(all) : null;
}

const attributesOf = (owner: string | null): Members => {
  const raw = lastIn(owner, 'attributes');
  return raw?.[0] === '[' ? elementsOf(raw).map((element) => keyValueOf(element, 0)) : [];
};

function keyValueOf(raw: string, depth: number): readonly [string, string] {
  const keys = membersIn(raw).flatMap(([key, inner]) => (key === '"key"' ? (textOf(inner) ?? []) : []));
  const value = lastIn(raw, 'value');
  return [keys.at(-1) ?? '""', value === null ? 'null' : valueOf(value, depth)];
}

const MAX_DEPTH = 64;

function valueOf(raw: string, depth: number = 0): string {
  if (raw[0] === '{' && depth > MAX_DEPTH) return '['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1);
  return membersIn(raw).reduce((before, [key, inner]) => kindOf(key, inner, depth) ?? before, 'null');
}

function kindOf(key: string, raw: string, depth: number): string | null {
  switch (key) {
    case '"stringValue"':
      return textOf(raw);
    case '"boolValue"':
      return raw === 'true' || raw === 'false' ? raw : null;
    case '"intValue"':
      return integerOf(raw);
    case '"doubleValue"':
      return doubleOf(raw);
    case '"bytesValue"':
      return raw[0] === '"' ? `"${Buffer.from(stringOf(raw), 'base64').toString('base64')}"` : null;
    case '"arrayValue"':
      return raw[0] === '{'
        ? `[${listsIn(raw, 'values')
            .map((one) => valueOf(one, depth + 1))
            .join(',')}]`
        : null;
    case '"kvlistValue"':
      return raw[0] === '{' ? objectOf(listsIn(raw, 'values').map((one) => keyValueOf(one, depth + 1))) : null;
    default:
      return null;
  }
}

/** The value of the last of these attributes, of the first name that has one. */
function found(attributes: Members, ...names: readonly string[]): string | null {
  for (const name of names) {
    const raw = attributes.findLast(([key]) => key === rawStringOf(name))?.[1];
    if (raw !== undefined && raw !== 'null') return raw;
  }
  return null;
}

const given = (name: string, raw: string | null): Members => (raw === null ? [] : [[rawStringOf(name), raw]]);
const objectOf = (members: Members): string => `{${members.map(([key, raw]) => `${key}:${raw}`).join(',')}}`;

const membersIn = (raw: string | null): Members =>
  raw?.[0] === '{' ? Array.from(membersOf(raw), ({ key, value }) => [key, value]) : [];
const lastIn = (raw: string | null, name: string): string | null =>
  membersIn(raw).findLast(([key]) => key === `"${name}"`)?.[1] ?? null;

/** The elements of all lists of that name. */
const listsIn = (raw: string, name: string): readonly string[] =>
  membersIn(raw).flatMap(([key, value]) => (key === `"${name}"` && value[0] === '[' ? elementsOf(value) : []));

function elementsOf(raw: string): readonly string[] {
  const scanner = scannerOf(raw);
  const elements: string[] = [];
  enter(scanner);
  while (nextElement(scanner)) {
    const { at } = scanner;
    scanValue(scanner);
    elements.push(raw.slice(at, scanner.at));
  }
  return elements;
}

const textOf = (raw: string): string | null => (raw[0] === '"' ? rawStringOf(stringOf(raw)) : null);

function wordsOf(raw: string | null): string | null {
  const text = raw === null ? null : textOf(raw);
  return text === '""' ? null : text;
}

function integerOf(raw: string | null): string | null {
  const [, sign, digits] = /^"?(-?)(\d{1,20})"?$/.exec(raw ?? '') ?? [];
  return digits === undefined ? null : sign! + digits.replace(/^0+(?=\d)/, '');
}

function countOf(raw: string): string | null {
  const digits = integerOf(raw);
  return digits === '0' ? null : digits;
}

function nanosOf(raw: string | null): string | null {
  const digits = integerOf(raw);
  return digits === '0' || digits?.startsWith('-') ? null : digits;
}

const hexOf = (raw: string): string | null => (/^"[\da-f]+"$/i.test(raw) ? raw.toLowerCase() : null);

function doubleOf(raw: string): string | null {
  const words = raw[0] === '"' ? stringOf(raw) : raw;
  const value = Number(words);
  if (words.trim() === '' || (Number.isNaN(value) && words !== 'NaN')) return null;
  return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
}

function instantOf(nanos: string): string {
  const seconds = Number(nanos.slice(0, -9));
  if (seconds > 253_402_300_799) return nanos;
  return `${new Date(seconds * 1_000).toISOString().slice(0, 19)}.${nanos.slice(-9).padStart(9, '0')}Z`;
}
