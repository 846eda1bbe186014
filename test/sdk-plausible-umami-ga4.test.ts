/** Plausible, Umami and GA4: no ids, no retries; what tells the project is the id of a site. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { operationOf } from '../src/http/ingest/door-operation.ts';
import { ga4Messages } from '../src/http/ingest/doors/ga4.ts';
import { plausibleDoor } from '../src/http/ingest/doors/plausible.ts';
import { takesAnything } from './support/anything.ts';
import { send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown>;

const withoutNulls = (object: Sent): Sent =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));

/** A server makes the ids, so that two sendings are two events. */
const isRepeatable = () => false;

describe('plausible', async () => {
  await appFor('plausible');
  const served = replay({
    family: 'plausible',
    rows({ json }): Mapped[] {
      const sent = json as Sent;
      return [
        {
          event_id: null,
          event: sent['n'] as string,
          anonymous_id: null,
          user_id: null,
          timestamp: null,
          session_id: null,
          properties: withoutNulls({ ...(sent['p'] as Sent | undefined), url: sent['u'], referrer: sent['r'] }),
          extras: without(sent, 'n', 'd', 'p', 'u', 'r'),
        },
      ];
    },
    answer(_, { status, headers, body }) {
      expect([status, headers['content-type'], body.toString()]).toEqual([202, 'text/plain', 'ok']);
    },
    isRepeatable,
  });
  const post = (body: unknown, path = '/api/event') =>
    send(served.port, { method: 'POST', path, headers: {}, body: JSON.stringify(body) });

  test('long names mean the same', async () => {
    const sent = { name: 'E', domain: `${TOKEN}, other.example`, props: { a: 1 }, url: 'u', referrer: 'r', h: 1 };
    expect(await post(sent)).toMatchObject({ status: 202 });
    expect(await served.taken()).toMatchObject([
      { event: 'E', properties: { a: 1, url: 'u', referrer: 'r' }, extras: { h: 1 } },
    ]);
  });

  test('older scripts send properties as a text, and properties of these names win', async () => {
    await post({ n: 'E', d: TOKEN, m: '{"a": "ü", "url": "own"}', u: 'u', r: 'r' });
    const [row] = await served.taken();
    expect(row).toMatchObject({ properties: { a: 'ü', url: 'own', referrer: 'r' }, extras: { u: 'u' } });
  });

  test.each(['{"a"', '[1]', '"x"', 7])('properties that are none, %j, stay in the extras', async (p) => {
    await post({ n: 'E', d: TOKEN, p });
    expect(await served.taken()).toMatchObject([{ properties: {}, extras: { p } }]);
  });

  test('a name that is too long stays whole in the extras', async () => {
    await post({ n: 'n'.repeat(201), d: TOKEN });
    expect(await served.taken()).toMatchObject([{ event: 'n'.repeat(200), extras: { name: 'n'.repeat(201) } }]);
  });

  test('a site that is not known is 401, an event without a name 400', async () => {
    expect(await post({ n: 'E', d: 'other.example' })).toMatchObject({ status: 401 });
    expect(await post({ d: TOKEN })).toMatchObject({ status: 400, headers: { 'weir-rejected': '1' } });
    expect(await served.taken()).toEqual([]);
  });

  test('the answer to an event that is rejected is described', async () => {
    const { headers, body } = await post({ d: TOKEN });
    const { mediaType = 'application/json', schema } = operationOf(plausibleDoor).answers[400]!;
    expect(headers['content-type']).toBe(mediaType);
    const ajv = new Ajv2020({ strict: false });
    expect(ajv.validate(schema, JSON.parse(body.toString())), ajv.errorsText()).toBe(true);
  });

  test.each([
    ['{ }', { url: 'u', referrer: 'r' }],
    ['{\n"a" : 1 }', { a: 1, url: 'u', referrer: 'r' }],
    ['{"u\\u0072l":"own"}', { url: 'own', referrer: 'r' }],
    ['"{ }"', { url: 'u', referrer: 'r' }],
    ['" {\\"a\\":1} "', { a: 1, url: 'u', referrer: 'r' }],
  ])('properties %s get what the page says', async (properties, expected) => {
    const body = `{"n":"E","d":"${TOKEN}","m":${properties},"u":"u","r":"r"}`;
    expect(await send(served.port, { method: 'POST', path: '/api/event', headers: {}, body })).toMatchObject({
      status: 202,
    });
    expect((await served.taken())[0]!.properties).toEqual(expected);
  });

  // All of the events have to name the site: the first one speaks for all.
  takesAnything(served, { path: '/api/event', headers: {}, list: null, keys: ['n', 'd', 'p', 'u', 'r', 'name', 'm'] });
});

