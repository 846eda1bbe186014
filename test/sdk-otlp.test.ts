/** OpenTelemetry logs, as JSON and as protobuf: the same records become the same rows. */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from './support/fast-check.ts';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readUuid, uuidOf } from '../src/event/uuid.ts';
import { type Recorded, recordings, send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf } from './support/replayed.ts';
import { type Row, TOKEN } from './support/served-app.ts';

type Value = {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: number | string;
  doubleValue?: number;
  bytesValue?: string;
  arrayValue?: { values: Value[] };
  kvlistValue?: { values: KeyValue[] };
};
type KeyValue = { key: string; value: Value };
type LogRecord = Record<string, unknown> & { attributes: KeyValue[]; body?: Value };
type Request = {
  resourceLogs: {
    resource: { attributes: KeyValue[] };
    scopeLogs: { scope: Record<string, unknown>; logRecords: LogRecord[] }[];
  }[];
};

const plain = (value: Value): unknown => {
  if (value.arrayValue) return value.arrayValue.values.map(plain);
  if (value.kvlistValue) return objectOf(value.kvlistValue.values);
  if (value.intValue !== undefined) return Number(value.intValue);
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue ?? null;
};
const objectOf = (attributes: KeyValue[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

const LEVELS: Record<number, string> = { 9: 'info', 17: 'error' };

/** The mapping, written once more, in plain words. */
function mapped({ resourceLogs }: Request): Mapped[] {
  return resourceLogs.flatMap(({ resource, scopeLogs }) =>
    scopeLogs.flatMap(({ scope, logRecords }) =>
      logRecords.map((record): Mapped => {
        const attributes = objectOf(record.attributes);
        const ofResource = objectOf(resource.attributes);
        const nanos = record['timeUnixNano'] as string;
        const severity = record['severityNumber'] as number | undefined;
        const uid = textOf(attributes['log.record.uid']);
        return {
          event_id: uid === null ? null : (readUuid(uid) ?? uuidOf(uid)),
          event: (record['eventName'] as string | undefined) ?? 'log',
          anonymous_id: null,
          user_id: textOf(attributes['user.id']),
          timestamp: new Date(Number(nanos.slice(0, -6))).toISOString(),
          session_id: textOf(attributes['session.id']),
          properties: { ...attributes, ...(record.body && { body: plain(record.body) }) },
          extras: {
            resource: ofResource,
            scope,
            service: ofResource['service.name'],
            observed_time: `${new Date(Number(nanos.slice(0, -6))).toISOString().slice(0, -1)}000000Z`,
            ...(severity !== undefined && { severity_number: severity, level: LEVELS[severity] }),
            ...(record['severityText'] !== undefined && { severity_text: record['severityText'] }),
          },
        };
      }),
    ),
  );
}

const all = recordings('otlp');
const isProtobuf = ({ request }: Recorded) => request.headers['content-type'] === 'application/x-protobuf';
/** The protobuf body has no JSON beside it: it has the first record of the JSON one. */
const jsonOf = (recorded: Recorded): Request => {
  if (recorded.json !== undefined) return recorded.json as Request;
  const { resourceLogs } = all.find(({ file }) => file.endsWith('node/01.json'))!.json as Request;
  return onlyFirst({ resourceLogs });
};

function onlyFirst({ resourceLogs: [first] }: Request): Request {
  const { scopeLogs, ...resource } = first!;
  const { logRecords, ...scope } = scopeLogs[0]!;
  return { resourceLogs: [{ ...resource, scopeLogs: [{ ...scope, logRecords: logRecords.slice(0, 1) }] }] };
}

await appFor('otlp');
const served = replay({
  family: 'otlp',
  rows: (recorded) => (recorded.request.method === 'POST' ? mapped(jsonOf(recorded)) : null),
  answer(recorded, { status, headers, body }) {
    expect(status).toBe(200);
    // Without its type a body is known by its first byte.
    const isBinary = isProtobuf(recorded);
    expect(headers['content-type']).toBe(isBinary ? 'application/x-protobuf' : 'application/json');
    expect(body.toString()).toBe(isBinary ? '' : '{}');
  },
});

const AUTH = { authorization: `Bearer ${TOKEN}` };
const JSON_TYPE = { 'content-type': 'application/json' };
const PROTOBUF = { 'content-type': 'application/x-protobuf' };
const AT = Date.UTC(2026, 10, 20, 12);

async function post(body: unknown, headers: Record<string, string> = JSON_TYPE, auth: Record<string, string> = AUTH) {
  served.time.at = AT;
  const sent = Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body);
  return send(served.port, { method: 'POST', path: '/v1/logs', headers: { ...auth, ...headers }, body: sent });
}

const recordOf = (record: object, resource: object = {}, scope: object = {}) => ({
  resourceLogs: [{ resource, scopeLogs: [{ scope, logRecords: [record] }] }],
});
async function rowOf(record: object, resource: object = {}, scope: object = {}): Promise<Row> {
  expect(await post(recordOf(record, resource, scope))).toMatchObject({ status: 200 });
  const [row] = await served.taken();
  return row!;
}
const string = (key: string, stringValue: string) => ({ key, value: { stringValue } });

describe('a record', () => {
  test('is named by its event name, else by an attribute, and never by its message', async () => {
    expect(await rowOf({ eventName: 'e', attributes: [string('event.name', 'a')] })).toMatchObject({ event: 'e' });
    expect(await rowOf({ attributes: [string('event.name', 'a')] })).toMatchObject({ event: 'a' });
    expect(await rowOf({ body: { stringValue: 'm' } })).toMatchObject({ event: 'log', properties: { body: 'm' } });
  });

  test('is of whom its attributes name, else those of its resource', async () => {
    const resource = { attributes: [string('enduser.id', 'r'), string('device.id', 'd')] };
    expect(await rowOf({}, resource)).toMatchObject({ user_id: 'r', anonymous_id: 'd' });
    const attributes = [string('user.id', 'u'), string('client.id', 'c'), string('session.id', 's')];
    const row = await rowOf({ attributes }, resource);
    expect(row).toMatchObject({ user_id: 'u', anonymous_id: 'c', session_id: 's' });
    expect(Object.keys(row.extras)).toEqual(['resource']);
  });

  test('keeps its body beside an attribute of that name', async () => {
    const row = await rowOf({ body: { intValue: 1 }, attributes: [string('body', 'a')] });
    expect(row).toMatchObject({ properties: { body: 'a' }, extras: { body: 1 } });
  });

  test('has what its scope and its resource say, in columns where there are some', async () => {
    const row = await rowOf(
      { traceId: '0AF7651916CD43DD8448EB211C80319C', spanId: 'b7ad6b7169203331', flags: 1, droppedAttributesCount: 2 },
      { attributes: [string('service.name', 's'), string('deployment.environment.name', 'prod')] },
      { name: 'n', version: '1', attributes: [string('a', 'b')] },
    );
    expect(row.extras).toEqual({
      resource: { 'service.name': 's', 'deployment.environment.name': 'prod' },
      scope: { name: 'n', version: '1', attributes: { a: 'b' } },
      service: 's',
      env: 'prod',
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      span_id: 'b7ad6b7169203331',
      flags: 1,
      dropped_attributes_count: 2,
    });
  });

  test.each([
    [1, 'trace'],
    [4, 'trace'],
    [5, 'debug'],
    [12, 'info'],
    [13, 'warn'],
    [20, 'error'],
    [24, 'fatal'],
    [25, undefined],
    [0, undefined],
  ])('of the severity %d has the level %s', async (severityNumber, level) => {
    expect((await rowOf({ severityNumber })).extras['level']).toBe(level);
  });

  test('happened when it says, else when it was observed, else now', async () => {
    const at = '2026-11-19T00:00:00.123Z';
    const nanos = `${Date.parse(at)}456789`;
    expect(await rowOf({ timeUnixNano: nanos })).toMatchObject({ timestamp: at, extras: {} });
    expect(await rowOf({ timeUnixNano: Number(nanos) })).toMatchObject({ timestamp: at });
    expect(await rowOf({ timeUnixNano: '0', observedTimeUnixNano: nanos })).toMatchObject({
      timestamp: at,
      extras: { observed_time: '2026-11-19T00:00:00.123456789Z' },
    });
    expect(await rowOf({ timeUnixNano: 'soon' })).toMatchObject({ timestamp: new Date(AT).toISOString() });
    const far = `${AT + 10 * 86_400_000}000000`;
    expect(await rowOf({ timeUnixNano: far })).toMatchObject({
      timestamp: new Date(AT).toISOString(),
      extras: { timeUnixNano: Number(far) },
    });
  });

  test('without an id has one made of all of it, where it has a time', async () => {
    const twice = async (record: object) => [(await rowOf(record)).event_id, (await rowOf(record)).event_id];
    const [first, second] = await twice({ timeUnixNano: '1795190087329000000', body: { stringValue: 'm' } });
    expect(first).toBe(second);
    const [third, fourth] = await twice({ body: { stringValue: 'm' } });
    expect(third).not.toBe(fourth);
  });
});

test.each<[unknown, unknown]>([
  [{ stringValue: 'ü' }, 'ü'],
  [{ boolValue: false }, false],
  [{ intValue: '-7' }, -7],
  [{ doubleValue: 1.5 }, 1.5],
  [{ doubleValue: 'NaN' }, 'NaN'],
  [{ doubleValue: '-Infinity' }, '-Infinity'],
  [{ bytesValue: 'AQL_' }, 'AQL/'],
  [{}, null],
  [{ arrayValue: { values: [{ intValue: 1 }, {}, { arrayValue: {} }] } }, [1, null, []]],
  [{ kvlistValue: { values: [{ key: 'k', value: { boolValue: true } }] } }, { k: true }],
  [{ stringValue: 7 }, null],
  [7, null],
])('the value %j is %j', async (value, expected) => {
  expect((await rowOf({ attributes: [{ key: 'v', value }] })).properties).toEqual({ v: expected });
});

test('the digits of a large integer stay', async () => {
  await post(recordOf({ attributes: [{ key: 'v', value: { intValue: '9223372036854775807' } }] }));
  const batch = (await served.channel.take())!;
  served.channel.settle(batch, 'stored');
  expect(Buffer.concat([...batch.chunks]).toString()).toContain('"properties":{"v":9223372036854775807}');
});

function nested(depth: number): object {
  let value: object = { intValue: 1 };
  for (let level = 0; level < depth; level += 1) value = { arrayValue: { values: [value] } };
  return { attributes: [{ key: 'v', value }] };
}

describe('what cannot be stored', () => {
  const BAD = nested(100);
  const mixed = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'good' }, BAD, 7] }] }] };

  test('is told of in a partial success, also when it is all', async () => {
    const { status, headers, body } = await post(mixed);
    expect([status, headers['weir-rejected']]).toEqual([200, '2']);
    expect(JSON.parse(body.toString())).toEqual({
      partialSuccess: { rejectedLogRecords: '2', errorMessage: expect.stringContaining('nesting too deep') as string },
    });
    expect(await served.taken()).toMatchObject([{ event: 'good' }]);
    expect(await post(recordOf(BAD))).toMatchObject({ status: 200, headers: { 'weir-rejected': '1' } });
  });

  test('may be as deep as any event', async () => {
    expect((await rowOf(nested(60))).properties).toHaveProperty('v');
  });

  test('is told of in protobuf where that was sent', async () => {
    const { status, headers, body } = await post(protobufOf(mixed as unknown as Request, { deep: 100 }), PROTOBUF);
    expect([status, headers['content-type'], headers['weir-rejected']]).toEqual([200, 'application/x-protobuf', '1']);
    const reader = new BinaryReader(body);
    expect(reader.tag()[0]).toBe(1);
    const partial = new BinaryReader(reader.bytes());
    expect([partial.tag()[0], Number(partial.int64()), partial.tag()[0]]).toEqual([1, 1, 2]);
    expect(partial.string()).toContain('nesting too deep');
    await served.taken();
  });
});

