import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { skewOf } from '../src/event/clock-skew.ts';
import { decodeEvents, type Decoded } from '../src/event/decode.ts';
import { decoderOf } from '../src/event/decoder.ts';
import type { DecodeContext } from '../src/event/decoding.ts';
import { readEnvelope } from '../src/event/envelope.ts';
import { MAX_LISTED_REJECTIONS, type ProjectId } from '../src/event/event.ts';
import { finish } from '../src/event/steps.ts';
import { nativeFormat } from '../src/http/ingest/doors/native.ts';
import { sentIn } from './support/sent-documents.ts';

const NEW_ID = '0198c0de-0000-7000-8000-000000000001';
const CONTEXT: DecodeContext = {
  projectId: 'p-1' as ProjectId,
  source: 'native',
  receivedAt: Date.UTC(2026, 0, 2),
  maxFutureMs: 86_400_000,
  newEventId: () => NEW_ID,
  retentionSeconds: null,
};

const decodeNative = decoderOf(nativeFormat);

/** Decodes events that are given as raw JSON. */
function decode(...events: string[]): Decoded & { lines: string[] } {
  const envelope = finish(readEnvelope(Buffer.from(`{"events":[${events.join(',')}]}`)));
  if (!envelope.ok) throw new Error(envelope.message);
  const decoded = finish(decodeEvents(envelope.events, decodeNative(CONTEXT)));
  return { ...decoded, lines: decoded.rows.toString().split('\n').slice(0, -1) };
}

/** A good event with more members, given as raw JSON. */
function eventWith(members: string): string {
  return `{"event":"e","timestamp":"2026-01-01T00:00:00Z"${members && `,${members}`}}`;
}

/** The row of a good event with more members. */
function rowWith(members: string): string {
  const { lines, rejections } = decode(eventWith(members));
  expect(rejections).toEqual([]);
  return lines[0] ?? '';
}

/** Raw JSON of one field of that row, as it was sent. */
function rawFieldWith(members: string, field: 'properties' | 'extras'): string {
  return sentIn(rowWith(members))[field];
}

function fieldWith(members: string, field: string): unknown {
  return (JSON.parse(rowWith(members)) as Record<string, unknown>)[field];
}

function long(length: number): string {
  return 'x'.repeat(length);
}

function deep(depth: number): string {
  return `${'['.repeat(depth)}${']'.repeat(depth)}`;
}

test('a full event becomes a row', () => {
  const { lines, accepted, rejected, rejections, truncated } = decode(
    '{"event":"signup","timestamp":1767225600.25,"anonymous_id":"a","user_id":"u","session_id":"s",' +
      '"event_id":"0198C0DE-AAAA-7000-8000-00000000000F","properties":{"b":1,"a":10000000000000000001},"extras":{"x":1e300},"y":[ ]}',
  );
  expect({ accepted, rejected, rejections, truncated }).toEqual({
    accepted: 1,
    rejected: 0,
    rejections: [],
    truncated: false,
  });
  expect(lines).toEqual([
    '{"project_id":"p-1","event_id":"0198c0de-aaaa-7000-8000-00000000000f","event":"signup","anonymous_id":"a",' +
      '"user_id":"u","timestamp":"2026-01-01T00:00:00.250Z","session_id":"s","properties":{"b":1,"a":10000000000000000001},' +
      '"extras":{"x":1e300,"y":[ ]},"source":"native","received_at":"2026-01-02T00:00:00.000Z"}',
  ]);
});

describe('of what ClickHouse cannot read, a row has a readable form and what was sent', () => {
  test.each([
    [
      '"properties":{"b" : 1e400,"a":1},"extras":{"x":1e300}',
      '"properties":{"b" : "1e400","a":1},"extras":{"x":1e300},"properties_sent":{"b" : 1e400,"a":1}',
    ],
    [
      '"properties":{"a":1},"x" : "\\ud83d"',
      '"properties":{"a":1},"extras":{"x":"\\ufffd"},"extras_sent":{"x":"\\ud83d"}',
    ],
    [
      '"properties":{\n"a":18446744073709551616},"\\udc00":{"a":[-1e309]}',
      '"properties":{ "a":"18446744073709551616"},"extras":{"\\ufffd":{"a":["-1e309"]}},' +
        '"properties_sent":{ "a":18446744073709551616},"extras_sent":{"\\udc00":{"a":[-1e309]}}',
    ],
    // The columns are well-formed anyway.
    ['"user_id":"\\ud800","extras":{"a":1}', '"properties":{},"extras":{"a":1}'],
  ])('%s', (members, documents) => {
    const row = rowWith(members);
    expect(row).toContain(`"session_id":null,${documents},"source":"native","received_at"`);
  });

  test('its neighbours in the request are what they are alone', () => {
    const events = ['{"a":1}', '{"a":1e400}', '{"a":"\\ud83d\\ude00"}', '{"a":"\\ud83d"}', '{"a":0.1}'].map(
      (properties) => eventWith(`"properties":${properties}`),
    );
    const { lines } = decode(...events);
    expect(lines).toEqual(events.map((event) => decode(event).lines[0]));
    expect(lines.map((line) => line.includes('_sent'))).toEqual([false, true, false, true, false]);
  });

  test('no event is refused for what its readable form and the copy take', () => {
    const numbers = (count: number) => `"properties":{"a":[${Array(count).fill('1e309').join(',')}]}`;
    expect(rowWith(numbers(43_000)).length).toBeGreaterThan(2 * 256 * 1024);
    expect(decode(eventWith(numbers(44_000))).rejections).toEqual([{ index: 0, reason: 'event too large' }]);
  });
});

