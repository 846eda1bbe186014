import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { readEnvelope } from '../src/event/envelope.ts';
import { finish } from '../src/event/steps.ts';

function read(body: string | Buffer) {
  const envelope = finish(readEnvelope(Buffer.from(body as string)));
  if (!envelope.ok) return { code: envelope.code, message: envelope.message };
  return { token: envelope.token, batchId: envelope.batchId, count: envelope.events.count };
}

describe('a good envelope', () => {
  test.each([
    ['{}', { token: null, batchId: null, count: 0 }],
    ['{"events":null}', { token: null, batchId: null, count: 0 }],
    ['{"events":[]}', { token: null, batchId: null, count: 0 }],
    ['{"events":[{"a":1,},{}]}', { token: null, batchId: null, count: 2 }],
    ['{"events":[{},1,"a",null,[[]]]}', { token: null, batchId: null, count: 5 }],
    ['{"token":"t","batch_id":"b","events":[{}]}', { token: 't', batchId: 'b', count: 1 }],
    ['{"token":null,"batch_id":null,"sent_at":null}', { token: null, batchId: null, count: 0 }],
    ['{"batch_id":""}', { token: null, batchId: null, count: 0 }],
    ['{"token":"a","token":"b"}', { token: 'b', batchId: null, count: 0 }],
    ['{"token":1,"token":"b"}', { token: 'b', batchId: null, count: 0 }],
    ['{"t\\u006fken":"\\u0061\u00e9"}', { token: 'a\u00e9', batchId: null, count: 0 }],
    ['{"sent_at":"2026-01-01T00:00:00+01:00"}', { token: null, batchId: null, count: 0 }],
    ['{"sent_at":1767225600.5}', { token: null, batchId: null, count: 0 }],
    ['\ufeff \r\n{ "events" : [ ] }\n', { token: null, batchId: null, count: 0 }],
    [`{"batch_id":"${'é'.repeat(200)}"}`, { token: null, batchId: 'é'.repeat(200), count: 0 }],
  ])('%s', (body, envelope) => {
    expect(read(body)).toEqual(envelope);
  });
});

describe('a body that cannot be used', () => {
  test.each([
    ['', 'invalid_json', 'the body is empty'],
    [' \n', 'invalid_json', 'the body is empty'],
    ['\ufeff', 'invalid_json', 'the body is empty'],
    ['{"events":[}', 'invalid_json', 'invalid JSON at byte 11: expected a value'],
    ['{"events":[1,]}', 'invalid_json', 'invalid JSON at byte 13: expected a value'],
    ['{"events":[{"a":1,}', 'invalid_json', "invalid JSON at the end: expected ',' or ']'"],
    ['{"events":[],"batch_id":NaN}', 'invalid_json', 'invalid JSON at byte 24: expected a value'],
    ['{"events":[{} {}]}', 'invalid_json', "invalid JSON at byte 14: expected ',' or ']'"],
    ['{"events":[]', 'invalid_json', "invalid JSON at the end: expected ',' or '}'"],
    ['{"events":[]}}', 'invalid_json', 'invalid JSON at byte 13: expected nothing after the document'],
    ['{"typo":1,', 'invalid_json', 'invalid JSON at the end: expected a key in double quotes'],
    ['event=a', 'invalid_json', 'invalid JSON at byte 0: expected a value'],
    ['[] x', 'invalid_json', 'invalid JSON at byte 3: expected nothing after the document'],
    ['[]', 'invalid_envelope', 'the body must be a JSON object with "events"'],
    ['null', 'invalid_envelope', 'the body must be a JSON object with "events"'],
    ['"events"', 'invalid_envelope', 'the body must be a JSON object with "events"'],
    ['{"events":{}}', 'invalid_envelope', '"events" must be an array'],
    ['{"events":"[]"}', 'invalid_envelope', '"events" must be an array'],
    ['{"events":[],"events":[]}', 'invalid_envelope', '"events" appears twice'],
    ['{"events":null,"events":[{}]}', 'invalid_envelope', '"events" appears twice'],
    ['{"token":1}', 'invalid_envelope', '"token" must be a string'],
    [`{"token":"${'a'.repeat(513)}"}`, 'invalid_envelope', '"token" too long'],
    ['{"batch_id":{}}', 'invalid_envelope', '"batch_id" must be a string'],
    [`{"batch_id":"${'a'.repeat(201)}"}`, 'invalid_envelope', '"batch_id" too long'],
    ['{"event":[]}', 'invalid_envelope', 'unknown key "event" in the envelope; did you mean "events"?'],
    ['{"batchId":"b"}', 'invalid_envelope', 'unknown key "batchId" in the envelope; did you mean "batch_id"?'],
    ['{"sentAt":1}', 'invalid_envelope', 'unknown key "sentAt" in the envelope; did you mean "sent_at"?'],
    ['{"evnets":[]}', 'invalid_envelope', 'unknown key "evnets" in the envelope; did you mean "events"?'],
    ['{"api_key":"x"}', 'invalid_envelope', 'unknown key "api_key" in the envelope'],
    ['{"":1}', 'invalid_envelope', 'unknown key "" in the envelope'],
    ['{"__proto__":1}', 'invalid_envelope', 'unknown key "__proto__" in the envelope'],
    ['{"a\\"\\n":1,"b":2}', 'invalid_envelope', 'unknown key "a\\"\\n" in the envelope'],
    [`{"${'k'.repeat(1000)}":1}`, 'invalid_envelope', `unknown key "${'k'.repeat(40)}…" in the envelope`],
  ])('%s', (body, code, message) => {
    expect(read(body ?? '')).toEqual({ code, message });
  });

  test.each([
    [[0xff, 0xfe, 0x7b, 0]],
    [[0x22, 0xc3, 0x22]],
    [[0x22, 0xed, 0xa0, 0x80, 0x22]],
    [[0x22, 0xc0, 0x80, 0x22]],
  ])('bytes that are not UTF-8: %j', (bytes) => {
    expect(read(Buffer.from(bytes))).toEqual({ code: 'invalid_encoding', message: 'the body is not valid UTF-8' });
  });
});