/** The request in protobuf, as far as it has strings and integers. `deep`: the nesting of one more record. */
function protobufOf({ resourceLogs }: Request, { deep = 0 }: { deep?: number } = {}): Buffer {
  const message = (write: (writer: BinaryWriter) => void) => {
    const writer = new BinaryWriter();
    write(writer);
    return writer.finish();
  };
  const put = (writer: BinaryWriter, number: number, bytes: Uint8Array) =>
    writer.tag(number, WireType.LengthDelimited).bytes(bytes);
  const keyValue = ({ key, value }: KeyValue) =>
    message((writer) => {
      writer.tag(1, WireType.LengthDelimited).string(key);
      put(
        writer,
        2,
        message((inner) => {
          if (value.stringValue !== undefined) inner.tag(1, WireType.LengthDelimited).string(value.stringValue);
          if (value.intValue !== undefined) inner.tag(3, WireType.Varint).int64(String(value.intValue));
        }),
      );
    });
  let deepest = message((writer) => writer.tag(3, WireType.Varint).int64(1));
  for (let level = 0; level < deep; level += 1) {
    const inner = deepest;
    deepest = message((writer) =>
      put(
        writer,
        5,
        message((list) => put(list, 1, inner)),
      ),
    );
  }
  const records = resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords));
  const resource = resourceLogs[0]!.resource?.attributes ?? [];
  const scopeLogs = message((writer) => {
    for (const record of records) {
      if (typeof record !== 'object') continue;
      if (record.attributes?.some(({ value }) => value.arrayValue)) continue;
      put(
        writer,
        2,
        message((inner) => {
          if (record['timeUnixNano']) inner.tag(1, WireType.Bit64).fixed64(record['timeUnixNano'] as string);
          if (record['eventName']) inner.tag(12, WireType.LengthDelimited).string(record['eventName'] as string);
          for (const attribute of record.attributes ?? []) put(inner, 6, keyValue(attribute));
        }),
      );
    }
    if (deep > 0)
      put(
        writer,
        2,
        message((inner) => put(inner, 5, deepest)),
      );
  });
  return Buffer.from(
    message((writer) =>
      put(
        writer,
        1,
        message((inner) => {
          put(
            inner,
            1,
            message((one) => resource.forEach((attribute) => put(one, 1, keyValue(attribute)))),
          );
          put(inner, 2, scopeLogs);
        }),
      ),
    ),
  );
}

