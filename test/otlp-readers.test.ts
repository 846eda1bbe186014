/** The readers of OTLP against a plain description of what they do, and against each other. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeEvents } from '../src/event/decode.ts';
import { decoderOf } from '../src/event/decoder.ts';
import {
  type BodyProblem,
  isBodyProblem,
  jsonProblem,
  type ScannedEvents,
  TOO_MANY_EVENTS,
} from '../src/event/envelope.ts';
import { createScanner, scanValue } from '../src/event/json.ts';
import { MAX_REWRITTEN_BYTES, scanRewritten, TOO_MUCH } from '../src/event/rewriting.ts';
import { finish } from '../src/event/steps.ts';
import { readOtlpJson } from '../src/http/ingest/doors/otlp/json.ts';
import { readOtlpProtobuf } from '../src/http/ingest/doors/otlp/protobuf.ts';
import { otlpDoor } from '../src/http/ingest/doors/otlp.ts';
import { DECODE_CONTEXT } from './support/factory.ts';
import { otlpEventsOf } from './support/otlp-reference.ts';
import { otlpWireOf } from './support/otlp-wire.ts';

const decoder = decoderOf(otlpDoor.format);

/** The rows and the rejections; or the problem of the whole. */
function outcomeOf(opened: ScannedEvents | BodyProblem): unknown {
  if (isBodyProblem(opened)) return opened;
  const { rows, ...counts } = finish(decodeEvents(opened, decoder({ ...DECODE_CONTEXT, maxFutureMs: 1e15 })));
  return { rows: rows.toString(), ...counts };
}

const read = (body: string | Buffer) => outcomeOf(finish(readOtlpJson(Buffer.from(body))));
const readWire = (body: Buffer) => outcomeOf(finish(readOtlpProtobuf(body)));
const expectedOf = (request: string) =>
  outcomeOf(finish(scanRewritten(otlpEventsOf(Buffer.from(request).toString('latin1')))));

const KNOWN = ['user.id', 'enduser.id', 'device.id', 'client.id', 'session.id', 'log.record.uid', 'event.name', 'body'];
const OF_RESOURCE = ['service.name', 'deployment.environment', 'deployment.environment.name', 'app.installation.id'];
const ODD = [
  '',
  'é☃',
  'a"b\\c\n/',
  '\u0000',
  '\u007f',
  '\ud800',
  '01a1f9aa-d53f-7cda-b6d2-302770c201c1',
  '9'.repeat(30),
];
const words = fc.oneof(fc.constantFrom(...KNOWN, ...OF_RESOURCE, ...ODD), fc.string({ unit: 'binary', maxLength: 8 }));
const number = fc.oneof(
  fc.constantFrom(0, -1, 5, 1.5, 0.05, 0.001, 1e-7, 19.99, 1e300, 123_456_789_012_345_680, -9_223_372_036_854_776_000),
  fc.constantFrom('0', '-0', '007', '18446744073709551616', '99999999999999999999', '1793534400000000000', ' 1', 'NaN'),
  fc.constantFrom('Infinity', '-Infinity', '', 'x', '9'.repeat(21)),
  fc.double(),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(String),
);

/** An object with these members in any order, some of them absent. */
const anyOrder = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }, requiredKeys: (keyof T & string)[] = []) =>
  fc
    .record(shape, { requiredKeys })
    .chain((members) => fc.shuffledSubarray(Object.entries(members), { minLength: Object.keys(members).length }))
    .map((members) => Object.fromEntries(members) as Record<string, unknown>);

const usually = (arbitrary: fc.Arbitrary<unknown>, ...odd: unknown[]) =>
  fc.oneof({ arbitrary, weight: 9 }, fc.constantFrom(...odd));

const { attributes, value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthIdentifier: 'value' },
    fc.record({ stringValue: words }),
    fc.record({ boolValue: fc.constantFrom(true, false, 'true', 1) }),
    fc.record({ intValue: number }),
    fc.record({ doubleValue: number }),
    fc.record({ bytesValue: fc.constantFrom('AQL_', 'AQL/', '', '=', 'x y', 7) }),
    fc.constantFrom(
      {},
      null,
      7,
      's',
      [],
      { stringValue: 7 },
      { arrayValue: {} },
      { arrayValue: 7 },
      { kvlistValue: {} },
    ),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie('value'), { maxLength: 3 }) }) }),
    fc.record({ kvlistValue: fc.record({ values: tie('attributes') }) }),
    anyOrder({ stringValue: words, intValue: number, other: fc.constant([{}]), arrayValue: tie('value') }),
  ),
  attributes: usually(
    fc.array(
      usually(anyOrder({ key: words, value: tie('value'), other: fc.constant([1, {}]) }), {}, null, { key: 7 }),
      {
        maxLength: 5,
        depthIdentifier: 'value',
      },
    ),
    {},
    null,
  ),
}));