describe('reasons', () => {
  test.each([
    ['1', 'event must be an object'],
    ['null', 'event must be an object'],
    ['"a"', 'event must be an object'],
    ['[{"event":"e"}]', 'event must be an object'],
    ['{}', 'event required'],
    ['{"event":null}', 'event required'],
    ['{"event":""}', 'event required'],
    ['{"event":1}', 'event must be a string'],
    ['{"event":["a"]}', 'event must be a string'],
    ['{"event":true}', 'event must be a string'],
    [`{"event":"${long(201)}"}`, 'event too long'],
    [`{"event":"${'😀'.repeat(201)}"}`, 'event too long'],
    [`{"event":"${'\\ud83d\\ude00'.repeat(201)}"}`, 'event too long'],
    [`{"event":"${'\\ud83d'.repeat(201)}"}`, 'event too long'],
    [`{"event":"\\n${long(200)}"}`, 'event too long'],
    [`{"event":"${'\\n'.repeat(5000)}"}`, 'event too long'],
    ['{"event":"e"}', 'timestamp required'],
    ['{"event":"e","timestamp":null}', 'timestamp required'],
    ['{"event":"e","timestamp":""}', 'timestamp invalid'],
    ['{"event":"e","timestamp":true}', 'timestamp invalid'],
    ['{"event":"e","timestamp":"2026-01-01"}', 'timestamp invalid'],
    ['{"event":"e","timestamp":"2026-02-30T00:00:00Z"}', 'timestamp invalid'],
    ['{"event":"e","timestamp":20260101}', 'timestamp invalid'],
    ['{"event":"e","timestamp":"20260101000000"}', 'timestamp invalid'],
    ['{"event":"e","timestamp":"1969-12-31T23:59:59Z"}', 'timestamp out of range'],
    ['{"event":"e","timestamp":"2026-01-03T00:00:00.001Z"}', 'timestamp out of range'],
    ['{"event":"e","timestamp":1e400}', 'timestamp out of range'],
    [eventWith('"anonymous_id":true'), 'anonymous_id must be a string'],
    [eventWith(`"user_id":1${'0'.repeat(200)}`), 'user_id too long'],
    [eventWith('"anonymousId":{}'), 'anonymous_id must be a string'],
    [eventWith(`"anonymousId":"${long(201)}"`), 'anonymous_id too long'],
    [eventWith('"user_id":false'), 'user_id must be a string'],
    [eventWith(`"userId":"${long(201)}"`), 'user_id too long'],
    [eventWith('"session_id":[]'), 'session_id must be a string'],
    [eventWith(`"session_id":"${long(201)}"`), 'session_id too long'],
    [eventWith('"uuid":true'), 'event_id must be a string'],
    [eventWith(`"messageId":"${long(201)}"`), 'event_id too long'],
    [eventWith('"properties":[]'), 'properties must be an object'],
    [eventWith('"properties":"{}"'), 'properties must be an object'],
    [eventWith('"extras":false'), 'extras must be an object'],
    [eventWith(`"properties":{"a":"${long(256 * 1024)}"}`), 'event too large'],
    [eventWith(`"stray":"${long(256 * 1024)}"`), 'event too large'],
    [eventWith(`"properties":{"a":${deep(64)}}`), 'nesting too deep'],
    [eventWith(`"extras":{"a":${deep(64)}}`), 'nesting too deep'],
    [eventWith(`"stray":${deep(65)}`), 'nesting too deep'],
    [eventWith(`"stray":${deep(100_000)}`), 'nesting too deep'],
  ])('%.80s: %s', (event, reason) => {
    expect(decode(event).rejections).toEqual([{ index: 0, reason }]);
  });

  test('are told in this order', () => {
    const wrongs = [
      ['"event":1', '"event":"e"'],
      ['"timestamp":true', '"timestamp":1'],
      ['"anonymous_id":{}', '"anonymous_id":null'],
      [`"user_id":"${long(201)}"`, '"user_id":null'],
      ['"session_id":[]', '"session_id":null'],
      ['"event_id":{}', '"event_id":null'],
      ['"properties":1', '"properties":{}'],
      ['"extras":1', '"extras":{}'],
      [`"large":"${long(300_000)}"`, '"large":0'],
      [`"deep":${deep(65)}`, '"deep":0'],
    ];
    const told = wrongs.map((_, fixedCount) => {
      const members = wrongs.map(([wrong, right], place) => (place < fixedCount ? right : wrong));
      // Sent in the opposite order, so that it is the rules' order that shows.
      return decode(`{${members.toReversed().join(',')}}`).rejections[0]?.reason;
    });
    expect(told).toEqual([
      'event must be a string',
      'timestamp invalid',
      'anonymous_id must be a string',
      'user_id too long',
      'session_id must be a string',
      'event_id must be a string',
      'properties must be an object',
      'extras must be an object',
      'event too large',
      'nesting too deep',
    ]);
  });

  test.each([
    [`"event":"${'x'.repeat(200)}"`],
    [`"event":"${'😀'.repeat(200)}"`],
    [`"event":"${'\\ud83d\\ude00'.repeat(200)}"`],
    [`"event":"${'\\ud83d'.repeat(200)}"`],
    ['"event":"\\u0000"'],
    ['"timestamp":"2026-01-03T00:00:00.000999Z"'],
    ['"timestamp":0'],
    [`"properties":{"a":${deep(63)}}`],
    [`"extras":{"a":${deep(63)}}`],
    [`"stray":${deep(64)}`],
    // Only what gives the field its value is judged.
    ['"user_id":true,"user_id":"u"'],
    ['"user_id":"u","userId":true'],
  ])('do not hit what is just right: %.60s', (members) => {
    expect(decode(eventWith(members)).rejections).toEqual([]);
  });

  test('event too large counts the bytes of the row, to the byte', () => {
    const overhead = Buffer.byteLength(rowWith('"properties":{"a":""}'));
    const fits = 256 * 1024 - overhead;
    expect(rowWith(`"properties":{"a":"${'x'.repeat(fits)}"}`)).toHaveLength(256 * 1024);
    expect(decode(eventWith(`"properties":{"a":"${'x'.repeat(fits + 1)}"}`)).rejected).toBe(1);
    expect(decode(eventWith(`"properties":{"a":"${'é'.repeat(fits / 2 + 1)}"}`)).rejected).toBe(1);
  });

  test('one bad event costs one event, and only so many are listed', () => {
    const events = Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? '{}' : eventWith('')));
    const { accepted, rejected, rejections, truncated, lines } = decode(...events);
    expect({ accepted, rejected, truncated, lineCount: lines.length }).toEqual({
      accepted: 150,
      rejected: 150,
      truncated: true,
      lineCount: 150,
    });
    expect(rejections.map(({ index }) => index)).toEqual(
      Array.from({ length: MAX_LISTED_REJECTIONS }, (_, i) => i * 2),
    );
    expect(decode(...Array.from({ length: 100 }, () => '0')).truncated).toBe(false);
    expect(decode(...Array.from({ length: 101 }, () => '0')).truncated).toBe(true);
  });

  test('an extras that is too large alone is not looked into', () => {
    expect(decode(eventWith(`"s":1,"extras":{"s":"${long(256 * 1024)}"}`)).rejections).toEqual([
      { index: 0, reason: 'event too large' },
    ]);
  });

  test('megabytes of rows keep their order', () => {
    const events = Array.from({ length: 5000 }, (_, i) =>
      eventWith(`"properties":{"i":${i},"pad":"${long(i % 400)}"}`),
    );
    const { lines, rows } = decode(...events);
    expect(rows.length).toBeGreaterThan(1024 * 1024);
    expect(lines.map((line) => (JSON.parse(line) as { properties: { i: number } }).properties.i)).toEqual(
      Array.from({ length: 5000 }, (_, i) => i),
    );
  });

  test('no events make no rows', () => {
    expect(decode()).toMatchObject({ rows: Buffer.alloc(0), accepted: 0, rejected: 0, rejections: [] });
  });
});