test('JSON and protobuf of the same records are the same rows, ids included', async () => {
  const attributes = [string('a', 'ü'), { key: 'n', value: { intValue: '42' } }];
  const request = recordOf(
    { timeUnixNano: '1795190087329000000', eventName: 'E', attributes },
    { attributes: [string('service.name', 's')] },
  );
  await post(request);
  await post(protobufOf(request as unknown as Request), PROTOBUF);
  await post(protobufOf(request as unknown as Request), {});
  await post(gzipSync(protobufOf(request as unknown as Request)), PROTOBUF);
  const [json, ...others] = await served.taken();
  expect(others).toEqual([json, json, json]);
});

describe('an error has a code of gRPC, in the format of the request', () => {
  test.each([
    ['a bad body', '{', AUTH, 400, 3],
    ['a body that is no request', '[]', AUTH, 400, 3],
    ['a bad token', '{}', { authorization: 'Bearer bad' }, 401, 16],
    ['no token', '{}', {}, 401, 16],
    ['too much', `{"x":"${'y'.repeat(11 * 1024 * 1024)}"}`, AUTH, 413, 8],
  ] as const)('%s', async (_what, body, auth, status, code) => {
    const answered = await post(body, JSON_TYPE, auth);
    expect([answered.status, JSON.parse(answered.body.toString())]).toMatchObject([status, { code }]);
  });

  test('also in protobuf', async () => {
    const { status, headers, body } = await post(Buffer.from([0xff, 0xff]), PROTOBUF);
    expect([status, headers['content-type']]).toEqual([400, 'application/x-protobuf']);
    const reader = new BinaryReader(body);
    expect([reader.tag()[0], reader.int32()]).toEqual([1, 3]);
  });

  test('while nothing is taken', async () => {
    served.flags.setIntake('disabled');
    const { status, headers, body } = await post('{}');
    served.flags.setIntake('open');
    expect([status, headers['retry-after'], JSON.parse(body.toString())]).toMatchObject([503, '300', { code: 14 }]);
  });
});