describe('umami', async () => {
  await appFor('umami');
  const OF_PAGE = ['url', 'title', 'referrer', 'hostname', 'language', 'screen', 'tag'];
  const served = replay({
    family: 'umami',
    rows({ json }): Mapped[] {
      const { type, payload } = json as { type: string; payload: Sent };
      const time = payload['timestamp'] as number | undefined;
      return [
        {
          event_id: null,
          event: type === 'identify' ? '$identify' : (textOf(payload['name']) ?? 'pageview'),
          anonymous_id: null,
          user_id: textOf(payload['id']),
          timestamp: time === undefined ? null : new Date(time * 1_000).toISOString(),
          session_id: null,
          properties: withoutNulls({
            ...(payload['data'] as Sent | undefined),
            ...Object.fromEntries(OF_PAGE.map((name) => [name, payload[name]])),
          }),
          extras: { type, ...without(payload, 'website', 'name', 'id', 'timestamp', 'data', ...OF_PAGE) },
        },
      ];
    },
    answer(_, { status, body }) {
      expect([status, JSON.parse(body.toString())]).toEqual([200, { cache: '', sessionId: '', visitId: '' }]);
    },
    isRepeatable,
  });
  const post = (body: unknown) =>
    send(served.port, { method: 'POST', path: '/api/send', headers: {}, body: JSON.stringify(body) });

  test('properties of the event win over those of the page', async () => {
    await post({ type: 'event', payload: { website: TOKEN, data: { url: 'own' }, url: 'page', userAgent: 'x' } });
    expect(await served.taken()).toMatchObject([
      { event: 'pageview', properties: { url: 'own' }, extras: { url: 'page', userAgent: 'x' } },
    ]);
  });

  test.each([
    ['{ }', { url: 'page' }],
    ['{\n"a" : 1 }', { a: 1, url: 'page' }],
    ['{"u\\u0072l":"own"}', { url: 'own' }],
    ['[{}]', { url: 'page' }],
    ['"{}"', { url: 'page' }],
  ])('data %s get what the page says', async (data, expected) => {
    const body = `{"type":"event","payload":{"website":"${TOKEN}","data":${data},"url":"page"}}`;
    await send(served.port, { method: 'POST', path: '/api/send', headers: {}, body });
    expect((await served.taken())[0]!.properties).toEqual(expected);
  });

  test('a site that is not known is 401', async () => {
    expect(await post({ type: 'event', payload: { website: 'other' } })).toMatchObject({ status: 401 });
    expect(await post({ type: 'event' })).toMatchObject({ status: 401 });
    expect(await served.taken()).toEqual([]);
  });

  takesAnything(served, {
    path: '/api/send',
    headers: {},
    list: null,
    keys: ['type', 'payload', 'website', 'name', 'data', 'id'],
  });
});

