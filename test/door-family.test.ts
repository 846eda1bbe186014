/** What a family of doors may declare: several paths, places of tokens, encodings, answers and refusals of its own. */
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { trackerDoors } from './support/example-family.ts';
import { serveDoors } from './support/served-doors.ts';

const { url, server, channel, observed, description } = await serveDoors(trackerDoors);
afterAll(() => server.close());
afterEach(() => vi.restoreAllMocks());

const EVENT = { type: 'track', event: 'plan_chosen', ts: 1777897800, userId: 'u1' };
const KEY = { 'x-write-key': 'good' };

async function send(target: string, body: unknown, headers: Record<string, string> = KEY) {
  const sent = body instanceof Uint8Array || typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(url + target, { method: 'POST', headers, body: sent });
  const text = await response.text();
  const [path] = target.split('?');
  const answer = { status: response.status, headers: response.headers, text };
  expect(description.problemsWithAnswer(description.operation('POST', path!), answer)).toEqual([]);
  return answer;
}

/** What was taken since the last call. */
async function taken() {
  const batch = (await channel.take())!;
  channel.settle(batch, 'stored');
  const lines = Buffer.concat([...batch.chunks])
    .toString()
    .trimEnd()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test.each(['/v9/track', '/v9/t', '/v9/track/'])('%s is the same door, and has the same name', async (path) => {
  observed.length = 0;
  expect(await send(path, EVENT)).toMatchObject({ status: 200, text: 'ok' });
  expect(await taken()).toMatchObject([{ source: 'tracker', event: 'plan_chosen' }]);
  expect(observed).toEqual(['POST /v9/track 200']);
});

test('what it answers is sent as it is, with its type and its level', async () => {
  const { headers } = await send('/v9/track', EVENT);
  expect([headers.get('content-type'), headers.get('weir-ack')]).toEqual(['text/plain', 'queued']);
  await taken();
});

test('a field chooses the format of each event', async () => {
  await send('/v9/batch', [EVENT, { type: 'identify', ts: 1777897801, traits: { plan: 'pro' } }, { type: 'other' }]);
  expect(await taken()).toMatchObject([
    { event: 'plan_chosen', properties: {} },
    { event: 'identify', properties: { plan: 'pro' } },
  ]);
});

describe('a token', () => {
  test.each([
    ['in a header of its own', '/v9/track', EVENT, KEY],
    ['in the query', '/v9/track?key=good', EVENT, {}],
    ['where every door has it', '/v9/track', EVENT, { authorization: 'Bearer good' }],
    ['in the event', '/v9/track', { ...EVENT, writeKey: 'good' }, {}],
    ['in the first event', '/v9/batch', [{ ...EVENT, writeKey: 'good' }], {}],
  ])('%s is found', async (_where, target, body, headers) => {
    expect(await send(target, body, headers as Record<string, string>)).toMatchObject({ status: 200 });
    expect(await taken()).toHaveLength(1);
  });

  test.each([
    ['none', '/v9/track', EVENT, {}],
    ['a bad one before a good one', '/v9/track?key=good', EVENT, { 'x-write-key': 'bad' }],
    ['a bad one in the body', '/v9/track', { ...EVENT, writeKey: 'bad' }, {}],
  ])('%s is refused in the words of the family', async (_what, target, body, headers) => {
    const { status, text, headers: answered } = await send(target, body, headers);
    expect([status, JSON.parse(text)]).toMatchObject([401, { success: false, code: 401 }]);
    expect(answered.get('www-authenticate')).toContain('Bearer');
    expect(channel.usage().events).toBe(0);
  });
});

describe('gzip of which no header speaks', () => {
  test.each([
    ['with a token in a header', KEY, EVENT],
    ['with a token in the event', {}, { ...EVENT, writeKey: 'good' }],
  ])('is unpacked %s', async (_how, headers, event) => {
    expect(await send('/v9/track', gzipSync(JSON.stringify(event)), headers as Record<string, string>)).toMatchObject({
      status: 200,
    });
    expect(await taken()).toMatchObject([{ event: 'plan_chosen' }]);
  });

  test('is unpacked once, and within the limits of any body', async () => {
    const twice = gzipSync(gzipSync(JSON.stringify(EVENT)));
    expect(await send('/v9/track', twice)).toMatchObject({ status: 400 });
    expect(await send('/v9/track', gzipSync(Buffer.alloc(1_000_001, ' ')))).toMatchObject({ status: 413 });
    expect(await send('/v9/track', gzipSync(Buffer.alloc(300_000, ' ')), {})).toMatchObject({ status: 413 });
    expect(await send('/v9/track', gzipSync(JSON.stringify(EVENT)).subarray(0, -9))).toMatchObject({ status: 400 });
    expect(channel.usage()).toMatchObject({ events: 0, reservedBytes: 0 });
  });
});

test('a body is opened with what the request says of itself', async () => {
  const form = new URLSearchParams({ data: JSON.stringify([EVENT, EVENT]) }).toString();
  expect(await send('/v9/batch?form=1', form)).toMatchObject({ status: 200 });
  expect(await taken()).toHaveLength(2);
});

test.each([
  ['a body that is none', '/v9/batch', '{', 400, null],
  ['no room', '/v9/batch', [EVENT], 429, '1'],
])('%s is refused with the status of the family', async (what, target, body, status, retryAfter) => {
  if (what === 'no room') vi.spyOn(channel, 'isFull').mockReturnValue(true);
  const { text, headers, ...answer } = await send(target, body);
  expect([answer.status, headers.get('retry-after')]).toEqual([status, retryAfter]);
  expect(JSON.parse(text)).toEqual({ success: false, code: status, why: expect.any(String) as string });
});

test('what fails is refused in the words of the family', async () => {
  vi.spyOn(channel, 'isFull').mockImplementation(() => {
    throw new Error('a bug');
  });
  const response = await fetch(`${url}/v9/track`, { method: 'POST', headers: KEY, body: '{}' });
  expect([response.status, await response.json()]).toMatchObject([500, { success: false, code: 500 }]);
});