describe('whatever is sent', () => {
  test('protobuf that is cut at any byte is answered', async () => {
    const recorded = all.find(isProtobuf)!;
    const bytes = Buffer.from(recorded.request.body_base64!, 'base64');
    for (let end = 0; end <= bytes.length; end += 1) {
      const { status } = await post(bytes.subarray(0, end), PROTOBUF);
      expect([200, 400]).toContain(status);
    }
    await served.taken();
  });

  test('any bytes as protobuf are answered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        const { status } = await post(Buffer.from(bytes), PROTOBUF);
        expect(status).toBeLessThan(500);
        await served.taken();
      }),
      { numRuns: 200 },
    );
  });

  test('any JSON in place of records is counted', async () => {
    const key = fc.constantFrom(
      'timeUnixNano',
      'body',
      'attributes',
      'eventName',
      'severityNumber',
      'key',
      'value',
      'values',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, 1, -1, '', 'x', true, '1795190087329000000'),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.oneof(key, fc.constantFrom('stringValue', 'arrayValue', 'kvlistValue')), tie('value'), {
          maxKeys: 4,
        }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(fc.array(value, { maxLength: 4 }), value, async (logRecords, resource) => {
        const { status, headers } = await post({
          resourceLogs: [{ resource, scopeLogs: [{ scope: resource, logRecords }] }],
        });
        expect(status).toBe(200);
        expect((await served.taken()).length + Number(headers['weir-rejected'] ?? 0)).toBe(logRecords.length);
      }),
      { numRuns: 200 },
    );
  });
});
