import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { uuidOf } from '../src/event/uuid.ts';
import { mixpanelDoors } from '../src/http/ingest/doors/mixpanel.ts';
import { takesAnything } from './support/anything.ts';
import { type Recorded, send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { OTHER_TOKEN, TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown> & { properties: Record<string, unknown> };

const OPERATIONS = ['$set', '$set_once', '$add', '$append', '$union', '$remove', '$unset', '$delete'];

/** The mapping of the recorded events, none of which names a device, written once more in plain words. */
function mapped(event: Sent): Mapped {
  const { properties } = event;
  const name = event['event'] as string;
  const id = textOf(properties['$insert_id']);
  const distinct = textOf(properties['distinct_id']);
  return {
    event_id: id === null ? null : uuidOf(`${id}\n${name}\n${distinct ?? ''}`),
    event: name,
    anonymous_id: name === '$create_alias' ? textOf(properties['alias']) : null,
    user_id: distinct,
    timestamp: typeof properties['time'] === 'number' ? instantOf(properties['time']) : null,
    session_id: null,
    properties: without(properties, 'token'),
    extras: without(event, 'event', 'properties'),
  };
}

function mappedProfile(profile: Record<string, unknown>): Mapped {
  const isGroup = '$group_key' in profile;
  return {
    event_id: null,
    event: isGroup ? '$group' : '$engage',
    anonymous_id: null,
    user_id: textOf(profile['$distinct_id']),
    timestamp: null,
    session_id: null,
    properties: Object.fromEntries(Object.entries(profile).filter(([name]) => OPERATIONS.includes(name))),
    extras: without(profile, '$token', '$distinct_id', ...OPERATIONS),
  };
}

const instantOf = (time: number) => new Date(time < 1e11 ? time * 1_000 : time).toISOString();

function sentIn({ request: { url }, json }: Recorded): unknown[] {
  const data = new URLSearchParams(url.split('?')[1]).get('data');
  const sent: unknown = json ?? JSON.parse(Buffer.from(data!, 'base64').toString());
  return Array.isArray(sent) ? sent : [sent];
}

await appFor('mixpanel');
const served = replay({
  family: 'mixpanel',
  rows: (recorded) =>
    /^\/(?:engage|groups)/.test(recorded.request.url)
      ? sentIn(recorded).map((profile) => mappedProfile(profile as Record<string, unknown>))
      : sentIn(recorded).map((event) => mapped(event as Sent)),
  answer(_, { status, headers, body }) {
    expect([status, headers['content-type'], body.toString()]).toEqual([200, 'text/plain', '1']);
  },
  isRepeatable: ({ event_id }) => event_id !== null,
});

const AUTH = { authorization: `Basic ${Buffer.from(`${TOKEN}:`).toString('base64')}` };
const post = async (path: string, body: unknown, headers: Record<string, string> = AUTH) => {
  const sent = typeof body === 'string' ? body : JSON.stringify(body);
  const answered = await send(served.port, { method: 'POST', path, headers, body: sent });
  return { status: answered.status, headers: answered.headers, text: answered.body.toString() };
};
const event = (properties: object = {}) => ({ event: 'E', properties });

describe('a person', () => {
  test.each([
    [{ distinct_id: 'u' }, 'u', null],
    [{ distinct_id: 'u', $device_id: 'd' }, 'u', 'd'],
    [{ distinct_id: 'd', $device_id: 'd' }, null, 'd'],
    [{ distinct_id: '$device:d' }, null, 'd'],
    [{ distinct_id: '$device:d', $user_id: 'u' }, 'u', 'd'],
    [{ distinct_id: '$device:d', $device_id: 'd', $user_id: 'u' }, 'u', 'd'],
    [{ distinct_id: 17 }, '17', null],
    [{}, null, null],
  ])('of an event, %j', async (properties, user_id, anonymous_id) => {
    await post('/track', event(properties));
    expect(await served.taken()).toMatchObject([{ user_id, anonymous_id, properties }]);
  });

  test.each([
    [{ distinct_id: 'u', alias: 'old' }, 'u', 'old'],
    [{ distinct_id: '$device:d', alias: 'u' }, 'u', 'd'],
    [{ distinct_id: 'd', $device_id: 'd', alias: 'u' }, 'u', 'd'],
  ])('of an alias, %j', async (properties, user_id, anonymous_id) => {
    await post('/track', { event: '$create_alias', properties });
    expect(await served.taken()).toMatchObject([{ user_id, anonymous_id }]);
  });

  test('of a profile', async () => {
    await post(
      '/engage',
      [{ $distinct_id: '$device:d', $set: { a: 1 }, $add: { n: 1 }, $ip: '1.2.3.4', $token: TOKEN }],
      {},
    );
    expect(await served.taken()).toMatchObject([
      {
        event: '$engage',
        user_id: null,
        anonymous_id: 'd',
        properties: { $set: { a: 1 }, $add: { n: 1 } },
        extras: { $distinct_id: '$device:d', $ip: '1.2.3.4' },
      },
    ]);
  });

  test('is none of a group', async () => {
    await post('/groups', [{ $group_key: 'k', $group_id: 'g', $distinct_id: 'u', $unset: ['a'] }]);
    expect(await served.taken()).toMatchObject([
      {
        event: '$group',
        user_id: null,
        anonymous_id: null,
        properties: { $unset: ['a'] },
        extras: { $group_key: 'k', $distinct_id: 'u' },
      },
    ]);
  });
});

test('an id counts with the name and the person', async () => {
  await post('/track', [
    event({ $insert_id: 'i' }),
    event({ $insert_id: 'i', distinct_id: 'u' }),
    { event: 'F', properties: { $insert_id: 'i' } },
  ]);
  expect(new Set((await served.taken()).map(({ event_id }) => event_id)).size).toBe(3);
});

describe('an instant', () => {
  test.each([1795190087.329, 1795190087329])('%d is read', async (time) => {
    await post('/track', event({ time }));
    expect(await served.taken()).toMatchObject([{ timestamp: '2026-11-20T15:54:47.329Z', properties: { time } }]);
  });

  test('is corrected by when the query says that it was sent', async () => {
    served.time.at = Date.UTC(2026, 10, 20, 12);
    const sentAt = served.time.at - 3_600_000;
    await post(`/track?_=${sentAt}`, event({ time: sentAt }));
    expect(await served.taken()).toMatchObject([
      { timestamp: '2026-11-20T12:00:00.000Z', extras: { $skew_ms: 3_600_000 }, properties: { time: sentAt } },
    ]);
  });
});

describe('an answer', () => {
  const bad = { properties: {} };

  test.each([
    ['', event(), 200, '1'],
    ['?verbose=1', event(), 200, '{"status":1,"error":null}'],
    ['?verbose=1', [event(), bad], 200, '{"status":1,"error":"1 rejected: event required"}'],
    ['', [event(), bad], 200, '1'],
    ['', [bad], 400, '0'],
    ['?verbose=1', [bad], 400, '{"status":0,"error":"all 1 events were rejected: event required"}'],
    ['', '{', 400, '0'],
  ])('to /track%s', async (query, body, status, text) => {
    served.time.at = Date.UTC(2026, 10, 20, 12);
    expect(await post(`/track${query}`, body)).toMatchObject({ status, text });
    await served.taken();
  });

  test('to a form says as much as the form asks for', async () => {
    const data = Buffer.from(JSON.stringify(event({ token: TOKEN }))).toString('base64');
    expect(await post('/track', `verbose=1&data=${data}`, {})).toMatchObject({ text: '{"status":1,"error":null}' });
    expect(await served.taken()).toHaveLength(1);
  });

  test('to /import, strictly', async () => {
    const all = await post('/import?strict=1', `${JSON.stringify(event())}\n${JSON.stringify(event())}\n`);
    expect([all.status, JSON.parse(all.text)]).toEqual([200, { code: 200, status: 'OK', num_records_imported: 2 }]);
    const some = await post('/import?strict=1', [event(), bad]);
    expect([some.status, some.headers['weir-rejected'], JSON.parse(some.text)]).toMatchObject([
      400,
      '1',
      { code: 400, num_records_imported: 1, failed_records: [{ index: 1, reason: 'event required' }] },
    ]);
    expect(await served.taken()).toHaveLength(3);
  });

  test('as an image', async () => {
    const { status, headers, body } = await send(served.port, {
      method: 'GET',
      path: `/track?img=1&data=${Buffer.from(JSON.stringify(event({ token: TOKEN }))).toString('base64url')}`,
    });
    expect([status, headers['content-type'], body.length]).toEqual([200, 'image/gif', 43]);
    expect(await served.taken()).toHaveLength(1);
  });

  test.each([
    ['/track', [event()]],
    ['/track', [bad]],
    ['/track?verbose=1', [event()]],
    ['/track?verbose=1', [event(), bad]],
    ['/track?verbose=1', [bad]],
    ['/import?strict=1', [event()]],
    ['/import?strict=1', [event(), bad]],
    ['/track?img=1', [event()]],
    ['/track?img=1', [bad]],
  ])('to %s with %j is described', async (path, events) => {
    const door = mixpanelDoors.find(({ paths: [own] }) => own === path.split('?')[0])!;
    const { status, headers, text } = await post(path, events);
    await served.taken();
    const answer: unknown = headers['content-type'] === 'application/json' ? JSON.parse(text) : text;
    const ajv = new Ajv2020({ strict: false });
    expect(ajv.validate(door.answers[status as 200 | 400]!, answer), ajv.errorsText()).toBe(true);
  });

  test.each([
    ['', 401, '0'],
    ['?verbose=1', 401, '{"status":0,"error":"a valid token is required"}'],
  ])('to a bad token%s', async (query, status, text) => {
    expect(await post(`/track${query}`, event({ token: 'bad' }), {})).toMatchObject({ status, text });
  });
});

test('the token of the event decides, and another one costs its event', async () => {
  const headers = { authorization: 'Basic c29tZWJvZHk6c2VjcmV0' };
  const { status, headers: answered } = await post(
    '/import',
    [event({ token: TOKEN }), event({ token: OTHER_TOKEN })],
    headers,
  );
  expect([status, answered['weir-rejected']]).toEqual([200, '1']);
  const rows = await served.taken();
  expect(rows).toHaveLength(1);
  expect(JSON.stringify(rows)).not.toContain(TOKEN);
});

test('a client of OpenPanel finds nothing here', async () => {
  const { status, text } = await post('/track', event(), { ...AUTH, 'openpanel-client-id': 'x' });
  expect([status, JSON.parse(text)]).toMatchObject([404, { code: 'not_found' }]);
  expect(await served.taken()).toEqual([]);
});

test('nothing but what sends events is a method here', async () => {
  const { status, headers } = await send(served.port, { method: 'HEAD', path: '/track', headers: AUTH });
  expect([status, headers.allow]).toEqual([405, 'POST, GET, OPTIONS']);
});

test('a request line of 60 KB is read', async () => {
  const data = Buffer.from(JSON.stringify(event({ token: TOKEN, text: 'x'.repeat(44_000) }))).toString('base64');
  expect(await send(served.port, { method: 'GET', path: `/track?data=${encodeURIComponent(data)}` })).toMatchObject({
    status: 200,
  });
  expect(await served.taken()).toHaveLength(1);
  expect(await send(served.port, { method: 'GET', path: `/track?data=${'x'.repeat(100_000)}` })).toMatchObject({
    status: 431,
  });
});

describe('whatever is sent', () => {
  const keys = [
    'event',
    'properties',
    'distinct_id',
    '$device_id',
    '$user_id',
    '$insert_id',
    'time',
    '$set',
    '$distinct_id',
  ];
  takesAnything(served, { path: '/track', headers: AUTH, list: null, keys });
  describe('of people', () => {
    takesAnything(served, { path: '/engage', headers: AUTH, list: null, keys });
  });
});