describe('names and aliases', () => {
  test.each([
    [
      '"anonymousId":"a","userId":"u","sessionId":"s"',
      { anonymous_id: 'a', user_id: 'u', session_id: 's', extras: {} },
    ],
    ['"userId":"camel","user_id":"snake"', { user_id: 'snake', extras: { userId: 'camel' } }],
    ['"user_id":"snake","userId":"camel"', { user_id: 'snake', extras: { userId: 'camel' } }],
    ['"user_id":null,"userId":"camel"', { user_id: null, extras: { userId: 'camel' } }],
    ['"user_id":"","anonymous_id":null', { user_id: null, anonymous_id: null, session_id: null, extras: {} }],
    ['"user_id":"a","user_id":"b"', { user_id: 'b', extras: {} }],
    ['"userId":"a","userId":"b"', { user_id: 'b', extras: {} }],
    ['"user\\u005fid":"u","us\\u0065rId":"c"', { user_id: 'u', extras: { userId: 'c' } }],
    ['"User_id":"u"', { user_id: null, extras: { User_id: 'u' } }],
    ['"event":"last"', { event: 'last', extras: {} }],
    ['"project_id":"other","received_at":1', { project_id: 'p-1', extras: { project_id: 'other', received_at: 1 } }],
    ['"properties":null,"extras":null', { properties: {}, extras: {} }],
    ['"properties":1,"properties":{"a":1}', { properties: { a: 1 }, extras: {} }],
  ])('%s', (members, row) => {
    expect(JSON.parse(rowWith(members))).toMatchObject(row);
    expect((JSON.parse(rowWith(members)) as { extras: unknown }).extras).toEqual(row.extras);
  });

  test('strings are made well-formed and otherwise kept', () => {
    expect(fieldWith('"user_id":"a\\ud800b"', 'user_id')).toBe('a\ufffdb');
    expect(fieldWith('"user_id":"\\udc00\\ud800"', 'user_id')).toBe('\ufffd\ufffd');
    expect(fieldWith('"user_id":"\\ud83d\\ude00 é €"', 'user_id')).toBe('😀 é €');
    expect(fieldWith('"user_id":"a\\u0000\\n\\"\\\\"', 'user_id')).toBe('a\u0000\n"\\');
    expect(fieldWith('"user_id":"日本 😀"', 'user_id')).toBe('日本 😀');
    expect(rowWith('"user_id":"a\\u0000"')).toContain('"user_id":"a\\u0000"');
  });
});

