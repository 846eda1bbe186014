import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { type ListedEvents, readList, readOne } from '../src/event/event-lists.ts';
import { type BodyProblem, isBodyProblem } from '../src/event/envelope.ts';
import { finish } from '../src/event/steps.ts';

const told = (read: ListedEvents | BodyProblem) =>
  isBodyProblem(read) ? [read.code, read.message] : read.events.count;
const one = (body: string | Buffer) => told(finish(readOne(Buffer.from(body as string))));
const list = (body: string | Buffer, mayBeBare = true) =>
  told(finish(readList(Buffer.from(body as string), { mayBeBare, maxEvents: 1_000 })));

const numbers = (count: number) => JSON.stringify(Array.from({ length: count }, (_, i) => i));
const NOT_UTF8 = Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]);

describe('one event', () => {
  test.each(['{}', '[]', '[1,2]', '1', 'null', '"a"', ' \r\n{"a":1}\n', '\ufeff{}', '1e400'])(
    'is any JSON; what it must be is said when it is decoded: %j',
    (body) => {
      expect(one(body)).toBe(1);
    },
  );

  test.each([
    ['', ['invalid_json', 'the body is empty']],
    ['\ufeff \n', ['invalid_json', 'the body is empty']],
    ['{"a":1', ['invalid_json', "invalid JSON at the end: expected ',' or '}'"]],
    ['{} {}', ['invalid_json', 'invalid JSON at byte 3: expected nothing after the document']],
    ['event_name=a', ['invalid_json', 'invalid JSON at byte 0: expected a value']],
    [NOT_UTF8, ['invalid_encoding', 'the body is not valid UTF-8']],
  ])('cannot be read of %s', (body, problem) => {
    expect(one(body)).toEqual(problem);
  });
});

describe('a list of events', () => {
  test.each([
    ['[{}]', 1],
    ['[1,null,"a",[[]],{}]', 5],
    ['{"events":[{}]}', 1],
    ['\ufeff { "events" : [ {} , {} ] }\n', 2],
    ['{"\\u0065vents":[{}]}', 1],
    ['{"sent_at":1,"__proto__":{"events":[]},"events":[{}],"more":[1,2]}', 1],
    ['{"events":5,"events":[{}]}', 1],
    ['{"events":[{"a":},{"b":1}]}', 2],
    [NOT_UTF8, 1],
    [numbers(1_000), 1_000],
    [`{"events":${numbers(1_000)}}`, 1_000],
  ])('is read of %.60s', (body, count) => {
    expect(list(body)).toBe(count);
  });

  const NO_LIST = ['invalid_envelope', 'the body must be an array of events, or {"events": [...]}'];
  const NONE = ['invalid_envelope', 'there must be at least one event'];
  const TOO_MANY = ['too_many_events', 'at most 1000 events in one request; send them in parts'];
  test.each([
    ['', ['invalid_json', 'the body is empty']],
    ['[]', NONE],
    ['{"events":[]}', NONE],
    ['{}', NO_LIST],
    ['{"events":null}', NO_LIST],
    ['{"events":{"events":[{}]}}', NO_LIST],
    ['{"Events":[{}]}', NO_LIST],
    ['5', NO_LIST],
    ['"events"', NO_LIST],
    ['{"events":[{}],"events":[{}]}', ['invalid_envelope', '"events" appears twice']],
    ['{"events":[{}],"events":null}', ['invalid_envelope', '"events" appears twice']],
    [numbers(1_001), TOO_MANY],
    [`{"events":${numbers(1_001)}}`, TOO_MANY],
    ['[{}', ['invalid_json', "invalid JSON at the end: expected ',' or ']'"]],
    ['[{},]', ['invalid_json', 'invalid JSON at byte 4: expected a value']],
    ['[{}]]', ['invalid_json', 'invalid JSON at byte 4: expected nothing after the document']],
    ['{"events":[{"a":1]}', ['invalid_json', "invalid JSON at byte 17: expected ',' or '}'"]],
    ['{"events":[{}]', ['invalid_json', "invalid JSON at the end: expected ',' or '}'"]],
    // A body that is not JSON is told so before anything else.
    [`${numbers(1_001)}x`, ['invalid_json', 'invalid JSON at byte 3896: expected nothing after the document']],
    [
      Buffer.concat([Buffer.from('{"events":[{}],'), NOT_UTF8.subarray(1, 4), Buffer.from(':1}')]),
      ['invalid_encoding', 'the body is not valid UTF-8'],
    ],
  ])('cannot be read of %.60s', (body, problem) => {
    expect(list(body)).toEqual(problem);
  });

  test('may have to stand in an object', () => {
    expect(list('{"events":[{}]}', false)).toBe(1);
    expect(list('[{}]', false)).toEqual(['invalid_envelope', 'the body must be {"events": [...]}']);
  });
});

test('any JSON is read or refused for what it holds, never as JSON', () => {
  const body = fc.oneof(
    fc.json(),
    fc.json().map((events) => `{"a":1,"events":${events}}`),
  );
  fc.assert(
    fc.property(body, fc.boolean(), (text, mayBeBare) => {
      const parsed = JSON.parse(text) as unknown;
      const bare = mayBeBare && Array.isArray(parsed) ? parsed : null;
      const within = bare ?? (parsed as { events?: unknown } | null)?.events;
      const isList = bare !== null || (!Array.isArray(parsed) && Array.isArray(within) && within.length > 0);
      expect(one(text)).toBe(1);
      const count = list(text, mayBeBare);
      if (isList && (within as unknown[]).length > 0) expect(count).toBe((within as unknown[]).length);
      else expect(count).toEqual(['invalid_envelope', expect.any(String)]);
    }),
    { numRuns: 500 },
  );
});

test('a list with far too many events is not scanned to its end', () => {
  for (const mayBeBare of [true, false]) {
    const list = (count: number) => `${mayBeBare ? '[' : '{"events":['}${'1,'.repeat(count)}1 and what is no JSON`;
    const read = (count: number) => finish(readList(Buffer.from(list(count)), { mayBeBare, maxEvents: 1_000 }));
    expect(read(20_000)).toMatchObject({ ok: false, code: 'too_many_events' });
    expect(read(19_999)).toMatchObject({ ok: false, code: 'invalid_json' });
  }
});
