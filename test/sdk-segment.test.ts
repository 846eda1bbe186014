import { describe, expect, test } from 'vitest';
import { readUuid, uuidOf } from '../src/event/uuid.ts';
import { takesAnything } from './support/anything.ts';
import { send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { OTHER_TOKEN, TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown> & { context?: Record<string, unknown> };

const NAMES: Record<string, string> = {
  page: '$page',
  screen: '$screen',
  identify: '$identify',
  group: '$group',
  alias: '$alias',
};

/** The mapping, written once more, in plain words. */
function mapped(event: Sent): Mapped {
  const type = event['type'] as string;
  const anonymousKey = type === 'alias' ? 'previousId' : 'anonymousId';
  const hasTraits = type === 'identify' || type === 'group';
  const propertiesKey = hasTraits ? 'traits' : 'properties';
  const id = textOf(event['messageId']);
  const timeKey = 'timestamp' in event ? 'timestamp' : 'originalTimestamp';
  const gone = [
    'writeKey',
    timeKey,
    propertiesKey,
    ...(textOf(event['userId']) === null ? [] : ['userId']),
    ...(textOf(event[anonymousKey]) === null ? [] : [anonymousKey]),
    ...(id !== null && readUuid(id) !== null ? ['messageId'] : []),
    ...(type === 'track' ? ['event'] : []),
  ];
  return {
    event_id: id === null ? null : (readUuid(id) ?? uuidOf(id)),
    event: type === 'track' ? (event['event'] as string) : NAMES[type]!,
    anonymous_id: textOf(event[anonymousKey]),
    user_id: textOf(event['userId']),
    timestamp: event[timeKey] as string,
    session_id: textOf(event.context?.['sessionId']),
    properties: event[propertiesKey] ?? (hasTraits ? event.context?.['traits'] : undefined) ?? {},
    extras: without(event, ...gone),
  };
}

await appFor('segment');
const served = replay({
  family: 'segment',
  rows({ request: { method, url }, json }) {
    if (method !== 'POST' || url.startsWith('/v1/m')) return null;
    const body = json as { batch?: Sent[] } & Sent;
    return (body.batch ?? [body]).map(mapped);
  },
  answer({ request: { url } }, { status, headers, body }) {
    expect(status).toBe(200);
    const answer = JSON.parse(body.toString()) as Record<string, unknown>;
    if (url.includes('/settings')) {
      expect(answer).toMatchObject({ integrations: { 'Segment.io': { apiKey: TOKEN } } });
      expect(headers['cache-control']).toBe('max-age=300');
    } else if (url.startsWith('/sourceConfig')) {
      expect(answer).toMatchObject({ source: { writeKey: TOKEN, enabled: true } });
      expect(headers['cache-control']).toBe('max-age=300');
    } else {
      expect(answer).toEqual(url.startsWith('/api/s') ? { ok: true } : { success: true });
      if (!url.startsWith('/v1/m')) expect(headers['weir-ack']).toBe('queued');
    }
  },
});

const AUTH = { authorization: `Basic ${Buffer.from(`${TOKEN}:`).toString('base64')}` };
const post = (path: string, body: unknown, headers: Record<string, string> = AUTH) =>
  send(served.port, { method: 'POST', path, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
const TRACK = { type: 'track', event: 'E', messageId: 'm-1', userId: 'u1' };

describe('the type of an event', () => {
  test.each([
    ['its own', '/v1/page', { ...TRACK }, 'E'],
    ['that of the path', '/v1/i', { userId: 'u1' }, '$identify'],
    ['that of the path, at Jitsu', '/api/s/s2s/screen', { userId: 'u1' }, '$screen'],
    ['track, where there is a name', '/v1/batch', { event: 'E' }, 'E'],
  ])('is %s', async (_what, path, event, name) => {
    expect(await post(path, event)).toMatchObject({ status: 200 });
    expect(await served.taken()).toMatchObject([{ event: name }]);
  });

  test.each([
    [{}, 'type required'],
    [{ type: 'other' }, 'type must be one of track, page, identify, group, alias, screen'],
    [{ type: 'track' }, 'event required'],
  ])('of %j is missing', async (event, reason) => {
    const { status, headers, body } = await post('/v1/batch', event);
    expect([status, headers['weir-rejected']]).toEqual([400, '1']);
    expect(JSON.parse(body.toString())).toMatchObject({ success: false, rejected: 1, errors: [{ index: 0, reason }] });
    expect(headers['weir-ack']).toBeUndefined();
  });
});

test('a bad event costs itself, and is told of', async () => {
  const { status, headers, body } = await post('/v1/batch', { batch: [TRACK, 7, { ...TRACK, messageId: 'm-2' }] });
  expect([status, headers['weir-rejected']]).toEqual([200, '1']);
  expect(JSON.parse(body.toString())).toEqual({
    success: true,
    rejected: 1,
    errors: [{ index: 1, reason: 'event must be an object' }],
  });
  expect(await served.taken()).toHaveLength(2);
});

describe('a token', () => {
  test.each([
    ['as the user', '/v1/t', TRACK, AUTH],
    [
      'as the password of nobody',
      '/v1/t',
      TRACK,
      { authorization: `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}` },
    ],
    ['as a bearer', '/v1/t', TRACK, { authorization: `Bearer ${TOKEN}` }],
    ['as the write key', '/v1/t', TRACK, { 'x-write-key': `${TOKEN}:secret` }],
    ['as the API key', '/v1/t', TRACK, { 'x-api-key': TOKEN }],
    ['in the envelope', '/v1/b', { batch: [TRACK], writeKey: TOKEN }, {}],
    ['in a later event', '/v1/b', { batch: [TRACK, { ...TRACK, writeKey: TOKEN }] }, {}],
    ['in the query', `/v1/t?writeKey=${TOKEN}`, TRACK, {}],
  ])('is found %s', async (_where, path, body, headers) => {
    expect(await post(path, body, headers)).toMatchObject({ status: 200 });
    const rows = await served.taken();
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain(TOKEN);
  });

  test.each([
    ['none', '/v1/t', TRACK, {}],
    ['a bad one before a good one', `/v1/t?writeKey=${TOKEN}`, { ...TRACK, writeKey: TOKEN }, { 'x-write-key': 'bad' }],
    ['a bad one in the body', '/v1/t', { ...TRACK, writeKey: 'bad' }, {}],
    ['the masked one of Jitsu', '/api/s/track', { ...TRACK, writeKey: TOKEN }, {}],
  ])('%s is 401', async (_what, path, body, headers) => {
    const { status, headers: answered } = await post(path, body, headers);
    expect([status, answered['www-authenticate']]).toEqual([401, expect.stringContaining('Bearer')]);
    expect(await served.taken()).toEqual([]);
  });

  test('of another project costs its event', async () => {
    const batch = [TRACK, { ...TRACK, messageId: 'm-2', writeKey: OTHER_TOKEN }];
    const { body } = await post('/v1/batch', { batch, writeKey: TOKEN }, {});
    expect(JSON.parse(body.toString())).toMatchObject({ rejected: 1, errors: [{ index: 1 }] });
    expect(await served.taken()).toMatchObject([{ user_id: 'u1' }]);
  });
});

test('while nothing is taken, a client is told to wait without losing a try', async () => {
  served.flags.setIntake('disabled');
  const { status, headers } = await post('/v1/batch', { batch: [TRACK] });
  served.flags.setIntake('open');
  expect([status, headers['retry-after']]).toEqual([429, '300']);
});

describe('an image', () => {
  const data = Buffer.from(JSON.stringify({ ...TRACK, writeKey: TOKEN })).toString('base64url');

  test('sends an event', async () => {
    const { status, headers, body } = await send(served.port, { method: 'GET', path: `/v1/pixel/track?data=${data}` });
    expect([status, headers['content-type'], body.length]).toEqual([200, 'image/gif', 43]);
    expect(await served.taken()).toMatchObject([{ event: 'E', source: 'segment' }]);
  });

  test('is one also when it is refused', async () => {
    const { status, headers, body } = await send(served.port, { method: 'GET', path: '/v1/pixel/track?data=e30' });
    expect([status, headers['content-type'], body.length]).toEqual([401, 'image/gif', 43]);
  });
});

test('paths are folded for clients of others, and never lead to another door', async () => {
  expect(await post('//v1///batch//', { batch: [TRACK] })).toMatchObject({ status: 200 });
  expect(await served.taken()).toHaveLength(1);
  for (const path of ['//v1/events', '/v1/events/', '/V1/batch', '/api/v1/ingest/events/']) {
    expect(await post(path, { batch: [TRACK] })).toMatchObject({ status: 404 });
  }
});

describe('whatever is sent', () => {
  takesAnything(served, {
    path: '/v1/batch',
    headers: AUTH,
    list: 'batch',
    keys: [
      'type',
      'event',
      'userId',
      'anonymousId',
      'messageId',
      'timestamp',
      'sentAt',
      'properties',
      'traits',
      'context',
    ],
  });
});
