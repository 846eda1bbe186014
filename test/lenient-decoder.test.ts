/** Events of clients of others: what a quirk costs is a field, and it stays in the extras. */
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { uuidOf } from '../src/event/uuid.ts';
import { send } from './support/recorded.ts';
import { serveApp, TOKEN } from './support/served-app.ts';

const NOW = Date.UTC(2026, 10, 20, 12);
const HOUR = 3_600_000;
const served = await serveApp({ at: NOW });
afterAll(() => served.server.close());

const iso = (ms: number) => new Date(ms).toISOString();
const AUTH = { authorization: `Bearer ${TOKEN}` };

async function rowsOf(body: unknown, headers: Record<string, string> = AUTH, path = '/v1/batch') {
  const sent = Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body);
  const { status } = await send(served.port, { method: 'POST', path, headers, body: sent });
  return { status, rows: await served.taken() };
}

const rowOf = async (event: object, envelope: object = {}) =>
  (await rowsOf({ ...envelope, batch: [{ type: 'track', event: 'E', ...event }] })).rows[0]!;

describe('a text', () => {
  const long = 'ü'.repeat(1_000);

  test.each([
    [123, '123', {}],
    [true, 'true', {}],
    ['u1', 'u1', {}],
    ['\ud83d\ude00'.repeat(201), '\ud83d\ude00'.repeat(200), { userId: '\ud83d\ude00'.repeat(201) }],
    [long, long.slice(0, 200), { userId: long }],
    ['', null, { userId: '' }],
    [{ a: 1 }, null, { userId: { a: 1 } }],
    [[1], null, { userId: [1] }],
    [null, null, {}],
  ])('%j', async (userId, user_id, extras) => {
    expect(await rowOf({ userId })).toMatchObject({ user_id, extras: { type: 'track', ...extras } });
    const { extras: all } = await rowOf({ userId });
    expect(Object.keys(all)).toEqual(['type', ...Object.keys(extras)]);
  });

  test('keeps the digits of a number', async () => {
    const body = '{"batch":[{"event":"E","userId":12345678901234567890,"messageId":98765432109876543210}]}';
    const { rows } = await rowsOf(body);
    expect(rows).toMatchObject([{ user_id: '12345678901234567890', event_id: uuidOf('98765432109876543210') }]);
  });

  test('as the name of an event may be a number, and is cut', async () => {
    expect(await rowOf({ event: 404 })).toMatchObject({ event: '404' });
    expect(await rowOf({ event: 'n'.repeat(201) })).toMatchObject({
      event: 'n'.repeat(200),
      extras: { event: 'n'.repeat(201) },
    });
  });
});

test.each([[[1]], ['text'], [7]])('properties that are no object, %j, stay in the extras', async (properties) => {
  expect(await rowOf({ properties })).toMatchObject({ properties: {}, extras: { properties } });
});

describe('an instant', () => {
  test.each([
    ['2026-11-19T10:00:00Z', '2026-11-19T10:00:00.000Z'],
    ['2026-11-19T10:00:00.123456+02:00', '2026-11-19T08:00:00.123Z'],
    ['2026-11-19T10:00:00', '2026-11-19T10:00:00.000Z'],
    ['2026-11-19 10:00:00.5', '2026-11-19T10:00:00.500Z'],
    ['1795000000', '2026-11-18T11:06:40.000Z'],
    [1795000000, '2026-11-18T11:06:40.000Z'],
    ['1795000000123', '2026-11-18T11:06:40.123Z'],
  ])('%j is read', async (timestamp, expected) => {
    const row = await rowOf({ timestamp });
    expect(row).toMatchObject({ timestamp: expected });
    expect(row.extras).toEqual({ type: 'track' });
  });

  test.each([['soon'], ['2026-02-30T00:00:00Z'], [{}], [true], ['1969-12-31T00:00:00Z'], [iso(NOW + 48 * HOUR)]])(
    '%j is none that can be stored: it stays, and the event happened now',
    async (timestamp) => {
      expect(await rowOf({ timestamp })).toMatchObject({ timestamp: iso(NOW), extras: { timestamp } });
    },
  );

  test('that is not there is when the event came', async () => {
    const row = await rowOf({});
    expect(row).toMatchObject({ timestamp: iso(NOW), extras: { type: 'track' } });
  });

  test('is the first that can be read', async () => {
    const originalTimestamp = '2026-11-19T10:00:00.000Z';
    expect(await rowOf({ timestamp: 'soon', originalTimestamp })).toMatchObject({
      timestamp: originalTimestamp,
      extras: { timestamp: 'soon' },
    });
    expect(await rowOf({ timestamp: originalTimestamp, originalTimestamp: '2026-11-01T00:00:00Z' })).toMatchObject({
      timestamp: originalTimestamp,
      extras: { originalTimestamp: '2026-11-01T00:00:00Z' },
    });
  });
});

