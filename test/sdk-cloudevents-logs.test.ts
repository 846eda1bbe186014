import { deflateSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readUuid, uuidOf } from '../src/event/uuid.ts';
import { takesAnything } from './support/anything.ts';
import { type Recorded, send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown>;

const AUTH = { authorization: `Bearer ${TOKEN}` };

describe('cloudevents', async () => {
  await appFor('cloudevents');
  const isBinary = ({ request }: Recorded) => 'ce-id' in request.headers;

  function mapped(event: Sent): Mapped {
    const traceparent = textOf(event['traceparent']);
    const data = event['data'];
    return {
      event_id: uuidOf(`${textOf(event['source'])}\n${textOf(event['id'])}`),
      event: event['type'] as string,
      anonymous_id: textOf(event['anonymousid']),
      user_id: textOf(event['userid']),
      timestamp: event['time'] as string,
      session_id: textOf(event['sessionid']),
      properties: typeof data === 'object' ? data : { value: data },
      extras: {
        ...without(event, 'type', 'time', 'data', 'userid', 'anonymousid', 'sessionid'),
        ...(traceparent !== null && { trace_id: traceparent.split('-')[1] }),
      },
    };
  }

  const served = replay({
    family: 'cloudevents',
    path: '/cloudevents',
    needsHeaders: isBinary,
    rows(recorded) {
      if (!isBinary(recorded)) return [recorded.json].flat().map((event) => mapped(event as Sent));
      const { headers } = recorded.request;
      const attributes = Object.entries(headers).filter(([name]) => name.startsWith('ce-'));
      const event = Object.fromEntries(attributes.map(([name, value]) => [name.slice(3), value]));
      return [mapped({ ...event, datacontenttype: headers['content-type'], data: recorded.json })];
    },
    answer(_, { status, body }) {
      expect([status, JSON.parse(body.toString())]).toEqual([200, { status: 'ok' }]);
    },
  });

  const post = (body: unknown, headers: Record<string, string> = {}) =>
    send(served.port, {
      method: 'POST',
      path: '/cloudevents',
      headers: { ...AUTH, ...headers },
      body: Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body),
    });
  const EVENT = { specversion: '1.0', id: 'i', source: 's', type: 't' };
  const BINARY = Object.fromEntries(Object.entries(EVENT).map(([name, value]) => [`ce-${name}`, value]));

  test.each([
    ['id', { id: undefined }, 'id required'],
    ['source', { source: undefined }, 'source required'],
    ['type', { type: undefined }, 'type required'],
    ['specversion', { specversion: undefined }, 'specversion required'],
    ['specversion', { specversion: '0.3' }, 'specversion must be 1.0'],
  ])('an event without the right %s is rejected by that name', async (_name, change, reason) => {
    const { status, headers, body } = await post([{ ...EVENT, ...change }, EVENT]);
    expect([status, headers['weir-rejected']]).toEqual([200, '1']);
    expect(JSON.parse(body.toString())).toMatchObject({ status: 'ok', errors: [{ index: 0, reason }] });
    expect(await served.taken()).toHaveLength(1);
    expect(await post({ ...EVENT, ...change })).toMatchObject({ status: 400 });
  });

  test('an id counts within its source', async () => {
    await post([EVENT, { ...EVENT, source: 'other' }, EVENT]);
    expect(new Set((await served.taken()).map(({ event_id }) => event_id)).size).toBe(2);
  });

  test.each([
    [{ a: 1 }, { a: 1 }],
    [[1], { value: [1] }],
    ['text', { value: 'text' }],
    [7, { value: 7 }],
    [null, {}],
    [undefined, {}],
  ])('data %j become properties', async (data, properties) => {
    await post({ ...EVENT, data });
    expect(await served.taken()).toMatchObject([{ properties }]);
  });

  test.each([
    ['{"a": [1,\n 2]}', { a: [1, 2] }, {}],
    ['[1]', { value: [1] }, {}],
    ['plain text, ü', { value: 'plain text, ü' }, {}],
    [Buffer.from([0xff, 0x00, 0x80]), {}, { data_base64: '/wCA' }],
    [deflateSync('data'), {}, { data_base64: deflateSync('data').toString('base64') }],
    [zstdCompressSync('data'), {}, { data_base64: zstdCompressSync('data').toString('base64') }],
    ['', {}, {}],
  ])('binary data %j', async (data, properties, extras) => {
    expect(await post(data, { ...BINARY, 'content-type': 'x/y' })).toMatchObject({ status: 200 });
    const [row] = await served.taken();
    expect(row!.properties).toEqual(properties);
    expect(row!.extras).toEqual({ specversion: '1.0', id: 'i', source: 's', datacontenttype: 'x/y', ...extras });
  });

  test('what looks compressed is so only where the body is the data', async () => {
    expect(await post(deflateSync(JSON.stringify(EVENT)))).toMatchObject({ status: 400 });
    expect(await post(deflateSync(JSON.stringify(EVENT)), { 'content-encoding': 'deflate' })).toMatchObject({
      status: 200,
    });
    expect(await served.taken()).toHaveLength(1);
  });

  test('attributes in headers are unescaped and decoded once', async () => {
    await post('{}', { ...BINARY, 'ce-subject': '"a\\"b%20c"', 'ce-other': 'Euro%20%E2%82%AC%2525', 'ce-bad': '%zz' });
    expect(await served.taken()).toMatchObject([{ extras: { subject: 'a"b c', other: 'Euro €%25', bad: '%zz' } }]);
  });

  test('whoever asks whether it may send is answered', async () => {
    // A long head is read by Node's server, a short one from the socket.
    for (const length of [1, 10_000]) {
      const { status, headers } = await send(served.port, {
        method: 'OPTIONS',
        path: '/cloudevents',
        headers: { 'webhook-request-origin': 'events.example.com', 'x-long': 'y'.repeat(length) },
      });
      const allowed = [headers['webhook-allowed-origin'], headers['webhook-allowed-rate']];
      expect([status, ...allowed]).toEqual([204, 'events.example.com', '*']);
    }
    const elsewhere = await send(served.port, {
      method: 'OPTIONS',
      path: '/logs',
      headers: { 'webhook-request-origin': 'x' },
    });
    expect(elsewhere.headers['webhook-allowed-origin']).toBeUndefined();
  });

  takesAnything(served, {
    path: '/cloudevents',
    headers: AUTH,
    list: null,
    keys: ['id', 'source', 'type', 'specversion', 'time', 'data', 'userid', 'traceparent'],
  });
});