describe('event ids', () => {
  const A = '0198c0de-aaaa-7000-8000-00000000000a';
  const B = '0198c0de-bbbb-7000-8000-00000000000b';

  test.each([
    ['', NEW_ID, '{}'],
    ['"event_id":null', NEW_ID, '{}'],
    ['"event_id":""', NEW_ID, '{}'],
    [`"event_id":"${A}"`, A, '{}'],
    [`"event_id":"${A.toUpperCase()}"`, A, '{}'],
    [`"event_id":"\\u0030${A.slice(1)}"`, A, '{}'],
    [`"eventId":"${A}"`, A, '{}'],
    [`"messageId":"${A}"`, A, '{}'],
    [`"uuid":"${A}"`, A, '{}'],
    [`"uuid":"${A}","messageId":"${B}"`, B, `{"uuid":"${A}"}`],
    [`"uuid":1,"messageId":2,"eventId":"${A}"`, A, '{"uuid":1,"messageId":2}'],
    [`"eventId":"${A}","event_id":"${B}"`, B, `{"eventId":"${A}"}`],
    [`"eventId":"${A}","event_id":""`, NEW_ID, `{"eventId":"${A}"}`],
    ['"event_id":"00000000-0000-0000-0000-000000000000"', '00000000-0000-0000-0000-000000000000', '{}'],
    // printf abc | sha256sum → ba7816bf8f01cfea414140de5dae2223…
    ['"event_id":"abc"', 'ba7816bf-8f01-8fea-8141-40de5dae2223', '{"event_id":"abc"}'],
    ['"x":1,"messageId":"abc","y":2', 'ba7816bf-8f01-8fea-8141-40de5dae2223', '{"x":1,"messageId":"abc","y":2}'],
    ['"messag\\u0065Id":"\\u0061bc"', 'ba7816bf-8f01-8fea-8141-40de5dae2223', '{"messag\\u0065Id":"\\u0061bc"}'],
    ['"event_id":123', 'a665a459-2042-8f9d-817e-4867efdc4fb8', '{"event_id":123}'],
    ['"event_id":"123"', 'a665a459-2042-8f9d-817e-4867efdc4fb8', '{"event_id":"123"}'],
    [`"message_id":"${A}"`, A, '{}'],
    [`"id":"${A}"`, A, '{}'],
    [`"id":"${A.toUpperCase()}"`, A, '{}'],
    [`"\\u0069d":"${A}"`, A, '{}'],
    [`"id":"${A}","message_id":"${B}"`, B, `{"id":"${A}"}`],
    [`"id":"${A}","uuid":"${B}"`, B, `{"id":"${A}"}`],
    ['"message_id":"abc"', 'ba7816bf-8f01-8fea-8141-40de5dae2223', '{"message_id":"abc"}'],
    // What cannot be an id costs no event where an id is not looked for by its own name.
    ['"message_id":{"a":1}', NEW_ID, '{"message_id":{"a":1}}'],
    ['"id":[1]', NEW_ID, '{"id":[1]}'],
    ['"id":null', NEW_ID, '{"id":null}'],
    ['"id":true', NEW_ID, '{"id":true}'],
    // What programs send for want of an id would make all events one.
    ['"event_id":"undefined"', NEW_ID, '{"event_id":"undefined"}'],
    ['"id":"null"', NEW_ID, '{"id":"null"}'],
    ['"messageId":"[object Object]"', NEW_ID, '{"messageId":"[object Object]"}'],
    ['"uuid":"abc","extras":{"uuid":0}', 'ba7816bf-8f01-8fea-8141-40de5dae2223', '{"uuid":"abc"}'],
  ])('%s', (members, id, extras) => {
    expect(fieldWith(members, 'event_id')).toBe(id);
    expect(rawFieldWith(members, 'extras')).toBe(extras);
  });

  test.each([
    [`{${A}}`],
    [`{${A.toUpperCase()}}`],
    [`urn:uuid:${A}`],
    [`URN:UUID:${A.toUpperCase()}`],
    [A.replaceAll('-', '')],
    [A.replaceAll('-', '').toUpperCase()],
    [`{${A.replaceAll('-', '')}}`],
  ])('%s is the same UUID, and is kept as sent', (id) => {
    expect(fieldWith(`"event_id":"${id}"`, 'event_id')).toBe(A);
    expect(fieldWith(`"id":"${id}"`, 'event_id')).toBe(A);
    expect(fieldWith(`"event_id":"${id}"`, 'extras')).toEqual({ event_id: id });
  });

  test.each([
    [`{${A}`],
    [`${A}}`],
    [A.replace('-', '')],
    [`${A} `],
    [A.slice(0, -1)],
    [`g${A.slice(1)}`],
    ['日本'],
    [`urn:uuid:${A.slice(0, 35)}`],
  ])('%s is hashed to the same UUID v8 each time', (id) => {
    const hashed = fieldWith(`"event_id":"${id}"`, 'event_id');
    expect(hashed).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(fieldWith(`"event_id":"${id}"`, 'event_id')).toBe(hashed);
    expect(fieldWith(`"event_id":"${id}"`, 'extras')).toEqual({ event_id: id });
  });
});