describe('a clock', () => {
  const HAPPENED_BEFORE = 5_000;
  const event = (skew: number, more: object = {}) => ({
    timestamp: iso(NOW - skew - HAPPENED_BEFORE),
    sentAt: iso(NOW - skew),
    ...more,
  });

  test.each([HOUR, -HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR, 60_000, -60_000])(
    'that is %d ms slow is corrected',
    async (skew) => {
      const row = await rowOf(event(skew));
      expect(row['timestamp']).toBe(iso(NOW - HAPPENED_BEFORE));
      expect(row.extras).toMatchObject({ $skew_ms: skew, timestamp: iso(NOW - skew - HAPPENED_BEFORE) });
    },
  );

  test.each([0, 59_999, -59_999])('that is %d ms slow is right, so that a retry is the same row', async (skew) => {
    const row = await rowOf(event(skew));
    expect(row['timestamp']).toBe(iso(NOW - skew - HAPPENED_BEFORE));
    expect(row.extras).toEqual({ type: 'track', sentAt: iso(NOW - skew) });
  });

  test('is told by the envelope where the event does not', async () => {
    const row = await rowOf({ timestamp: iso(NOW - HOUR) }, { sentAt: iso(NOW - HOUR) });
    expect(row).toMatchObject({ timestamp: iso(NOW), extras: { $skew_ms: HOUR } });
  });

  test.each([['soon'], [null], [{}]])('counts as right where it says %j', async (sentAt) => {
    expect(await rowOf({ timestamp: iso(NOW - HOUR) }, { sentAt })).toMatchObject({ timestamp: iso(NOW - HOUR) });
  });

  test.each([{ channel: 'server' }, { properties: { $is_server: true } }, { properties: { $lib: 'posthog-node' } }])(
    'of a server, %j, is never corrected',
    async (more) => {
      const row = await rowOf(event(HOUR, more));
      expect(row['timestamp']).toBe(iso(NOW - HOUR - HAPPENED_BEFORE));
      expect(row.extras).not.toHaveProperty('$skew_ms');
    },
  );
});

describe('an id', () => {
  const UUID = '0198C0DE-0000-7000-8000-00000000000A';
  test.each([
    [UUID, UUID.toLowerCase(), false],
    ['message-1', uuidOf('message-1'), true],
    ['x'.repeat(1_000), uuidOf('x'.repeat(1_000)), true],
    [17, uuidOf('17'), true],
  ])('%j', async (messageId, event_id, isKept) => {
    const row = await rowOf({ messageId });
    expect(row.event_id).toBe(event_id);
    expect('messageId' in row.extras).toBe(isKept);
  });

  test.each([{}, { messageId: {} }, { messageId: '' }, { messageId: 'undefined' }])(
    '%j is made by the server',
    async (event) => {
      expect((await rowOf(event)).event_id).not.toBe((await rowOf(event)).event_id);
    },
  );
});

describe('a body', () => {
  const BATCH = { batch: [{ event: 'E', messageId: 'm-1' }] };
  const json = JSON.stringify(BATCH);

  test.each([
    ['with a mark and spaces in front', `\ufeff \n ${json}`],
    ['packed, without a word', gzipSync(json)],
    ['as a form', `data=${encodeURIComponent(json)}`],
    ['as a form in base64', `data=${Buffer.from(json).toString('base64')}`],
    ['as a form in the other base64', `v=1&data=${Buffer.from(json).toString('base64url')}`],
    ['as a list', JSON.stringify(BATCH.batch)],
    ['as one event', JSON.stringify(BATCH.batch[0])],
    [
      'that is no UTF-8',
      Buffer.concat([
        Buffer.from('{"batch":[{"event":"E","messageId":"m-1","x":"'),
        Buffer.from([0xff]),
        Buffer.from('"}]}'),
      ]),
    ],
  ])('%s is read', async (_how, body) => {
    const { status, rows } = await rowsOf(body, { ...AUTH, 'content-type': 'image/png' });
    expect(status).toBe(200);
    expect(rows).toMatchObject([{ event: 'E', event_id: uuidOf('m-1') }]);
  });

  test('of nothing, or without events, is a success', async () => {
    for (const body of ['', ' ', '[]', '{"batch":[]}', '{"batch":null}']) {
      expect(await rowsOf(body)).toEqual({ status: 200, rows: [] });
    }
  });

  test.each(['{', '[1', '7', '"text"', 'data=!', '{"batch":7}', '{"batch":[],"batch":[]}'])(
    '%s is refused',
    async (body) => {
      expect(await rowsOf(body)).toEqual({ status: 400, rows: [] });
    },
  );

  test('may have 5 000 events', async () => {
    const batch = Array.from({ length: 5_000 }, (_, n) => ({ event: 'E', messageId: `m-${n}` }));
    const { status, rows } = await rowsOf({ batch });
    expect(status).toBe(200);
    expect(new Set(rows.map(({ event_id }) => event_id)).size).toBe(5_000);
  });

  test('may be large and packed although its token is in it', async () => {
    const batch = Array.from({ length: 2_000 }, (_, n) => ({ event: 'E', messageId: `m-${n}`, text: 'x'.repeat(500) }));
    const { status, rows } = await rowsOf(gzipSync(JSON.stringify({ batch, writeKey: TOKEN })), {});
    expect([status, rows.length]).toEqual([200, 2_000]);
  });

  test('that is far larger than it looks is refused', async () => {
    expect(await rowsOf(gzipSync(Buffer.alloc(11 * 1024 * 1024, ' ')))).toEqual({ status: 413, rows: [] });
    expect(await rowsOf(gzipSync(Buffer.alloc(11 * 1024 * 1024, ' ')), {})).toEqual({ status: 413, rows: [] });
  });
});

test('what is too large or too deep costs one event', async () => {
  const deep = `${'['.repeat(70)}${']'.repeat(70)}`;
  const body = `{"batch":[{"event":"E","x":"${'y'.repeat(300_000)}"},{"event":"E","x":${deep}},{"event":"E"}]}`;
  expect((await rowsOf(body)).rows).toHaveLength(1);
});

test('the place of a request, its key and its wish to wait mean nothing', async () => {
  const { status } = await send(served.port, {
    method: 'POST',
    path: '/v1/batch?ack=never&wait=maybe',
    headers: { ...AUTH, 'idempotency-key': '' },
    body: '[{"event":"E"}]',
  });
  expect(status).toBe(200);
  expect(await served.taken()).toHaveLength(1);
});