const record = anyOrder(
  {
    timeUnixNano: number,
    observedTimeUnixNano: number,
    severityNumber: fc.oneof(number, fc.nat(30)),
    severityText: words,
    body: value,
    eventName: words,
    attributes,
    droppedAttributesCount: number,
    flags: number,
    traceId: fc.constantFrom('', '0AF7', 'xyz', 7, 'b7ad'),
    spanId: fc.constantFrom('', '0AF7', '0g'),
    other: fc.constant({ a: [1, 'x', {}] }),
  },
  ['attributes'],
);
const scope = usually(anyOrder({ name: usually(words, 7), version: words, attributes }), null, 7);
const scopeLogs = usually(
  anyOrder({ scope, schemaUrl: words, logRecords: fc.array(usually(record, null, 7, 'x', [], {}), { maxLength: 4 }) }, [
    'logRecords',
  ]),
  null,
);
const resource = usually(anyOrder({ attributes }), null, 7);
const resourceLogs = usually(
  anyOrder({ resource, schemaUrl: words, scopeLogs: fc.array(scopeLogs, { minLength: 1, maxLength: 2 }) }, [
    'scopeLogs',
  ]),
  null,
);
const request = fc.record({ resourceLogs: fc.array(resourceLogs, { minLength: 1, maxLength: 2 }) });

/** Names that are given to members that have others: so that some are there twice, or where they do not belong. */
const RENAMED =
  /"(key|value|attributes|scope|resource|schemaUrl|severityText|stringValue|intValue|body|flags|values)":/g;

function renamed(json: string, from: number, to: number): string {
  const places = [...json.matchAll(RENAMED)];
  if (places.length === 0) return json;
  const one = places[from % places.length]!;
  const [name] = places[to % places.length]!;
  return json.slice(0, one.index) + name + json.slice(one.index + one[0].length);
}

test('any request in JSON becomes the events that the description says', () => {
  fc.assert(
    fc.property(request, fc.array(fc.nat(), { maxLength: 6 }), fc.nat(3), (sent, places, how) => {
      let json = JSON.stringify(sent, null, how === 1 ? 1 : 0);
      if (how === 2) json = json.replaceAll('"key"', '"k\\u0065y"').replaceAll('user.id', 'user\\u002eid');
      for (let at = 0; at + 1 < places.length; at += 2) json = renamed(json, places[at]!, places[at + 1]!);
      expect(read(json)).toEqual(expectedOf(json));
    }),
    { numRuns: 1_000 },
  );
});

test('JSON that is damaged has the problem that a scan finds', () => {
  const damage = fc.constantFrom('"', ',', ':', '{', '}', '[', ']', 'x', '\\', '\u0001', '');
  fc.assert(
    fc.property(request, fc.nat(), damage, (sent, place, damaged) => {
      const json = JSON.stringify(sent);
      // An empty body is no problem: it has no records.
      const at = 1 + (place % (json.length - 1));
      const body = json.slice(0, at) + damaged + (place % 2 === 0 ? json.slice(at + 1) : '');
      const scanner = createScanner(Buffer.from(body));
      scanValue(scanner);
      expect(read(body)).toEqual(jsonProblem(scanner) ?? (body[0] === '{' ? expectedOf(body) : expect.anything()));
    }),
    { numRuns: 500 },
  );
});