describe('logs', async () => {
  await appFor('logs');
  const LEVELS: Record<number, string> = { 30: 'info' };

  function mapped(record: Sent): Mapped {
    const id = textOf(record['event_id'])!;
    const timeKey = 'timestamp' in record ? 'timestamp' : 'time';
    const level = record['level'];
    return {
      event_id: readUuid(id) ?? uuidOf(id),
      event: record['event'] as string,
      anonymous_id: null,
      user_id: textOf(record['user_id']),
      timestamp: new Date(record[timeKey] as string | number).toISOString(),
      session_id: textOf(record['session_id']),
      properties: record['properties'],
      extras: {
        ...without(record, 'event', 'user_id', 'session_id', 'properties', timeKey),
        level: typeof level === 'number' ? LEVELS[level] : level,
      },
    };
  }

  const recordsIn = (json: unknown): Sent[] => [json].flat() as Sent[];

  const served = replay({
    family: 'logs',
    path: '/logs',
    rows: ({ json, request }) => (json === undefined ? linesOf(request.body_text!) : recordsIn(json)).map(mapped),
    answer({ json, request }, { status, body }) {
      const accepted = json === undefined ? linesOf(request.body_text!).length : recordsIn(json).length;
      expect([status, JSON.parse(body.toString())]).toEqual([200, { status: 'ok', accepted }]);
    },
  });

  function linesOf(text: string): Sent[] {
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Sent);
  }

  const post = (body: unknown, path = '/logs') =>
    send(served.port, {
      method: 'POST',
      path,
      headers: AUTH,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const AT = '2026-11-20T12:00:00.000Z';

  test.each([
    ['an object', '{"a":1}', 1],
    ['a list', '[{"a":1},{"a":2}]', 2],
    ['an object around a list', '{"logs":[{"a":1},{"a":2}]}', 2],
    ['lines', '{"a":1}\r\n\n{"a":2}\n', 2],
    ['one behind the other', '{"a":1}{"a":2} {"a":3}', 3],
    ['over several lines', '{\n"a":1\n}\n{\n"a":2\n}', 2],
  ])('%s', async (_what, body, count) => {
    expect(await post(body)).toMatchObject({ status: 200 });
    expect(await served.taken()).toHaveLength(count);
  });

  test('a bad line costs that line', async () => {
    const { status, headers, body } = await post('{"a":1}\n{"a":\n{"a":2}\nnot json\n{"a":3}');
    expect([status, headers['weir-rejected']]).toEqual([200, '2']);
    expect(JSON.parse(body.toString())).toMatchObject({ accepted: 3, rejected: 2 });
    expect((await served.taken()).map(({ properties }) => properties['a'])).toEqual([1, 2, 3]);
  });

  test.each([
    ['texts', '{"logs":["a","b"]}', 1],
    ['a list with something beside it', '{"logs":[{"a":1}],"msg":"m"}', 1],
    ['a list behind something', '{"msg":"m","logs":[{"a":1}]}', 1],
    ['two lists', '{"logs":[{"a":1}],"logs":[{"a":1}]}', 1],
    ['no list', '{"logs":3}', 1],
    ['nothing', '{"logs":null}', 1],
    ['no list, in several records', '{"msg":"m","logs":3}\n{"logs":"x"}\n{"logs":["a"]}', 3],
    ['lists, in several records', '{"logs":[{"a":1},{"a":2}]}\n{"logs":[{"a":3}]}', 2],
    ['an unfinished list of texts, before other records', '{"a":1}\n{"logs":["a"\n{"a":2}', 2],
  ])('a record may have a field named logs: %s', async (_what, body, count) => {
    expect(await post(body)).toMatchObject({ status: 200 });
    const rows = await served.taken();
    expect(rows).toHaveLength(count);
    const [first] = body.split('\n');
    expect(rows[0]!.properties).toEqual(JSON.parse(first!));
  });

  test('an envelope with a list of nothing has no records', async () => {
    await post('{"logs":[]}');
    expect(await served.taken()).toEqual([]);
  });

  test('what is no field of ours becomes the properties, but for what has a column', async () => {
    await post({
      message: 'm',
      level: 50,
      service: 's',
      trace_id: 't',
      tags: ['x'],
      time: AT,
      user_id: 'u',
      amount: 1,
    });
    expect(await served.taken()).toMatchObject([
      { event: 'log', timestamp: AT, user_id: 'u', properties: { message: 'm', amount: 1 } },
    ]);
    await post({
      event_name: 'E',
      data: { a: 1 },
      message: 'm',
      level: 'warn',
      userId: 'u',
      anonymousId: 'a',
      sessionId: 's',
    });
    const [row] = await served.taken();
    expect(row).toMatchObject({ event: 'E', user_id: 'u', anonymous_id: 'a', session_id: 's', properties: { a: 1 } });
    expect(row!.extras).toEqual({ message: 'm', level: 'warn' });
  });

  test.each([
    [10, 'trace'],
    [20, 'debug'],
    [30, 'info'],
    [40, 'warn'],
    [50, 'error'],
    [60, 'fatal'],
    [35, 35],
    ['info', 'info'],
  ])('the level %j is %j', async (level, expected) => {
    await post({ level, x: 1 });
    expect(await served.taken()).toMatchObject([{ properties: { x: 1 }, extras: { level: expected } }]);
  });

  test.each(['timestamp', '@timestamp', 'time', '_time', 'date', 'ts', 'dt'])('the time may be in %s', async (name) => {
    await post({ [name]: AT });
    expect(await served.taken()).toMatchObject([{ timestamp: AT }]);
  });

  test('the same bytes are the same events, where their time tells them apart', async () => {
    const idsOf = async (body: unknown) => {
      await post(body);
      return (await served.taken()).map(({ event_id }) => event_id);
    };
    const timed = [
      { time: AT, a: 1 },
      { time: AT, a: 1 },
    ];
    expect(await idsOf(timed)).toEqual(await idsOf(timed));
    expect(new Set(await idsOf(timed)).size).toBe(2);
    expect(await idsOf([{ a: 1 }])).not.toEqual(await idsOf([{ a: 1 }]));
  });

  test('a token may be in the query', async () => {
    const sent = { method: 'POST', path: `/logs?api_key=${TOKEN}`, body: '{"a":1}' };
    expect(await send(served.port, sent)).toMatchObject({ status: 200 });
    expect(await served.taken()).toHaveLength(1);
    expect(await send(served.port, { ...sent, path: '/logs' })).toMatchObject({ status: 401 });
  });

  takesAnything(served, {
    path: '/logs',
    headers: AUTH,
    list: 'logs',
    isListAlone: true,
    keys: ['event', 'time', 'level', 'user_id', 'event_id', 'properties', 'data', 'service', 'tags'],
  });
});