describe('a bare id that is no UUID', () => {
  const idWith = (members: string) =>
    (JSON.parse(decode(`{${members}}`).lines[0] ?? '') as { event_id: string }).event_id;
  const first = idWith('"event":"paid","timestamp":1767225600,"id":17');

  test('is the same for the same event, whatever else of it changes, and is kept as sent', () => {
    expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8/);
    expect(idWith('"id":17,"timestamp":1767225600,"event":"paid","attempt":2')).toBe(first);
    expect(idWith('"id":"17","timestamp":1767225600,"event":"paid"')).toBe(first);
    expect(decode('{"event":"paid","timestamp":1767225600,"id":17}').lines[0]).toContain('"extras":{"id":17}');
  });

  test('does not make two events of one order one', () => {
    expect(idWith('"event":"sent","timestamp":1767225600,"id":17')).not.toBe(first);
    expect(idWith('"event":"paid","timestamp":1767225601,"id":17')).not.toBe(first);
    expect(idWith('"event":"paid","timestamp":1767225600,"message_id":17')).not.toBe(first);
  });
});

test.each([
  ['"user_id":123', 'user_id', '123'],
  ['"anonymousId":-0', 'anonymous_id', '-0'],
  ['"session_id":12345678901234567890', 'session_id', '12345678901234567890'],
  ['"user_id":1.50', 'user_id', '1.50'],
  ['"user_id":1E+5', 'user_id', '1E+5'],
])('a number where an id is a text becomes its digits as written: %s', (members, field, text) => {
  expect(fieldWith(members, field)).toBe(text);
});

