/** The members of OTLP's events. */
import { type JsonText, putRange } from '../../../../event/json-text.ts';
import { addMember, type TapeWriter } from '../../../../event/tape-writer.ts';

/** Those that are columns or the properties: their values stand anywhere. */
const IN_COLUMNS = {
  event: 'weir:event',
  time: 'weir:timeUnixNano',
  user: 'weir:user_id',
  device: 'weir:anonymous_id',
  session: 'weir:session_id',
  recordId: 'weir:event_id',
  properties: 'weir:properties',
} as const;

/** Those that go to the extras: each stands behind its key, so that it can be taken over as it is. */
const IN_EXTRAS = {
  resource: 'resource',
  service: 'service',
  environment: 'env',
  resourceSchema: 'resource_schema_url',
  scope: 'scope',
  scopeSchema: 'scope_schema_url',
  severityText: 'severity_text',
  severityNumber: 'severity_number',
  level: 'level',
  observedTime: 'observed_time',
  traceId: 'trace_id',
  spanId: 'span_id',
  flags: 'flags',
  droppedAttributes: 'dropped_attributes_count',
  body: 'body',
} as const;

const NAMES = { ...IN_COLUMNS, ...IN_EXTRAS };
type Name = keyof typeof NAMES;

const RAW_KEYS = Object.values(NAMES).map((name) => `"${name}"`);
const COLUMNS = Object.keys(IN_COLUMNS).length;
const BEHIND_KEYS = RAW_KEYS.map((rawKey) => Buffer.from(`${rawKey}:`));
const LENGTHS = Int32Array.from(RAW_KEYS, ({ length }) => length);
const STARTS = LENGTHS.map((_, key) => RAW_KEYS.slice(0, key).join('').length);

/** The number of each key. */
export const KEYS = Object.fromEntries(Object.keys(NAMES).map((name, index) => [name, index])) as Readonly<
  Record<Name, number>
>;

/** How every text begins: with the keys of columns, and an empty object. */
export const PRELUDE = `${RAW_KEYS.slice(0, COLUMNS).join('')}{}`;
export const EMPTY_OBJECT = { start: PRELUDE.length - 2, end: PRELUDE.length } as const;

/** Writes the key of a member of the extras, whose value must follow; returns where that begins. */
export function putKey(text: JsonText, key: number): number {
  const bytes = BEHIND_KEYS[key]!;
  putRange(text, bytes, 0, bytes.length);
  return text.length;
}

/** Adds a member to an event of the text that begins with `PRELUDE`; one of the extras stands behind its key. */
export function addKeyed(tape: TapeWriter, key: number, start: number, end: number): void {
  const keyStart = key < COLUMNS ? STARTS[key]! : start - 1 - LENGTHS[key]!;
  addMember(tape, keyStart, keyStart + LENGTHS[key]!, start, end);
}

/** OTLP's twenty-four levels in the words of loggers. */
const LEVELS = ['"trace"', '"debug"', '"info"', '"warn"', '"error"', '"fatal"'];

/** The level of a severity, raw; null where it has none. */
export function levelOf(severity: number): string | null {
  return severity < 1 || severity > 24 ? null : LEVELS[Math.floor((severity - 1) / 4)]!;
}
