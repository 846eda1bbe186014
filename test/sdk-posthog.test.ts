import { describe, expect, test } from 'vitest';
import { uuidOf } from '../src/event/uuid.ts';
import { takesAnything } from './support/anything.ts';
import { send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { OTHER_TOKEN, TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown> & { properties: Record<string, unknown> };

/** The mapping, written once more, in plain words; `at` is when the request is received. */
function mapped(event: Sent, at: number): Mapped {
  const { properties } = event;
  const d = textOf(event['distinct_id']) ?? textOf(properties['distinct_id']) ?? textOf(properties['$device_id']);
  const device = textOf(properties['$device_id']);
  const isGroup =
    event['event'] === '$groupidentify' &&
    d === `$${String(properties['$group_type'])}_${String(properties['$group_key'])}`;
  const isSaid = properties['$is_identified'];
  const isIdentified =
    typeof isSaid === 'boolean' ? isSaid : textOf(properties['$user_id']) !== null || device === null || device !== d;
  const [user, anonymous] = isGroup
    ? [null, null]
    : event['event'] === '$create_alias'
      ? [textOf(properties['distinct_id']) ?? d, textOf(properties['alias'])]
      : isIdentified
        ? [d, textOf(properties['$anon_distinct_id']) ?? device]
        : [null, d];
  const isAgo = event['timestamp'] === undefined && event['offset'] !== undefined;
  const session = textOf(properties['$session_id']) ?? textOf(event['session_id']);
  return {
    event_id: event['uuid'] as string,
    event: event['event'] as string,
    anonymous_id: anonymous,
    user_id: user,
    timestamp: new Date(
      isAgo ? at - (event['offset'] as number) : Date.parse(event['timestamp'] as string),
    ).toISOString(),
    session_id: session,
    properties: without(properties, 'token'),
    extras: without(
      event,
      'uuid',
      'event',
      'timestamp',
      'properties',
      'token',
      'api_key',
      ...(isGroup ? [] : ['distinct_id']),
      ...(textOf(properties['$session_id']) === null ? ['session_id'] : []),
    ),
  };
}

const AT = Date.parse('2026-11-20T16:04:20.000Z');

await appFor('posthog');
const served = replay({
  family: 'posthog',
  // Near enough to when all of them were sent that no clock is off, but for those that are corrected: they say when.
  at: ({ json, request }) => sentAt(json, request),
  rows({ request, json }) {
    const { method, url } = request;
    if (method !== 'POST' || /^\/(?:flags|decide)/.test(url)) return null;
    const body = json as { batch?: Sent[] } & Sent;
    const events = Array.isArray(json) ? (json as Sent[]) : (body.batch ?? [body]);
    return events.map((event) => mapped(event, sentAt(json, request)));
  },
  answer({ request: { url } }, { status, headers, body }) {
    expect(status).toBe(200);
    if (url.includes('config.js')) {
      expect([headers['content-type'], body.length]).toEqual(['application/javascript', 0]);
    } else {
      const answer = JSON.parse(body.toString()) as Record<string, unknown>;
      if (/^\/(?:flags|decide)/.test(url)) expect(answer).toMatchObject({ featureFlags: {}, sessionRecording: false });
      else if (url.startsWith('/array')) expect(answer).toMatchObject({ hasFeatureFlags: false, surveys: false });
      else expect(answer).toEqual(url.startsWith('/i/v1') ? { results: {} } : { status: 'Ok' });
    }
  },
});

/** When a request says that it was sent, and a moment later. */
function sentAt(json: unknown, { url, headers }: { url: string; headers: Record<string, string> }): number {
  const said = (json as { sent_at?: string } | undefined)?.sent_at ?? headers['posthog-request-timestamp'];
  const inQuery = new URLSearchParams(url.split('?')[1]).get('_');
  return (said === undefined ? Number(inQuery ?? AT) : Date.parse(said)) + 20;
}

const AUTH = { authorization: `Bearer ${TOKEN}` };
const post = (path: string, body: unknown, headers: Record<string, string> = AUTH) =>
  send(served.port, { method: 'POST', path, headers, body: JSON.stringify(body) });
const NOW = Date.parse('2026-11-20T16:10:00.000Z');
const event = (more: object = {}) => ({
  event: 'E',
  uuid: '0198c0de-0000-7000-8000-00000000000a',
  distinct_id: 'd',
  ...more,
});

async function rowOf(sent: object, path = '/e', envelope: object = {}) {
  served.time.at = NOW;
  await post(path, { batch: [sent], ...envelope });
  const [row] = await served.taken();
  return row!;
}

describe('a person', () => {
  test.each([
    [{}, 'd', null],
    [{ $device_id: 'd' }, null, 'd'],
    [{ $device_id: 'v' }, 'd', 'v'],
    [{ $device_id: 'd', $user_id: 'd' }, 'd', 'd'],
    [{ $device_id: 'v', $is_identified: false }, null, 'd'],
    [{ $device_id: 'd', $is_identified: true, $anon_distinct_id: 'old' }, 'd', 'old'],
  ])('%j', async (properties, user_id, anonymous_id) => {
    expect(await rowOf(event({ properties }))).toMatchObject({ user_id, anonymous_id });
  });

  test('of an alias is the one it is of, and its old id is the anonymous one', async () => {
    const properties = { distinct_id: 'user', alias: 'old' };
    expect(await rowOf(event({ event: '$create_alias', properties }))).toMatchObject({
      user_id: 'user',
      anonymous_id: 'old',
    });
  });

  test('is nobody where a server describes a group, whose id stays', async () => {
    const properties = { $group_type: 'company', $group_key: 'g' };
    const row = await rowOf(event({ event: '$groupidentify', distinct_id: '$company_g', properties }));
    expect(row).toMatchObject({ user_id: null, anonymous_id: null, extras: { distinct_id: '$company_g' } });
  });

  test('may be named in the properties', async () => {
    expect(await rowOf({ event: 'E', properties: { distinct_id: 'p' } })).toMatchObject({ user_id: 'p' });
    expect(await rowOf({ event: 'E', properties: { $device_id: 'v' } })).toMatchObject({
      user_id: null,
      anonymous_id: 'v',
    });
  });
});

describe('an event without any id', () => {
  test('is rejected', async () => {
    const { status, headers, body } = await post('/e', { batch: [{ event: 'E' }] });
    expect([status, headers['weir-rejected']]).toEqual([400, '1']);
    expect(JSON.parse(body.toString())).toMatchObject({ errors: [{ index: 0, reason: 'distinct_id required' }] });
  });

  test('is dropped by name in v1, where all is well otherwise', async () => {
    const batch = [event(), { event: 'E', uuid: 'u-2' }];
    const { status, headers, body } = await post('/i/v1/analytics/events', { batch });
    expect([status, headers['weir-rejected']]).toEqual([200, '1']);
    expect(JSON.parse(body.toString())).toEqual({
      results: { 'u-2': { result: 'drop', details: 'distinct_id required' } },
    });
    expect(await served.taken()).toHaveLength(1);
    const none = await post('/i/v1/analytics/events', { batch: [{ event: 'E', uuid: 'u-2' }] });
    expect([none.status, none.headers['weir-rejected']]).toEqual([200, '1']);
  });

  test('is dropped by name in v1 however many there are, as all others count as taken', async () => {
    const ids = Array.from({ length: 150 }, (_, index) => `u-${index}`);
    const batch = [...ids.map((uuid) => ({ event: 'E', uuid })), event()];
    const { headers, body } = await post('/i/v1/analytics/events', { batch });
    expect(headers['weir-rejected']).toBe('150');
    expect(Object.keys((JSON.parse(body.toString()) as { results: object }).results)).toEqual(ids);
    expect(await served.taken()).toHaveLength(1);
  });
});

describe('when it happened', () => {
  const HOUR = 3_600_000;
  const timestamp = new Date(NOW - HOUR).toISOString();
  const now = new Date(NOW).toISOString();

  test('is corrected by what the body, or an older query, says of when it was sent', async () => {
    const sent_at = timestamp;
    expect(await rowOf(event({ timestamp }), '/e', { sent_at })).toMatchObject({
      timestamp: now,
      extras: { $skew_ms: HOUR },
    });
    expect(await rowOf(event({ timestamp }), `/e?_=${NOW - HOUR}`)).toMatchObject({ timestamp: now });
  });

  test('is not corrected for what is imported, and for servers', async () => {
    const sent_at = timestamp;
    expect(await rowOf(event({ timestamp }), '/e', { sent_at, historical_migration: true })).toMatchObject({
      timestamp,
    });
    expect(await rowOf(event({ timestamp, properties: { $is_server: true } }), '/e', { sent_at })).toMatchObject({
      timestamp,
    });
  });

  test('may be said by its age', async () => {
    expect(await rowOf(event({ offset: HOUR }))).toMatchObject({ timestamp, extras: { offset: HOUR } });
    expect(await rowOf(event({ offset: 8 * 24 * HOUR }))).toMatchObject({ timestamp: now });
    expect(await rowOf(event({ properties: { $time: (NOW - HOUR) / 1_000 } }))).toMatchObject({ timestamp });
  });
});

test('an id in the properties counts where there is no other', async () => {
  const sent = { event: 'E', distinct_id: 'd', properties: { $insert_id: 'i-1' } };
  expect(await rowOf(sent)).toMatchObject({ event_id: uuidOf('i-1'), properties: { $insert_id: 'i-1' } });
});

describe('a token', () => {
  test.each([
    ['in the envelope', { api_key: TOKEN, batch: [event()] }],
    ['in the event', event({ api_key: TOKEN })],
    ['in the properties', [event({ properties: { a: 1, token: TOKEN, b: [2] } })]],
    ['beside the properties', event({ token: TOKEN })],
  ])('is found %s and not stored', async (_where, body) => {
    expect(await post('/e', body, {})).toMatchObject({ status: 200 });
    const rows = await served.taken();
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain(TOKEN);
  });

  test('of another project costs its event', async () => {
    const body = [event({ properties: { token: TOKEN } }), event({ properties: { token: OTHER_TOKEN } })];
    expect(await post('/e', body, {})).toMatchObject({ status: 200, headers: { 'weir-rejected': '1' } });
    expect(await served.taken()).toHaveLength(1);
  });

  test('that is none is 401', async () => {
    expect(await post('/e', [event()], {})).toMatchObject({ status: 401 });
    expect(await post('/e', { api_key: TOKEN, batch: [event()] }, { authorization: 'Bearer bad' })).toMatchObject({
      status: 401,
    });
    expect(await served.taken()).toEqual([]);
  });
});

test('is told to come back with 503, because it drops what is answered with 429', async () => {
  served.flags.setIntake('disabled');
  const { status, headers } = await post('/e', [event()]);
  served.flags.setIntake('open');
  expect([status, headers['retry-after']]).toEqual([503, '300']);
});

describe('whatever is sent', () => {
  takesAnything(served, {
    path: '/e',
    headers: AUTH,
    list: 'batch',
    keys: [
      'event',
      'distinct_id',
      'uuid',
      'timestamp',
      'offset',
      'properties',
      '$device_id',
      '$is_identified',
      'sent_at',
      '$time',
    ],
  });
});