const { sentValue, sentAttributes } = fc.letrec((tie) => ({
  sentValue: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'sent' },
    fc.constant({}),
    fc.record({ stringValue: words.map((text) => text.toWellFormed()) }),
    fc.record({ boolValue: fc.boolean() }),
    fc.record({ intValue: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String) }),
    fc.record({ intValue: fc.integer().map(String) }),
    fc.record({ doubleValue: fc.double({ noNaN: true, noDefaultInfinity: true }) }),
    fc.record({ bytesValue: fc.base64String({ maxLength: 12 }) }),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie('sentValue'), { maxLength: 3 }) }) }),
    fc.record({ kvlistValue: fc.record({ values: tie('sentAttributes') }) }),
  ),
  sentAttributes: fc.array(anyOrder({ key: words.map((text) => text.toWellFormed()), value: tie('sentValue') }), {
    maxLength: 5,
    depthIdentifier: 'sent',
  }),
}));
const text = words.map((words) => words.toWellFormed());
const count = fc.oneof(fc.nat(30), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const nanos = fc.oneof(
  fc.constantFrom('0', '1793534400000000000'),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
);
const sentRecord = anyOrder({
  timeUnixNano: nanos,
  observedTimeUnixNano: nanos,
  severityNumber: count,
  severityText: text,
  body: sentValue,
  eventName: text,
  attributes: sentAttributes,
  droppedAttributesCount: count,
  flags: count,
  traceId: fc.constantFrom('', '0af7651916cd43dd8448eb211c80319c'),
  spanId: fc.constantFrom('', 'b7ad6b7169203331'),
});
const sentScope = anyOrder({ name: text, version: text, attributes: sentAttributes, droppedAttributesCount: count });
const sentScopeLogs = anyOrder(
  { scope: sentScope, schemaUrl: text, logRecords: fc.array(sentRecord, { minLength: 1, maxLength: 4 }) },
  ['logRecords'],
);
const sentResource = anyOrder({ attributes: sentAttributes, droppedAttributesCount: count });
const sentRequest = fc.record({
  resourceLogs: fc.array(
    anyOrder(
      { resource: sentResource, schemaUrl: text, scopeLogs: fc.array(sentScopeLogs, { minLength: 1, maxLength: 2 }) },
      ['scopeLogs'],
    ),
    { minLength: 1, maxLength: 2 },
  ),
});

test('any request is the same in protobuf', () => {
  fc.assert(
    fc.property(sentRequest, (sent) => {
      const expected = expectedOf(JSON.stringify(sent));
      expect(expected).toMatchObject({ accepted: expect.toSatisfy((accepted: number) => accepted > 0) });
      expect(readWire(otlpWireOf(sent))).toEqual(expected);
    }),
    { numRuns: 1_000 },
  );
});

const logs = (logRecords: object[], attributes: object[] = []) => ({
  resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }],
});
const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } });

test.each([
  ['by itself', logs([{ attributes: [attribute('a', 'x'.repeat(2 ** 20))] }, { eventName: 'small' }])],
  ['by its resource', logs([{ eventName: 'small' }], [attribute('a', 'x'.repeat(2 ** 20))])],
  ['by so much that no row could hold', logs([{ body: { stringValue: 'x'.repeat(300_000) } }, { eventName: 'small' }])],
])('a record that is too large %s costs only itself', (_how, sent) => {
  const expected = expectedOf(JSON.stringify(sent));
  expect(expected).toMatchObject({ rejected: 1 });
  expect(read(JSON.stringify(sent))).toEqual(expected);
  expect(readWire(otlpWireOf(sent))).toEqual(expected);
});

test('so does one with more members than an event may have', () => {
  const many = `{${'"severityText":"x",'.repeat(10_001)}"eventName":"many"}`;
  const json = JSON.stringify(logs([{ eventName: 'other' }])).replace('{"eventName":"other"}', `${many},$&`);
  expect(expectedOf(json)).toMatchObject({ accepted: 1, rejected: 1 });
  expect(read(json)).toEqual(expectedOf(json));
});

test('what a resource says of too many records is refused', () => {
  const sent = logs(
    Array.from({ length: 1_000 }, () => ({ eventName: 'e' })),
    [attribute('a', 'x'.repeat(100_000))],
  );
  expect(read(JSON.stringify(sent))).toMatchObject({ code: 'body_too_large' });
  expect(readWire(otlpWireOf(sent))).toMatchObject({ code: 'body_too_large' });
});

test('a resource may follow its records, and a scope too', () => {
  const resource = { attributes: [attribute('service.name', 's'), attribute('user.id', 'u')] };
  const scope = { name: 'n' };
  const logRecords = [{ eventName: 'e' }];
  const late = { resourceLogs: [{ scopeLogs: [{ logRecords, scope }], resource }] };
  const usual = read(JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ scope, logRecords }] }] }));
  expect(read(JSON.stringify(late))).toEqual(usual);
  expect(readWire(otlpWireOf(late))).toEqual(usual);
});

test.each([
  ['records', `{"scopeLogs":[{"logRecords":[${'{},'.repeat(400_000)}{}]}]}`],
  ['scopes', `{"scopeLogs":[${'{"logRecords":[]},'.repeat(100_000)}{}]}`],
  ['resources', '{"scopeLogs":[]},'.repeat(100_000) + '{}'],
])('a request of many %s is read in many steps', (_what, resources) => {
  let steps = 0;
  const reading = readOtlpJson(Buffer.from(`{"resourceLogs":[${resources}]}`));
  while (!reading.next().done) steps += 1;
  expect(steps).toBeGreaterThan(4);
});

