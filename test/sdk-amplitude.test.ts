import { describe, expect, test } from 'vitest';
import { readUuid, uuidOf } from '../src/event/uuid.ts';
import { takesAnything } from './support/anything.ts';
import { send } from './support/recorded.ts';
import { appFor, type Mapped, replay, textOf, without } from './support/replayed.ts';
import { TOKEN } from './support/served-app.ts';

type Sent = Record<string, unknown>;

/** The mapping, written once more, in plain words. */
function mapped(event: Sent): Mapped {
  const type = event['event_type'] as string;
  const id = textOf(event['insert_id']);
  const key = { $identify: 'user_properties', $groupidentify: 'group_properties' }[type] ?? 'event_properties';
  const isUuid = id !== null && readUuid(id) !== null;
  const hasSession = textOf(event['session_id']) !== null && event['session_id'] !== -1;
  return {
    event_id: id === null ? null : isUuid ? id : uuidOf(id),
    event: type,
    anonymous_id: textOf(event['device_id']),
    user_id: textOf(event['user_id']),
    timestamp: new Date(event['time'] as number).toISOString(),
    session_id: hasSession ? textOf(event['session_id']) : null,
    properties: event[key] ?? {},
    extras: without(
      event,
      'event_type',
      'time',
      'user_id',
      'device_id',
      key,
      ...(isUuid ? ['insert_id'] : []),
      ...(hasSession ? ['session_id'] : []),
    ),
  };
}

await appFor('amplitude');
const served = replay({
  family: 'amplitude',
  rows: ({ request: { method }, json }) => (method === 'POST' ? (json as { events: Sent[] }).events.map(mapped) : null),
  answer({ json }, { status, body }) {
    expect(status).toBe(200);
    const { events } = json as { events: Sent[] };
    expect(JSON.parse(body.toString())).toEqual({
      code: 200,
      events_ingested: events.length,
      payload_size_bytes: expect.any(Number) as number,
      server_upload_time: served.time.at,
    });
  },
});

const post = (body: unknown, path = '/2/httpapi', headers: Record<string, string> = {}) =>
  send(served.port, { method: 'POST', path, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
const answerOf = async (sending: ReturnType<typeof post>) => {
  const { status, body, headers } = await sending;
  return { status, headers, answer: JSON.parse(body.toString()) as Record<string, unknown> };
};
const event = (more: object = {}) => ({ event_type: 'E', insert_id: 'i-1', ...more });
const batch = (...events: unknown[]) => ({ api_key: TOKEN, events });

describe('an answer has the number of its status as its code', () => {
  test('when a part was rejected', async () => {
    const { status, headers, answer } = await answerOf(post(batch(event(), {}, event({ insert_id: 'i-2' }))));
    expect([status, headers['weir-rejected'], answer['code'], answer['events_ingested']]).toEqual([200, '1', 200, 2]);
    expect(await served.taken()).toHaveLength(2);
  });

  test('when all were, with every one of them', async () => {
    const { status, answer } = await answerOf(post(batch({}, 7)));
    expect([status, answer]).toMatchObject([
      400,
      { code: 400, events_with_invalid_fields: { event: [0, 1] }, events_with_missing_fields: {} },
    ]);
  });

  test('when the body is none', async () => {
    const { status, answer } = await answerOf(post('{', undefined, { 'x-api-key': TOKEN }));
    expect([status, answer]).toMatchObject([400, { code: 400, missing_field: 'events' }]);
  });

  test.each(['bad', null])('when the token is %s', async (api_key) => {
    const { status, answer } = await answerOf(post({ api_key, events: [event()] }));
    expect([status, answer['code'], answer['error']]).toEqual([401, 401, expect.stringMatching(/^Invalid API key: /)]);
  });

  test('when it is too large', async () => {
    const { status, answer } = await answerOf(
      post(`{"api_key":"${TOKEN}","events":[],"x":"${'y'.repeat(11 * 1024 * 1024)}"}`),
    );
    expect([status, answer['code']]).toEqual([413, 413]);
  });

  test('when nothing is taken at the moment: the listed events wait', async () => {
    served.flags.setIntake('disabled');
    const { status, headers, answer } = await answerOf(post(batch(event())));
    served.flags.setIntake('open');
    expect([status, headers['retry-after'], answer['code']]).toEqual([429, '300', 429]);
    expect(answer['throttled_events']).toHaveLength(200);
  });
});

test('a session that is none is null', async () => {
  await post(batch(event({ session_id: -1 }), event({ insert_id: 'i-2', session_id: 1795190087329 })));
  expect(await served.taken()).toMatchObject([
    { session_id: null, extras: { session_id: -1 } },
    { session_id: '1795190087329' },
  ]);
});

test('a clock that is off is corrected by the time of upload', async () => {
  served.time.at = Date.UTC(2026, 10, 20, 12);
  const time = served.time.at - 3_600_000;
  const client_upload_time = new Date(time).toISOString();
  await post({ ...batch(event({ time })), client_upload_time });
  expect(await served.taken()).toMatchObject([
    { timestamp: '2026-11-20T12:00:00.000Z', extras: { time, $skew_ms: 3_600_000 } },
  ]);
});

describe('the path that is shared with PostHog', () => {
  const posthog = { event: 'P', distinct_id: 'd', uuid: '0198c0de-0000-7000-8000-00000000000b' };

  test.each([
    ['/batch', batch(event()), 'amplitude', { code: 200 }],
    ['/batch/', batch(event()), 'amplitude', { code: 200 }],
    ['/batch', { api_key: TOKEN, batch: [posthog] }, 'posthog', { status: 'Ok' }],
    ['/batch/', { api_key: TOKEN, batch: [posthog] }, 'posthog', { status: 'Ok' }],
    ['//batch/?x=1', [{ ...posthog, token: TOKEN }], 'posthog', { status: 'Ok' }],
  ])('%s with %j is one of %s', async (path, body, source, answer) => {
    expect(await answerOf(post(body, path))).toMatchObject({ status: 200, answer });
    expect(await served.taken()).toMatchObject([{ source }]);
  });

  test.each([
    ['/batch', '{', 400, { code: 400 }],
    ['/batch/', '{', 400, { code: 'invalid_json' }],
  ])('%s is answered by its spelling where the body cannot be read', async (path, body, status, answer) => {
    expect(await answerOf(post(body, path, { 'x-api-key': TOKEN }))).toMatchObject({ status, answer });
  });

  test('is busy in the words of its spelling', async () => {
    served.flags.setIntake('disabled');
    const answers = [await answerOf(post(batch(event()), '/batch')), await answerOf(post(batch(event()), '/batch/'))];
    served.flags.setIntake('open');
    expect(answers).toMatchObject([
      { status: 429, answer: { code: 429 } },
      { status: 503, answer: { code: 'ingest_disabled' } },
    ]);
  });

  test('speaks as Amplitude of a bad token in a body of Amplitude, and else as PostHog', async () => {
    expect(await answerOf(post({ api_key: 'bad', events: [event()] }, '/batch/'))).toMatchObject({
      status: 401,
      answer: { code: 401 },
    });
    expect(await answerOf(post({ api_key: 'bad', batch: [posthog] }, '/batch'))).toMatchObject({
      status: 401,
      answer: { code: 'unauthorized' },
    });
  });
});

describe('whatever is sent', () => {
  takesAnything(served, {
    path: '/2/httpapi',
    headers: { 'x-api-key': TOKEN },
    list: 'events',
    keys: [
      'event_type',
      'user_id',
      'device_id',
      'session_id',
      'time',
      'insert_id',
      'event_properties',
      'client_upload_time',
    ],
  });
});