test.each(['{}', '0', eventWith('')])('a step ends after some thousand events, however short they are: %s', (sent) => {
  const envelope = finish(readEnvelope(Buffer.from(`{"events":[${`${sent},`.repeat(19_999)}${sent}]}`)));
  if (!envelope.ok) throw new Error(envelope.message);
  let count = 0;
  const decodeEvent = decodeNative(CONTEXT);
  const steps = decodeEvents(envelope.events, (event) => {
    count += 1;
    return decodeEvent(event);
  });
  const counts: number[] = [];
  for (let before = 0; !steps.next().done; before = count) counts.push(count - before);
  expect(count).toBe(20_000);
  expect(counts.length).toBeGreaterThanOrEqual(4);
  expect(Math.max(...counts)).toBeLessThanOrEqual(4_096);
});

describe('the clock of a device', () => {
  const HOUR_MS = 3_600_000;
  const RECEIVED = CONTEXT.receivedAt;
  /** What becomes of an event of a request that was sent at this instant by the device's clock. */
  const decodeSent = (sentAt: number | null, event: string) => {
    const envelope = finish(readEnvelope(Buffer.from(`{"events":[${event}]}`)));
    if (!envelope.ok) throw new Error(envelope.message);
    const decodeEvent = decodeNative({ ...CONTEXT, skewMs: skewOf(sentAt, RECEIVED) });
    const { rows, rejections } = finish(decodeEvents(envelope.events, decodeEvent));
    const row = rows.length === 0 ? null : (JSON.parse(rows.toString()) as { timestamp: string; extras: object });
    return { at: row && Date.parse(row.timestamp), extras: row?.extras, reason: rejections[0]?.reason };
  };
  const eventAt = (ms: number, more = '') => `{"event":"e","timestamp":${ms}${more}}`;

  test.each([
    ['an hour slow', -HOUR_MS],
    ['an hour fast', HOUR_MS],
    ['a minute slow', -60_000],
    ['years slow', -10 * 365 * 24 * HOUR_MS],
    ['years fast', 10 * 365 * 24 * HOUR_MS],
  ])('%s is corrected exactly, and what was sent is kept', (_name, wrongBy) => {
    const happened = RECEIVED - 5_432;
    const { at, extras } = decodeSent(RECEIVED + wrongBy, eventAt(happened + wrongBy));
    expect(at).toBe(happened);
    expect(extras).toEqual({ timestamp: happened + wrongBy, $skew_ms: -wrongBy });
  });

  test('below a minute nothing is changed, nor without sent_at', () => {
    for (const sentAt of [null, RECEIVED, RECEIVED - 59_999, RECEIVED + 59_999]) {
      const { at, extras } = decodeSent(sentAt, eventAt(RECEIVED - 1_000));
      expect({ at, extras }).toEqual({ at: RECEIVED - 1_000, extras: {} });
    }
  });

  test('what is sent as extras is kept beside, and stray fields', () => {
    const sent = `{"timestamp":"2026-01-01T22:00:00Z","x":1,"event":"e","extras":{ "y" : 2 }}`;
    expect(decodeSent(RECEIVED - 2 * HOUR_MS, sent)).toMatchObject({
      at: RECEIVED,
      extras: { y: 2, timestamp: '2026-01-01T22:00:00Z', x: 1, $skew_ms: 2 * HOUR_MS },
    });
    expect(decodeSent(RECEIVED - 2 * HOUR_MS, sent.replace('{ "y" : 2 }', '{ }')).extras).toMatchObject({ x: 1 });
  });

  test('the range is that of the corrected instant', () => {
    const reasonAt = (ms: number) => decodeSent(RECEIVED - HOUR_MS, eventAt(ms)).reason;
    expect(reasonAt(RECEIVED + CONTEXT.maxFutureMs - HOUR_MS)).toBeUndefined();
    expect(reasonAt(RECEIVED + CONTEXT.maxFutureMs - HOUR_MS + 1)).toBe('timestamp out of range');
    expect(decodeSent(0, '{"event":"e","timestamp":"1969-12-31T23:59:00Z"}').at).toBe(RECEIVED - 60_000);
    expect(decodeSent(RECEIVED + HOUR_MS, eventAt(1_000)).reason).toBe('timestamp out of range');
  });

  test.each([
    ',"channel":"server"',
    ',"extras":{"channel":"server"}',
    ',"properties":{"$is_server":true}',
    ',"properties":{"a":1,"$lib":"posthog\\u002dnode"}',
    ',"library":"posthog-node"',
  ])('a server has a right one, and keeps the first sent_at over its retries: %s', (more) => {
    expect(decodeSent(RECEIVED - HOUR_MS, eventAt(RECEIVED - HOUR_MS, more)).at).toBe(RECEIVED - HOUR_MS);
  });

  test.each([
    ',"channel":"web"',
    ',"properties":{"$is_server":false,"$lib":"web"}',
    ',"properties":{"channel":"server"}',
  ])('others do not: %s', (more) => {
    expect(decodeSent(RECEIVED - HOUR_MS, eventAt(RECEIVED - HOUR_MS, more)).at).toBe(RECEIVED);
  });
});