/** A message as a field of another, with these parts. */
function sized(field: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([
    new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(content.length).finish(),
    content,
  ]);
}

test('of values that are too deep only the depth is kept', () => {
  const count = 10_000;
  let value: object = { arrayValue: { values: Array.from({ length: count }, () => ({})) } };
  for (let level = 0; level < 64; level += 1) value = { arrayValue: { values: [value] } };
  const sent = logs([{ body: value }, { attributes: [{ key: 'a', value }] }, { eventName: 'good' }]);
  const expected = read(JSON.stringify(sent));
  expect(expected).toMatchObject({ accepted: 1, rejected: 2, rejections: [{ reason: 'nesting too deep' }, {}] });
  expect(readWire(otlpWireOf(sent))).toEqual(expected);
  for (const opened of [
    finish(readOtlpJson(Buffer.from(JSON.stringify(sent)))),
    finish(readOtlpProtobuf(otlpWireOf(sent))),
  ]) {
    if (isBodyProblem(opened)) throw new Error(opened.message);
    // `null` and a comma, in the body and in the attributes; the body is copied to the properties.
    expect(opened.bytes.length).toBeLessThan(3 * count * 'null,'.length + 2_000);
  }
});

test('a request is refused amidst the value by which it becomes too much', () => {
  const json = `{"body":{"arrayValue":{"values":[{"stringValue":"${'x'.repeat(MAX_REWRITTEN_BYTES)}"} and so on`;
  expect(finish(readOtlpJson(Buffer.from(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[${json}`)))).toEqual(TOO_MUCH);
  // Each byte is written as six; what follows is no message.
  const values = Array.from({ length: 12 }, () => sized(1, sized(1, Buffer.alloc(2 ** 20))));
  const value = sized(2, sized(5, ...values, sized(1, Buffer.from([0xff]))));
  const record = sized(6, sized(1, Buffer.from('a')), value);
  expect(finish(readOtlpProtobuf(sized(1, sized(2, sized(2, record)))))).toEqual(TOO_MUCH);
});

test('more records than may be are refused', () => {
  const sent = logs([{ eventName: 'a' }, {}, { eventName: 'b' }]);
  const both = [...sent.resourceLogs, ...sent.resourceLogs];
  for (const [maxEvents, expected] of [
    [6, { count: 6 }],
    [5, TOO_MANY_EVENTS],
  ] as const) {
    const json = Buffer.from(JSON.stringify({ resourceLogs: both }));
    expect(finish(readOtlpJson(json, maxEvents))).toMatchObject(expected);
    expect(finish(readOtlpProtobuf(otlpWireOf({ resourceLogs: both }), maxEvents))).toMatchObject(expected);
  }
  const noRecords = Buffer.from('{"resourceLogs":[{"scopeLogs":[{"logRecords":[1,2,3 and so on');
  expect(finish(readOtlpJson(noRecords, 2))).toEqual(TOO_MANY_EVENTS);
  if (otlpDoor.body.kind === 'lines') throw new Error('unexpected');
  const head = { method: 'POST', path: '', target: '', headers: {}, query: () => new URLSearchParams() } as const;
  expect(finish(otlpDoor.body.open(noRecords, { maxEvents: 2 }, head))).toEqual(TOO_MANY_EVENTS);
  expect(finish(otlpDoor.body.open(otlpWireOf(sent), { maxEvents: 2 }, head))).toEqual(TOO_MANY_EVENTS);
});

test.each([
  ['scopes', 2, (count: number) => `{"scopeLogs":[${'{},'.repeat(count)}{}]}`],
  ['resources', 1, (count: number) => `{},${'{},'.repeat(count)}{}`],
] as const)('more %s without records than an exporter sends are refused', (_what, field, json) => {
  const wireOf = (count: number) => {
    const empty = Buffer.alloc(2 * count, sized(field));
    return field === 1 ? empty : sized(1, empty);
  };
  const refused = { code: 'body_too_large', message: expect.stringContaining('resources and scopes') as string };
  expect(finish(readOtlpJson(Buffer.from(`{"resourceLogs":[${json(200_000)}]}`)))).toMatchObject(refused);
  expect(finish(readOtlpProtobuf(wireOf(199_000)))).toMatchObject({ count: 0 });
  expect(finish(readOtlpProtobuf(wireOf(200_001)))).toMatchObject(refused);
});
