/** OTLP's protobuf as OTLP/JSON: how rejected records of it are kept. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

type Scalar = 'string' | 'bytes' | 'hex' | 'bool' | 'int64' | 'uint32' | 'double' | 'fixed32' | 'fixed64';
type Field = { readonly name: string; readonly of: Scalar | (() => Message); readonly isRepeated?: boolean };
/** The fields of a message by their numbers. */
type Message = Readonly<Record<number, Field>>;

const field = (name: string, of: Field['of']): Field => ({ name, of });
const repeated = (name: string, of: Field['of']): Field => ({ name, of, isRepeated: true });

const ANY_VALUE: Message = {
  1: field('stringValue', 'string'),
  2: field('boolValue', 'bool'),
  3: field('intValue', 'int64'),
  4: field('doubleValue', 'double'),
  5: field('arrayValue', () => ARRAY_VALUE),
  6: field('kvlistValue', () => KEY_VALUES),
  7: field('bytesValue', 'bytes'),
};
const ARRAY_VALUE: Message = { 1: repeated('values', () => ANY_VALUE) };
const KEY_VALUE: Message = { 1: field('key', 'string'), 2: field('value', () => ANY_VALUE) };
const KEY_VALUES: Message = { 1: repeated('values', () => KEY_VALUE) };
const RESOURCE: Message = {
  1: repeated('attributes', () => KEY_VALUE),
  2: field('droppedAttributesCount', 'uint32'),
};
const SCOPE: Message = {
  1: field('name', 'string'),
  2: field('version', 'string'),
  3: repeated('attributes', () => KEY_VALUE),
  4: field('droppedAttributesCount', 'uint32'),
};
const LOG_RECORD: Message = {
  1: field('timeUnixNano', 'fixed64'),
  2: field('severityNumber', 'uint32'),
  3: field('severityText', 'string'),
  5: field('body', () => ANY_VALUE),
  6: repeated('attributes', () => KEY_VALUE),
  7: field('droppedAttributesCount', 'uint32'),
  8: field('flags', 'fixed32'),
  9: field('traceId', 'hex'),
  10: field('spanId', 'hex'),
  11: field('observedTimeUnixNano', 'fixed64'),
  12: field('eventName', 'string'),
};
const SCOPE_LOGS: Message = {
  1: field('scope', () => SCOPE),
  2: repeated('logRecords', () => LOG_RECORD),
  3: field('schemaUrl', 'string'),
};
const RESOURCE_LOGS: Message = {
  1: field('resource', () => RESOURCE),
  2: repeated('scopeLogs', () => SCOPE_LOGS),
  3: field('schemaUrl', 'string'),
};
const REQUEST: Message = { 1: repeated('resourceLogs', () => RESOURCE_LOGS) };

const WIRE_TYPES: Readonly<Record<Scalar, WireType>> = {
  string: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
  hex: WireType.LengthDelimited,
  bool: WireType.Varint,
  int64: WireType.Varint,
  uint32: WireType.Varint,
  double: WireType.Bit64,
  fixed32: WireType.Bit32,
  fixed64: WireType.Bit64,
};

/** Messages in messages: what is deeper as JSON than an event may be is rejected there; this is for the stack. */
const MAX_DEPTH = 300;
/** Two bytes may become twenty. */
const MAX_JSON_BYTES = 64 * 1024 * 1024;
/** `"":{},` around the name of a message. */
const EMPTY_BYTES = 6;

/** A request as OTLP/JSON. Throws where the bytes are no such message, or would be too much. */
export function otlpJsonOf(bytes: Uint8Array): string {
  let jsonBytes = 0;
  return messageOf(new BinaryReader(bytes), REQUEST, 0);

  function messageOf(reader: BinaryReader, message: Message, depth: number): string {
    if (depth > MAX_DEPTH) throw new RangeError('nesting too deep');
    const single = new Map<string, string>();
    const lists = new Map<string, string[]>();
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      const known = Object.hasOwn(message, number) ? message[number]! : null;
      if (known === null || wireTypeOf(known) !== wireType) {
        reader.skip(wireType, number);
        continue;
      }
      const json = typeof known.of === 'string' ? scalarOf(reader, known.of) : inner(reader, known.of(), depth);
      jsonBytes += known.name.length + (typeof known.of === 'string' ? json.length : EMPTY_BYTES);
      if (jsonBytes > MAX_JSON_BYTES) throw new RangeError('too large as JSON');
      if (!known.isRepeated) single.set(known.name, json);
      else if (lists.has(known.name)) lists.get(known.name)!.push(json);
      else lists.set(known.name, [json]);
    }
    const parts = [...single].map(([name, json]) => `"${name}":${json}`);
    for (const [name, list] of lists) parts.push(`"${name}":[${list.join(',')}]`);
    return `{${parts.join(',')}}`;
  }

  function inner(reader: BinaryReader, message: Message, depth: number): string {
    return messageOf(new BinaryReader(reader.bytes()), message, depth + 1);
  }
}

const wireTypeOf = ({ of }: Field): WireType => (typeof of === 'string' ? WIRE_TYPES[of] : WireType.LengthDelimited);

function scalarOf(reader: BinaryReader, of: Scalar): string {
  switch (of) {
    case 'string':
      return JSON.stringify(Buffer.from(reader.bytes()).toString('utf8'));
    case 'bytes':
      return `"${Buffer.from(reader.bytes()).toString('base64')}"`;
    case 'hex':
      return `"${Buffer.from(reader.bytes()).toString('hex')}"`;
    case 'bool':
      return String(reader.bool());
    case 'int64':
      return String(reader.int64());
    case 'uint32':
      return String(reader.uint32());
    case 'fixed32':
      return String(reader.fixed32());
    case 'fixed64':
      return String(reader.fixed64());
    case 'double':
      return doubleOf(reader.double());
  }
}

function doubleOf(value: number): string {
  return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
}
