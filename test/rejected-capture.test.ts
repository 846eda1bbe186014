/** Copies of rejected events: bounded for each request, in what is copied and in what is looked at. */
import { describe, expect, test } from 'vitest';
import type { Decoded } from '../src/event/decode.ts';
import { finish } from '../src/event/steps.ts';
import { createAcceptance } from '../src/http/ingest/acceptance.ts';
import { otlpDoor } from '../src/http/ingest/doors/otlp.ts';
import { createCapture } from '../src/http/ingest/rejected-capture.ts';
import { segmentDoors } from '../src/http/ingest/doors/segment.ts';
import type { Accept } from '../src/pipeline/accept.ts';
import type { Watcher } from '../src/pipeline/watch-port.ts';
import { createManualClock } from './support/clock.ts';
import { PROJECT } from './support/factory.ts';

const MIB = 1024 * 1024;

function setup(hasRoom: () => boolean = () => true) {
  let read = 0;
  const capture = createCapture(
    {
      door: segmentDoors[0]!,
      projectId: 'project',
      path: '/v1/batch',
      receivedAt: 0,
      facts: { sentAt: null, ip: null, userAgent: null },
      token: () => null,
    },
    { newId: () => 'id', hasRoom },
  );
  const take = (raw: string | null) =>
    capture.take(0, 'type required', () => {
      read += 1;
      return raw;
    });
  const numbers = () => {
    const { events, tooLarge, surplus } = capture.captured();
    return { events: events.length, tooLarge, surplus, read };
  };
  return { take, numbers };
}

test('of a request a thousand events are copied, and no more are read', () => {
  const { take, numbers } = setup();
  for (let n = 0; n < 1_500; n += 1) take('{}');
  expect(numbers()).toEqual({ events: 1_000, tooLarge: 0, surplus: 500, read: 1_000 });
});

test('or four megabytes', () => {
  const { take, numbers } = setup();
  const large = JSON.stringify('x'.repeat(MIB - 2));
  for (let n = 0; n < 10; n += 1) take(large);
  expect(numbers()).toEqual({ events: 4, tooLarge: 0, surplus: 6, read: 4 });
});

test('what is too large is not copied, and counts towards what is looked at', () => {
  const { take, numbers } = setup();
  for (let n = 0; n < 10; n += 1) take(n % 2 === 0 ? null : 'x'.repeat(MIB + 1));
  expect(numbers()).toEqual({ events: 0, tooLarge: 4, surplus: 6, read: 4 });
});

test('nothing is read while there is no room', () => {
  const { take, numbers } = setup(() => false);
  take('{}');
  expect(numbers()).toEqual({ events: 0, tooLarge: 0, surplus: 1, read: 0 });
});

test('records of a request are told apart over resources and scopes, also empty ones', () => {
  const record = (name: string) => ({ eventName: name });
  const body = {
    resourceLogs: [
      {
        resource: { attributes: [] },
        scopeLogs: [{ logRecords: [] }, { scope: { name: 's' }, logRecords: [record('a')] }],
      },
      { scopeLogs: [] },
      {
        schemaUrl: 'u',
        scopeLogs: [{ logRecords: [record('b'), record('c')] }, { schemaUrl: 'v', logRecords: [null] }],
      },
    ],
  };
  const head = {
    method: 'POST',
    path: '/v1/logs',
    target: '/v1/logs',
    headers: {},
    query: () => new URLSearchParams(),
  };
  if (otlpDoor.body.kind === 'lines') throw new Error('unexpected');
  const opened = finish(otlpDoor.body.open(Buffer.from(JSON.stringify(body)), {}, { ...head, method: 'POST' }));
  if ('code' in opened) throw new Error(opened.message);
  expect([0, 2, 3, 4].map((index) => opened.sent!(index))).toEqual([
    '{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"eventName":"a"}]}]}]}',
    '{"resourceLogs":[{"schemaUrl":"u","scopeLogs":[{"logRecords":[{"eventName":"c"}]}]}]}',
    '{"resourceLogs":[{"schemaUrl":"u","scopeLogs":[{"schemaUrl":"v","logRecords":[null]}]}]}',
    null,
  ]);
});

describe('the rejected events of a request are counted and kept', () => {
  const decoded: Decoded = {
    rows: Buffer.from('{}\n'),
    accepted: 1,
    rejected: 1,
    rejections: [{ index: 0, reason: 'type required' }],
    truncated: false,
    kinds: { missing_field: 1 },
  };

  test.each<[string, ReturnType<Accept>, Partial<Decoded>, 'kept' | 'dropped']>([
    ['when the others were taken', Promise.resolve('queued'), {}, 'kept'],
    ['when there are no others', 'full', { accepted: 0 }, 'kept'],
    ['not when there is no room for the others', 'full', {}, 'dropped'],
    ['not when the disk does not take the others', Promise.resolve('not-journaled'), {}, 'dropped'],
    ['not when the journal has no room for the others', Promise.resolve('journal-full'), {}, 'dropped'],
  ])('%s', async (_, outcome, changed, expected) => {
    const fates: string[] = [];
    const ledger = { rejected: 0 };
    const told: unknown[] = [];
    const watcher: Watcher = {
      took: () => 7,
      refused: (request) => told.push(request),
      cut: () => {},
      settled: () => {},
    };
    const acceptance = createAcceptance({
      channel: { couldHold: () => true } as never,
      accept: () => outcome,
      watch: { watcher },
      idempotency: {} as never,
      ledger,
      clock: createManualClock(),
      newEventId: () => 'id',
      onRejected: () => fates.push('told'),
      keeper: {
        hasRoom: () => true,
        hold: () => ({ keep: () => fates.push('kept'), drop: () => fates.push('dropped') }),
      },
    });
    const door = segmentDoors[0]!;
    const entered = await acceptance.enter(
      { request: {} as never, requestId: 'r', receivedAt: 0, reservation: {} as never, ack: 'queued' },
      {
        credential: { projectId: PROJECT, kind: 'public', retentionSeconds: null, allowedOrigins: [] },
        key: null,
        bodyHash: () => '',
        eventCount: 2,
        decode: () => ({ ...decoded, ...changed }),
        head: {} as never,
        bodyBytes: 2,
        door,
        capture: { take: () => {}, captured: () => ({ events: [], tooLarge: 0, surplus: 0 }) },
      },
    );
    if ('answering' in entered) await entered.answering;
    expect(fates).toEqual(expected === 'kept' ? ['told', 'kept'] : ['dropped']);
    expect(ledger.rejected).toBe(expected === 'kept' ? 1 : 0);
    // Who looks was told of it as taken, where it was not refused at once.
    expect(told).toEqual(expected === 'dropped' && outcome instanceof Promise ? [7] : []);
  });
});