test.each(['\n', '\r', '\r\n'])(
  'line ends between tokens, %j, become spaces of the same length; escaped ones stay',
  (end) => {
    const members = `"properties":{${end}\t"a\\n" :${end}1},"x":[${end}]`;
    const spaces = ' '.repeat(end.length);
    expect(rawFieldWith(members, 'properties')).toBe(`{${spaces}\t"a\\n" :${spaces}1}`);
    expect(rawFieldWith(members, 'extras')).toBe(`{"x":[${spaces}]}`);
  },
);

describe('extras', () => {
  test.each([
    ['', '{}'],
    ['"extras":{}', '{}'],
    ['"extras":{ }', '{ }'],
    ['"extras":{"b":1, "a" : 2,"b":3}', '{"b":1, "a" : 2,"b":3}'],
    ['"b":1.0,"a" : [1, 2]', '{"b":1.0,"a":[1, 2]}'],
    ['"s":1,"s":2', '{"s":1,"s":2}'],
    ['"extras":null,"s":1', '{"s":1}'],
    ['"extras":{},"s":1', '{"s":1}'],
    ['"extras":{ },"s":1', '{"s":1}'],
    ['"s":1,"extras":{"a" : 1}', '{"a" : 1,"s":1}'],
    ['"s":1,"extras":{"s":2}', '{"s":1}'],
    ['"s":1,"extras":{"a" : 1, "s":2, "b":[ ]}', '{"a":1,"b":[ ],"s":1}'],
    ['"s":1,"extras":{"\\u0073":2,"s":3,"a":4}', '{"a":4,"s":1}'],
    ['"\\u0073":1,"extras":{"s":3,"a":4}', '{"a":4,"\\u0073":1}'],
    ['"é":1,"extras":{"\\u00e9":3,"a":4}', '{"a":4,"é":1}'],
    ['"\\ud800":1,"extras":{"\\ud801":2,"\ufffd":3}', '{"\\ud801":2,"\ufffd":3,"\\ud800":1}'],
    ['"__proto__":1,"extras":{"__proto__":2,"constructor":3}', '{"constructor":3,"__proto__":1}'],
    ['"extras":{"a":1},"extras":{"b":2},"s":1', '{"b":2,"s":1}'],
    ['"extras":{"a":{"s":5}},"s":1', '{"a":{"s":5},"s":1}'],
    ['"s":"\\ud800\\u0000"', '{"s":"\\ud800\\u0000"}'],
    ['"s":{\n"a":\r\n1}', '{"s":{ "a":  1}}'],
  ])('%s', (members, extras) => {
    expect(rawFieldWith(members, 'extras')).toBe(extras);
  });
});

const rawValue = fc.oneof(
  fc.constantFrom(
    '1e400',
    '-0',
    '12345678901234567890',
    '"\\ud800"',
    '"\\u0000"',
    '"é😀"',
    '{"a":1,"a":2}',
    'null',
    '""',
  ),
  fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value)),
  fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value, null, '\r\n\t').toWellFormed()),
);
const key = fc.constantFrom(
  'event',
  'timestamp',
  'anonymous_id',
  'anonymousId',
  'user_id',
  'userId',
  'session_id',
  'sessionId',
  'event_id',
  'eventId',
  'messageId',
  'uuid',
  'id',
  'message_id',
  'properties',
  'extras',
  'a',
  'b',
  'é',
  '__proto__',
  '\\u0061',
  'us\\u0065r_id',
);
const goodMember = fc.oneof(
  fc.tuple(
    fc.constantFrom('user_id', 'userId', 'eventId', 'uuid', 'session_id'),
    fc.constantFrom('"x"', 'null', '"é"'),
  ),
  fc.tuple(
    fc.constantFrom('properties', 'extras'),
    fc
      .dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), fc.jsonValue({ maxDepth: 2 }))
      .map((o) => JSON.stringify(o, null, '\n ')),
  ),
  fc.tuple(fc.constantFrom('a', 'b', 'é', '\\u0061'), rawValue),
);
const anyMember = fc.tuple(key, rawValue);
const goodEvent = fc.array(goodMember, { maxLength: 8 }).map((members) => eventWith(membersText(members)));
const anyEvent = fc.oneof(
  goodEvent,
  rawValue,
  fc.array(anyMember, { maxLength: 8 }).map((members) => eventWith(membersText(members))),
  fc.array(anyMember, { maxLength: 8 }).map((members) => `{${membersText(members)}}`),
);