describe('ga4', async () => {
  const served = await appFor('ga4');
  const AT = Date.UTC(2026, 10, 20, 12);
  const post = (body: unknown, path = `/mp/collect?measurement_id=G-1&api_secret=${TOKEN}`) => {
    served.time.at = AT;
    return send(served.port, { method: 'POST', path, headers: {}, body: JSON.stringify(body) });
  };
  const BODY = {
    client_id: 'c',
    user_id: 'u',
    timestamp_micros: `${AT - 5_000}000`,
    user_properties: { plan: { value: 'pro' } },
    events: [
      { name: 'first', params: { session_id: 17, items: [{ id: 1 }] } },
      { name: 'second', timestamp_micros: (AT - 3_000) * 1_000 },
    ],
  };

  test('events have what the body says of all of them', async () => {
    const { status, headers, body } = await post(BODY);
    expect([status, body.length, headers['content-length'], headers['weir-ack']]).toEqual([
      204,
      0,
      undefined,
      'queued',
    ]);
    const common = { anonymous_id: 'c', user_id: 'u', source: 'ga4' };
    const rows = await served.taken();
    expect(rows).toMatchObject([
      {
        ...common,
        event: 'first',
        session_id: '17',
        timestamp: new Date(AT - 5_000).toISOString(),
        properties: { session_id: 17, items: [{ id: 1 }] },
      },
      { ...common, event: 'second', timestamp: new Date(AT - 3_000).toISOString(), properties: {} },
    ]);
    for (const { extras } of rows)
      expect(extras).toEqual({ user_properties: { plan: { value: 'pro' } }, measurement_id: 'G-1' });
  });

  test('an app has an instance instead of a client', async () => {
    await post(
      { app_instance_id: 'i', events: [{ name: 'e' }] },
      `/mp/collect/?firebase_app_id=1:2&api_secret=${TOKEN}`,
    );
    expect(await served.taken()).toMatchObject([{ anonymous_id: 'i', extras: { firebase_app_id: '1:2' } }]);
  });

  test('what is bad is told of', async () => {
    expect(await post({ events: [{ name: 'e' }, {}] })).toMatchObject({
      status: 204,
      headers: { 'weir-rejected': '1' },
    });
    expect(await post({ events: [{}] })).toMatchObject({ status: 400 });
    expect(await post(BODY, '/mp/collect')).toMatchObject({ status: 401 });
    expect(await served.taken()).toHaveLength(1);
  });

  test('what is said once of too many events is refused', async () => {
    const events = Array.from({ length: 5_000 }, () => ({ name: 'e' }));
    expect(await post({ user_properties: { x: 'y'.repeat(50_000) }, events })).toMatchObject({ status: 413 });
  });

  test('its debugging path says what is wrong, and stores nothing', async () => {
    const messagesOf = async (body: unknown) => {
      const { status, body: answer } = await post(body, '/debug/mp/collect/');
      return [status, (JSON.parse(answer.toString()) as { validationMessages: object[] }).validationMessages];
    };
    expect(await messagesOf(BODY)).toEqual([200, []]);
    expect(await messagesOf({ events: [{}] })).toMatchObject([
      200,
      [{ description: 'name required', fieldPath: 'events[0]' }],
    ]);
    expect(await served.taken()).toEqual([]);
  });

  test('its debugging path checks as many events as Google takes', () => {
    const events = Array.from({ length: 500 }, () => ({}));
    const checked = (body: object) => {
      const bytes = Buffer.from(JSON.stringify(body));
      const head = { method: 'POST', path: '', target: '', headers: {}, query: () => new URLSearchParams() } as const;
      const checking = ga4Messages(bytes, head, { receivedAt: AT, maxFutureMs: 0 });
      for (let stepCount = 1; ; stepCount += 1) {
        const step = checking.next();
        if (step.done) return { messages: step.value, stepCount };
      }
    };
    expect(checked({ events: events.slice(0, 25) }).messages).toHaveLength(25);
    // What is said of all of them is flattened into 25, a step for every two.
    const { messages, stepCount } = checked({ x: 'x'.repeat(128 * 1024), events });
    expect(messages).toHaveLength(26);
    expect(messages.at(-1)).toMatchObject({ fieldPath: 'events', description: expect.stringContaining('first 25') });
    expect(stepCount).toBe(13);
  });

  test('its debugging path has no room where unknown senders have none', async () => {
    const { channel } = served;
    const others = channel.reserve('unknown');
    let step = 8 * 1024 * 1024;
    for (; step >= 1; step /= 2) while (others.grow(step));
    const held = channel.usage().reservedBytes;
    expect(await post({ events: [{ name: 'e' }] }, '/debug/mp/collect')).toMatchObject({ status: 503 });
    expect(channel.usage().reservedBytes).toBe(held);
    others.release();
    expect(await post({ events: [{ name: 'e' }] }, '/debug/mp/collect')).toMatchObject({ status: 200 });
    expect(channel.usage().reservedBytes).toBe(0);
  });

  takesAnything(served, {
    path: `/mp/collect?api_secret=${TOKEN}`,
    headers: {},
    list: 'events',
    keys: ['name', 'params', 'timestamp_micros', 'session_id', 'client_id', 'user_id'],
  });
});
