/** OTLP/JSON as protobuf, for requests that only say it in JSON. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

type Json = Readonly<Record<string, unknown>>;
type Put = (writer: BinaryWriter, number: number, value: unknown) => void;
type Fields = Readonly<Record<string, readonly [number: number, put: Put]>>;

const text: Put = (writer, number, value) => writer.tag(number, WireType.LengthDelimited).string(String(value));
const bytesIn =
  (encoding: 'base64' | 'hex'): Put =>
  (writer, number, value) =>
    writer.tag(number, WireType.LengthDelimited).bytes(Buffer.from(String(value), encoding));
const flag: Put = (writer, number, value) => writer.tag(number, WireType.Varint).bool(Boolean(value));
const int64: Put = (writer, number, value) => writer.tag(number, WireType.Varint).int64(String(value));
const uint32: Put = (writer, number, value) => writer.tag(number, WireType.Varint).uint32(Number(value));
const double: Put = (writer, number, value) => writer.tag(number, WireType.Bit64).double(Number(value));
const fixed32: Put = (writer, number, value) => writer.tag(number, WireType.Bit32).fixed32(Number(value));
const fixed64: Put = (writer, number, value) => writer.tag(number, WireType.Bit64).fixed64(String(value));
const message =
  (fields: () => Fields): Put =>
  (writer, number, value) =>
    writer.tag(number, WireType.LengthDelimited).bytes(encoded(value as Json, fields()));
const each =
  (put: Put): Put =>
  (writer, number, value) => {
    for (const one of value as readonly unknown[]) put(writer, number, one);
  };

const ANY_VALUE: Fields = {
  stringValue: [1, text],
  boolValue: [2, flag],
  intValue: [3, int64],
  doubleValue: [4, double],
  arrayValue: [5, message(() => VALUES)],
  kvlistValue: [6, message(() => KEY_VALUES)],
  bytesValue: [7, bytesIn('base64')],
};
const VALUES: Fields = { values: [1, each(message(() => ANY_VALUE))] };
const KEY_VALUE: Fields = { key: [1, text], value: [2, message(() => ANY_VALUE)] };
const KEY_VALUES: Fields = { values: [1, each(message(() => KEY_VALUE))] };
const ATTRIBUTES = each(message(() => KEY_VALUE));
const RESOURCE: Fields = { attributes: [1, ATTRIBUTES], droppedAttributesCount: [2, uint32] };
const SCOPE: Fields = {
  name: [1, text],
  version: [2, text],
  attributes: [3, ATTRIBUTES],
  droppedAttributesCount: [4, uint32],
};
const RECORD: Fields = {
  timeUnixNano: [1, fixed64],
  severityNumber: [2, uint32],
  severityText: [3, text],
  body: [5, message(() => ANY_VALUE)],
  attributes: [6, ATTRIBUTES],
  droppedAttributesCount: [7, uint32],
  flags: [8, fixed32],
  traceId: [9, bytesIn('hex')],
  spanId: [10, bytesIn('hex')],
  observedTimeUnixNano: [11, fixed64],
  eventName: [12, text],
};
const SCOPE_LOGS: Fields = {
  scope: [1, message(() => SCOPE)],
  logRecords: [2, each(message(() => RECORD))],
  schemaUrl: [3, text],
};
const RESOURCE_LOGS: Fields = {
  resource: [1, message(() => RESOURCE)],
  scopeLogs: [2, each(message(() => SCOPE_LOGS))],
  schemaUrl: [3, text],
};
const REQUEST: Fields = { resourceLogs: [1, each(message(() => RESOURCE_LOGS))] };

/** A request in OTLP/JSON as protobuf, its fields in the order they have there. */
export const otlpWireOf = (request: Json): Buffer => Buffer.from(encoded(request, REQUEST));

function encoded(value: Json, fields: Fields): Uint8Array {
  const writer = new BinaryWriter();
  for (const [name, member] of Object.entries(value)) {
    const [number, put] = fields[name]!;
    put(writer, number, member);
  }
  return writer.finish();
}
