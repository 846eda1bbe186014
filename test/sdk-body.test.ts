/** The work that a body of a client of others may cause, whoever sends it: in steps, each byte a few times at most. */
import { describe, expect, test } from 'vitest';
import { isBodyProblem, type ScannedEvents, TOO_MANY_EVENTS } from '../src/event/envelope.ts';
import { firstValue, isObject, moveToNextValue, problemOf } from '../src/event/json-members.ts';
import { MAX_LISTED_REJECTIONS } from '../src/event/event.ts';
import { TOO_MANY_MEMBERS } from '../src/event/json-tape.ts';
import { rewriteEvents } from '../src/event/rewriting.ts';
import { readSdkBody, type SdkBody, type SdkShape } from '../src/event/sdk-body.ts';
import { EVENTS_A_STEP, finish, type Steps } from '../src/event/steps.ts';
import { firstTokenIn } from '../src/event/token-in-events.ts';
import { DOORS } from '../src/http/app.ts';
import { flatEvents, type RequestHead } from '../src/http/ingest/doors/door.ts';
import { openRewritten, openSdk } from '../src/http/ingest/doors/sdk-opening.ts';

const LINES: SdkShape = { lists: [], mayFollow: true };
const BATCH: SdkShape = { lists: ['batch', 'events'] };
const HEAD: RequestHead = { method: 'POST', path: '/x', target: '/x', headers: {}, query: () => new URLSearchParams() };

function counted<T>(steps: Steps<T>): { value: T; stepCount: number } {
  for (let stepCount = 1; ; stepCount += 1) {
    const step = steps.next();
    if (step.done) return { value: step.value, stepCount };
  }
}

function read(body: string, shape = LINES): SdkBody {
  const outcome = finish(readSdkBody(Buffer.from(body), shape));
  if (isBodyProblem(outcome)) throw new Error(outcome.message);
  return outcome;
}

/** For each event, whether it is an object. */
function usableIn({ events }: SdkBody): boolean[] {
  const event = firstValue(events);
  return Array.from({ length: events.count }, () => {
    const isUsable = isObject(event);
    moveToNextValue(event);
    return isUsable;
  });
}

/** For each event, why it is unusable. */
function problemsOf(events: ScannedEvents): (string | null)[] {
  const event = firstValue(events);
  return Array.from({ length: events.count }, () => {
    const problem = problemOf(event);
    moveToNextValue(event);
    return problem;
  });
}

describe('where events follow each other', () => {
  test('a step ends after a few thousand, however short', () => {
    const count = 3 * EVENTS_A_STEP;
    const { stepCount } = counted(readSdkBody(Buffer.from('{}'.repeat(count)), LINES));
    expect(stepCount).toBe(3);
  });

  test.each(['[', '{"a":', '[{"a":', '[1,', '{"a":"b",'])('as many lines of %j too', (line) => {
    const count = 4 * EVENTS_A_STEP;
    const { value, stepCount } = counted(readSdkBody(Buffer.from(`{}\n${`${line}\n`.repeat(count)}`), LINES));
    expect(value).toMatchObject({ events: { count: count + 1 } });
    expect(stepCount).toBeGreaterThanOrEqual(4);
  });

  test('so far as a broken one was read, none goes beyond its line', () => {
    expect(usableIn(read('{"a":\n{"a":\n2}\n{"a":3}'))).toEqual([false, false, false, false, true]);
    // The first one's fault is where the third begins.
    expect(usableIn(read('{"a":1,\n\n{"a":\n2}\n{"a":3}'))).toEqual([false, true, true]);
  });

  test('what is kept of a broken one is its line', () => {
    const opened = finish(openSdk(Buffer.from('{"a":[\n{"a":1}\n{"b":[1,{"c":2} \n{"a":2}\n"x" \n'), HEAD, LINES));
    if (isBodyProblem(opened)) throw new Error(opened.message);
    const sent = Array.from({ length: opened.events.count }, (_, index) => opened.sent!(index));
    expect(sent).toEqual(['{"a":[', '{"a":1}', '{"b":[1,{"c":2} ', '{"a":2}', '"x"']);
  });

  test('and of one in a list all of it', () => {
    const opened = finish(openSdk(Buffer.from('[{"a":NaN,\n"b":1},{"a":1}]'), HEAD, LINES));
    expect(opened).not.toHaveProperty('sent');
  });
});