function membersText(members: readonly (readonly [string, string])[]): string {
  return members.map(([name, value]) => `"${name}" : ${value}`).join(',\n');
}

/** The canonical event as the contract words it, said once more with JSON.parse. */
function canonicalOf(raw: string): Record<string, unknown> {
  const sent = new Map(Object.entries(JSON.parse(raw) as Record<string, unknown>));
  const take = (...names: string[]): unknown => {
    const name = names.find((name) => sent.has(name));
    if (name === undefined) return null;
    const value = sent.get(name);
    sent.delete(name);
    return value === '' ? null : value;
  };
  sent.delete('event');
  sent.delete('timestamp');
  const idKey = ['event_id', 'eventId', 'messageId', 'uuid'].find((name) => sent.has(name));
  const sentId = take('event_id', 'eventId', 'messageId', 'uuid');
  const ids = {
    anonymous_id: take('anonymous_id', 'anonymousId'),
    user_id: take('user_id', 'userId'),
    session_id: take('session_id', 'sessionId'),
  };
  const properties = take('properties') ?? {};
  const extras = new Map(Object.entries((take('extras') as object | null) ?? {}));
  for (const [name, value] of sent) extras.set(name, value);
  if (sentId !== null && idKey !== undefined) extras.set(idKey, sentId);
  return {
    project_id: 'p-1',
    event: 'e',
    timestamp: '2026-01-01T00:00:00.000Z',
    ...ids,
    properties,
    extras: Object.fromEntries(extras),
    source: 'native',
    received_at: '2026-01-02T00:00:00.000Z',
  };
}

describe('for arbitrary events', () => {
  test('a row says what the contract says', () => {
    fc.assert(
      fc.property(goodEvent, (event) => {
        const { lines, rejections } = decode(event);
        expect(rejections).toEqual([]);
        const {
          event_id: id,
          properties_sent: _,
          extras_sent: __,
          ...row
        } = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
        expect(id).toMatch(/^[0-9a-f-]{36}$/);
        const sent = sentIn(lines[0] ?? '');
        row['properties'] = JSON.parse(sent.properties);
        row['extras'] = JSON.parse(sent.extras);
        expect(row).toEqual(canonicalOf(event));
      }),
      { numRuns: 2000 },
    );
  });

  test('properties and extras are kept byte for byte, but for line ends between tokens', () => {
    const object = fc.array(anyMember, { maxLength: 5 }).map((members) => `{\n${membersText(members)} }`);
    fc.assert(
      fc.property(object, object, (properties, extras) => {
        const members = `"properties":${properties},"extras":${extras}`;
        expect(rawFieldWith(members, 'properties')).toBe(properties.replaceAll(/[\r\n]/g, ' '));
        expect(rawFieldWith(members, 'extras')).toBe(extras.replaceAll(/[\r\n]/g, ' '));
      }),
    );
  });

  test('every event is accepted or rejected, once, and the rows keep their order', () => {
    let acceptedCount = 0;
    let rejectedCount = 0;
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 10 }), (events) => {
        const { lines, accepted, rejected, rejections, rows } = decode(...events);
        expect(accepted + rejected).toBe(events.length);
        expect(lines).toHaveLength(accepted);
        expect(new Set(rejections.map(({ index }) => index)).size).toBe(rejected);
        const refused = new Set(rejections.map(({ index }) => index));
        const alone = events.filter((_, index) => !refused.has(index)).map((event) => decode(event).rows);
        expect(Buffer.concat(alone).equals(rows)).toBe(true);
        for (const { index, reason } of rejections) {
          const told = { accepted: 0, rejected: 1, rejections: [{ index: 0, reason }], truncated: false };
          expect(decode(events[index]!)).toMatchObject(told);
        }
        acceptedCount += accepted;
        rejectedCount += rejected;
      }),
    );
    // Control: both ends are reached often.
    expect(Math.min(acceptedCount, rejectedCount)).toBeGreaterThan(50);
  });

  test('any bytes in place of events decode without an exception', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.string({ unit: 'binary', maxLength: 40 }).map((s) => Buffer.from(s)),
    );
    fc.assert(
      fc.property(anyEvent, bytes, fc.nat(), (event, noise, at) => {
        const body = Buffer.from(`{"events":[${event}]}`);
        const start = at % body.length;
        const envelope = finish(
          readEnvelope(Buffer.concat([body.subarray(0, start), noise, body.subarray(start + noise.length)])),
        );
        if (envelope.ok)
          expect(finish(decodeEvents(envelope.events, decodeNative(CONTEXT))).accepted).toBeLessThanOrEqual(
            envelope.events.count,
          );
      }),
      { numRuns: 2000 },
    );
  });
});