describe('sent_at', () => {
  const sentAtIn = (value: string) => {
    const envelope = finish(readEnvelope(Buffer.from(`{"sent_at":${value},"events":[]}`)));
    return envelope.ok ? envelope.sentAt : envelope;
  };
  test.each([
    ['"2026-01-01T00:00:00+01:00"', Date.UTC(2025, 11, 31, 23)],
    ['1767225600.5', 1_767_225_600_500],
    ['"1767225600"', 1_767_225_600_000],
    ['0', 0],
  ])('%s is an instant', (value, ms) => {
    expect(sentAtIn(value)).toBe(ms);
  });

  test.each(['null', '""', '"yesterday"', '"2026-01-01"', '"2026-01-01T00:00:00"', 'true', '{}', '[1]', '-5', '1e400'])(
    '%s counts as absent',
    (value) => {
      expect(sentAtIn(value)).toBeNull();
    },
  );
  test.each(['NaN', 'undefined', '"a\tb"', '{"a":}', '20260505'])('so does %s', (value) => {
    expect(sentAtIn(value)).toBeNull();
  });

  const E = '"events":[{"a":"sent_at"}]';
  test.each([
    [`{${E}}`, [`{${E},"sent_at":1}`, `{"sent_at":1,${E}}`, `{${E},"sent_at":"x\u0020"}`, `{"sent_at":NaN,${E}}`]],
    [`{"batch_id":"b",${E}}`, [`{"batch_id":"b","sent_at":1,${E}}`, `{"batch_id":"b",${E},"sent_at":1,"sent_at":2}`]],
    [`{"batch_id":"b",${E}}`, [`{"sent_at":1,"sent_at":2,"batch_id":"b",${E},"s\u0065nt_at":null}`]],
    [`{ ${E} }`, [`{ "sent_at" : 1 , ${E} }`, `{ ${E} , "sent_at" : 1 }`]],
    ['{}', ['{"sent_at":1}', '{"sent_at":1,"sent_at":{}}']],
  ])('is no part of what a retry must repeat: %s', (without, bodies) => {
    for (const body of [without, ...bodies]) {
      const envelope = finish(readEnvelope(Buffer.from(body)));
      expect(envelope.ok && Buffer.concat(envelope.repeated).toString(), body).toBe(without);
    }
  });
});

test('any JSON body is read or refused as an envelope, never as JSON', () => {
  fc.assert(
    fc.property(fc.json(), (body) => {
      expect(read(body)).not.toHaveProperty('code', 'invalid_json');
    }),
  );
});

test('bytes of any kind are read without an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(read(Buffer.from(bytes))).toBeDefined();
    }),
    { numRuns: 2000 },
  );
});

test('with more events than could ever be held it is not scanned to its end', () => {
  const read = (events: string) => finish(readEnvelope(Buffer.from(`{"events":[${events}]}`), { maxEvents: 2 }));
  expect(read('1,{}')).toMatchObject({ ok: true, events: { count: 2 } });
  // The rest is not even JSON.
  for (const events of ['1,2,3', '{},{},{} ]]', 'NaN,NaN,NaN,]']) {
    expect(read(events)).toMatchObject({ ok: false, code: 'body_too_large' });
  }
  expect(read('1,2 x')).toMatchObject({ ok: false, code: 'invalid_json' });
});