describe('an envelope', () => {
  test('has its members by name, and its list however its name is spelt', () => {
    const { list, envelope, events } = read('{"a":1,"b\\u0061tch":[{},{}],"\\u0062":[2],"a":3}', BATCH);
    expect([list, events.count]).toEqual(['batch', 2]);
    expect(Object.fromEntries(envelope)).toEqual({ a: '3', b: '[2]' });
  });

  test.each([
    ['"batch" is there twice, or "events" beside it', '{"batch":[],"events":[]}'],
    ['"batch" must be an array', '{"batch":7}'],
  ])('is refused: %s', (message, body) => {
    expect(() => read(body, BATCH)).toThrow(message);
  });

  test('is read in steps', () => {
    const members = Array.from({ length: 5 }, (_, index) => `"${index}":"${'x'.repeat(200_000)}"`).join();
    const { value, stepCount } = counted(readSdkBody(Buffer.from(`{${members},"batch":[{}]}`), BATCH));
    expect(value).toMatchObject({ list: 'batch', events: { count: 1 } });
    expect(stepCount).toBe(3);
  });

  const many = Array.from({ length: 10_001 }, (_, index) => `"${index}":0`).join();

  test('with more members than an event may have is none', () => {
    expect(() => read(`{"batch":[],${many}}`, BATCH)).toThrow('more than 10000 members beside "batch"');
    // As an event it is too large. What is behind so many is not even read.
    expect(usableIn(read(`{${many},"batch":7}`, BATCH))).toEqual([false]);
  });
});

describe('more events than may be', () => {
  const countIn = (body: string, shape: SdkShape) => {
    const outcome = finish(readSdkBody(Buffer.from(body), shape, 3));
    return isBodyProblem(outcome) ? outcome : outcome.events.count;
  };

  test.each([
    ['a list', BATCH, (events: string[]) => `[${events.join()}`, ']'],
    ['an envelope', BATCH, (events: string[]) => `{"batch":[${events.join()}`, ']}'],
    [
      'an envelope that others may follow',
      { ...LINES, lists: ['logs'] },
      (events) => `{"logs":[${events.join()}`,
      ']}',
    ],
    ['lines', LINES, (events) => events.join('\n'), ''],
    ['unusable lines', LINES, (events) => events.join('\n').replaceAll('{}', '{"a":NaN}'), ''],
  ] satisfies [string, SdkShape, (events: string[]) => string, string][])(
    'in %s are refused',
    (_, shape, begin, end) => {
      expect(countIn(begin(['{}', '{}', '{}']) + end, shape)).toBe(3);
      expect(countIn(begin(['{}', '{}', '{}', '{}']) + end, shape)).toEqual(TOO_MANY_EVENTS);
    },
  );

  test('are not read to their end', () => {
    expect(countIn('[{},{},{},{} and so on', BATCH)).toEqual(TOO_MANY_EVENTS);
    expect(countIn('{"batch":[{},{},{},{} and so on', BATCH)).toEqual(TOO_MANY_EVENTS);
    expect(countIn('{}\n{}\n{}\n{}\n"and so on"', LINES)).toEqual(TOO_MANY_EVENTS);
  });

  test.each(['{"logs":[1,2,3,4,5]}', '{"logs":[{},{},{},{}],"a":1}', '{"logs":[{},{},{},{}]}\n{"a":1}'])(
    'are not in what one event has: %s',
    (body) => expect(countIn(body, { ...LINES, lists: ['logs'] })).toBe(body.split('\n').length),
  );

  test.each([
    ['/v1/batch', '{"batch":[{},{},{},{}]}'],
    ['/2/httpapi', '{"events":[{},{},{},{}]}'],
    ['/batch', '{"batch":[{},{},{},{}]}'],
    ['/mp/collect', '{"events":[{},{},{},{}]}'],
    ...['/import', '/engage', '/logs', '/api/event', '/api/send', '/cloudevents'].map((path) => [
      path,
      '[{},{},{},{}]',
    ]),
  ] as [string, string][])('are refused at %s', (path, text) => {
    const { body } = DOORS.find(({ paths }) => paths.includes(path))!;
    if (body.kind === 'lines') throw new Error('lines are not opened');
    const open = (maxEvents: number) => finish(body.open(Buffer.from(text), { maxEvents }, { ...HEAD, path }));
    expect(open(4)).toMatchObject({ events: { count: 4 } });
    expect(open(3)).toEqual(TOO_MANY_EVENTS);
  });
});

describe('events that are made flat', () => {
  test('are so in steps that end after a few thousand, however short', () => {
    const { events } = read('{}'.repeat(3 * EVENTS_A_STEP));
    const { value, stepCount } = counted(rewriteEvents(events, (event) => event));
    expect(value).toMatchObject({ count: 3 * EVENTS_A_STEP });
    expect(stepCount).toBe(4);
  });

  test('keep the problem of what is unusable', () => {
    const large = `{"a":"${'x'.repeat(1_100_000)}"}`;
    const grown = `{"a":"${'x'.repeat(1_000_000)}","b":"${'x'.repeat(48_000)}"}`;
    const { events } = read(`[{"a":1},7,${large},{"data":NaN},${grown},{"a":2}]`);
    const rewrite = (event: Map<string, string>) => event.set('more', `"${'x'.repeat(1_000)}"`);
    const flat = finish(rewriteEvents(events, rewrite));
    if (isBodyProblem(flat)) throw new Error(flat.message);
    const at = `[{"a":1},7,${large},{"data":`.length;
    const tooLarge = 'event too large: more than 1 MiB as it was sent';
    expect(problemsOf(flat)).toEqual([
      null,
      null,
      tooLarge,
      `invalid JSON at byte ${at}: expected a value`,
      tooLarge,
      null,
    ]);
    expect(flat.count).toBe(6);
  });

  test('keep as many problems as are listed, of either kind', () => {
    const broken = Array.from({ length: MAX_LISTED_REJECTIONS + 2 }, () => '{"a":NaN}');
    const many = Array.from({ length: 10_000 }, (_, index) => `"${index}":0`).join();
    const full = Array.from({ length: MAX_LISTED_REJECTIONS + 2 }, () => `{${many}}`);
    const { events } = read(`[${[...broken, ...full].join()}]`);
    const flat = finish(rewriteEvents(events, (event) => event.set('more', '0')));
    if (isBodyProblem(flat)) throw new Error(flat.message);
    const problems = problemsOf(flat);
    const places = problems.map((problem) => problem!.startsWith('invalid JSON at byte'));
    expect(places.lastIndexOf(true)).toBe(MAX_LISTED_REJECTIONS - 1);
    expect(problems.slice(MAX_LISTED_REJECTIONS, broken.length)).toEqual(['invalid JSON', 'invalid JSON']);
    expect(problems.slice(broken.length, -2)).toEqual(full.slice(2).map(() => TOO_MANY_MEMBERS));
    expect(problems.slice(-2)).toEqual(['invalid JSON', 'invalid JSON']);
  });

  test.each([
    ['/mp/collect', '{"events":[@]}'],
    ['/api/event', '[@]'],
    ['/api/send', '[@]'],
    ['/cloudevents', '[@]'],
  ])('keep it at %s', (path, around) => {
    const { body } = DOORS.find(({ paths }) => paths.includes(path))!;
    if (body.kind === 'lines') throw new Error('lines are not opened');
    const text = around.replace('@', '{},{"data":NaN}');
    const opened = finish(body.open(Buffer.from(text), {}, { ...HEAD, path }));
    const flat = isBodyProblem(opened) ? opened : finish(flatEvents(opened));
    if (isBodyProblem(flat)) throw new Error(flat.message);
    expect(problemsOf(flat)).toEqual([null, `invalid JSON at byte ${text.indexOf('NaN')}: expected a value`]);
  });

  test('are so only when they are asked for: the token is found before', () => {
    let rewritten = 0;
    const rewrite = (event: Map<string, string>) => {
      rewritten += 1;
      return event;
    };
    const rewriting = { rewrite, tokens: ['site'], tokenOf: (text: string) => text.slice(1) };
    const body = Buffer.from('[{},{"site":"x"},{"site":"xtoken"},{"site":"xother"}]');
    const opened = finish(openRewritten(body, HEAD, rewriting, {}));
    if (isBodyProblem(opened) || typeof opened.token !== 'function') throw new Error('not opened');
    expect([finish(opened.token()), rewritten]).toEqual(['token', 0]);
    expect(finish(flatEvents(opened))).toMatchObject({ count: 4 });
    expect(rewritten).toBe(4);
  });
});

test('a token is looked for in steps', () => {
  const { events } = read(`${'{}'.repeat(2 * EVENTS_A_STEP)}{"token":"t"}`);
  expect(counted(firstTokenIn(events, ['token']))).toEqual({ value: 't', stepCount: 3 });
  const large = `{"a":"${'x'.repeat(200_000)}"}`;
  expect(counted(firstTokenIn(read(large.repeat(5)).events, ['token']))).toEqual({ value: null, stepCount: 3 });
});
