/** One event of millions of parts costs itself, and the event loop has turns while it is looked through. */
import { describe, expect, test } from 'vitest';
import { readList, readOne } from '../src/event/event-lists.ts';
import { type Decoded, decodeEvents } from '../src/event/decode.ts';
import { decoderOf } from '../src/event/decoder.ts';
import { isBodyProblem, readEnvelope } from '../src/event/envelope.ts';
import { MAX_EVENT_BYTES, MAX_EVENT_MEMBERS } from '../src/event/json-tape.ts';
import { finish, type Steps } from '../src/event/steps.ts';
import { nativeFormat } from '../src/http/ingest/doors/native.ts';
import { productBulkDoor, productDoor } from '../src/http/ingest/doors/product.ts';
import { webDoor } from '../src/http/ingest/doors/web.ts';
import { DECODE_CONTEXT } from './support/factory.ts';

const MIB = 1024 * 1024;
/** Half of the largest body: the other half takes as long again. */
const BOMB_BYTES = 5 * MIB;
const TOO_LARGE = 'event too large: more than 1 MiB as it was sent';
const TOO_MANY = `event too large: more than ${MAX_EVENT_MEMBERS} fields`;
const UUID = '550e8400-e29b-41d4-a716-446655440000';

/** An event that all doors take, without its closing brace. */
const opened = (name: string) =>
  `{"event":"${name}","event_name":"${name}","user_id":"u","event_id":"${UUID}","id":"${UUID}","session_id":"${UUID}",` +
  `"type":"pageview","title":"${name}","path":"/","timestamp":1777897800`;
const good = (name: string) => `${opened(name)}}`;

/** As many of one part as fill a body, with a last one. */
const filled = (part: string, last: string, bytes = BOMB_BYTES) => part.repeat(Math.floor(bytes / part.length)) + last;
const nested = (open: string, close: string) => {
  const depth = Math.floor(BOMB_BYTES / (open.length + close.length));
  return `${open.repeat(depth)}1${close.repeat(depth)}`;
};

/** What stands behind an event's fields, and the reason against it. */
const BOMBS: [string, () => string, string][] = [
  ['members', () => `,${filled('"":0,', '"z":0')}`, TOO_MANY],
  ['members of one name', () => `,${filled('"event":"a",', '"z":0')}`, TOO_MANY],
  ['members whose names are escaped', () => `,${filled('"\\u0061b":0,', '"z":0')}`, TOO_MANY],
  ['empty texts in a list', () => `,"properties":{"a":[${filled('"",', '""]}')}`, TOO_LARGE],
  ['members of the properties', () => `,"properties":{${filled('"":0,', '"z":0}')}`, TOO_LARGE],
  ['members of a label', () => `,"channel":{${filled('"a":"b",', '"z":0}')}`, TOO_LARGE],
  ['members of the extras, beside a stray', () => `,"x":1,"extras":{${filled('"":0,', '"z":0}')}`, TOO_LARGE],
  ['tags', () => `,"tags":[${filled('"t",', '"t"]')}`, TOO_LARGE],
  ['lists in lists', () => `,"a":${nested('[', ']')}`, TOO_LARGE],
  ['objects in objects', () => `,"a":${nested('{"":', '}')}`, TOO_LARGE],
  ['a name', () => `,"${filled('k', '":0')}`, TOO_LARGE],
  ['escapes', () => `,"user_id":"${filled('\\u0041', '"')}`, TOO_LARGE],
  ['digits', () => `,"timestamp":${filled('1', '')}`, TOO_LARGE],
  ['blanks', () => `,"a":1${filled(' ', '')}`, TOO_LARGE],
  ['line ends', () => `,"a":1${filled('\n', '')}`, TOO_LARGE],
];

/** The work a door has with a body: what it decodes, and in how many steps. */
function decodedBy(open: (body: Buffer) => Steps<object>, format: Parameters<typeof decoderOf>[0]) {
  return (body: string | Buffer) => {
    let stepCount = 0;
    const all = <T>(steps: Steps<T>): T => {
      for (;;) {
        stepCount += 1;
        const step = steps.next();
        if (step.done) return step.value;
      }
    };
    const read = all(open(Buffer.from(body as string)));
    if (isBodyProblem(read)) return { decoded: null, read, stepCount };
    const { events } = read as Exclude<ReturnType<typeof finishedList>, { code: unknown }>;
    return { decoded: all(decodeEvents(events, decoderOf(format)(DECODE_CONTEXT))), read, stepCount };
  };
}
const finishedList = (body: Buffer) => finish(readList(body, { mayBeBare: true, maxEvents: 1_000 }));

const DOORS = {
  native: decodedBy((body) => readEnvelope(body), nativeFormat),
  bulk: decodedBy((body) => readList(body, { mayBeBare: true, maxEvents: 1_000 }), productBulkDoor.format),
  web: decodedBy((body) => readList(body, { mayBeBare: false, maxEvents: 1_000 }), webDoor.format),
};
const namesIn = (decoded: Decoded | null) =>
  [...(decoded?.rows.toString() ?? '').matchAll(/"title":"([^"]*)"/g)].map(([, name]) => name);

describe.each(BOMBS)('an event of five megabytes of %s', (_what, bomb, reason) => {
  const event = `${opened('bomb')}${bomb()}}`;

  test.each(Object.entries(DOORS))('costs itself at the %s door, and is looked through in steps', (_door, work) => {
    const { decoded, stepCount } = work(`{"events":[${good('a')},${event},${good('b')}]}`);
    expect(namesIn(decoded)).toEqual(['a', 'b']);
    expect(decoded).toMatchObject({ accepted: 2, rejected: 1, rejections: [{ index: 1, reason }] });
    expect(stepCount).toBeGreaterThan(15);
  });

  test('is refused alone', () => {
    const { decoded } = decodedBy(readOne, productDoor.format)(event);
    expect(decoded).toMatchObject({ accepted: 0, rejected: 1, rejections: [{ index: 0, reason }] });
  });
});

describe('the limits', () => {
  const padded = (name: string, bytes: number) => `${opened(name)}${' '.repeat(bytes - opened(name).length - 1)}}`;

  test.each([0, 1, MIB / 2, MIB - 500, MIB - 1, MIB, 2 * MIB - 70, 2 * MIB])(
    'hold to the byte, behind %i bytes of other events',
    (before) => {
      const filler = before < 500 ? [] : [padded('before', Math.min(before, MIB))];
      if (before > MIB) filler.push(padded('before', before - MIB));
      const events = [
        ...filler,
        padded('fits', MAX_EVENT_BYTES),
        padded('not', MAX_EVENT_BYTES + 1),
        good('between'),
        padded('neither', 3 * MIB),
        padded('fits', MAX_EVENT_BYTES),
        good('last'),
      ];
      const { decoded } = DOORS.native(`{"events":[${' '.repeat(before < 500 ? before : 0)}${events.join(',')}]}`);
      expect(namesIn(decoded)).toEqual([...filler.map(() => 'before'), 'fits', 'between', 'fits', 'last']);
      expect(decoded!.rejections).toEqual([1, 3].map((place) => ({ index: filler.length + place, reason: TOO_LARGE })));
    },
  );

  test.each(['"\\u0041"', '"\\\\"', 'true', '12345', '[]', '"é"', '"x":'])(
    'hold wherever %s stands when they are reached',
    (token) => {
      for (let shift = 0; shift < 12; shift += 1) {
        const list = `${token},`.replace(':,', ':1,').repeat(Math.ceil((1.5 * MIB) / token.length));
        const body = token.endsWith(':') ? `{${list}"z":1}` : `[${list}1]`;
        const event = `${opened('bomb')},"a":${' '.repeat(shift)}${body}}`;
        const { decoded } = DOORS.native(`{"events":[${event},${good('b')}]}`);
        expect(namesIn(decoded)).toEqual(['b']);
        expect(decoded!.rejections).toEqual([{ index: 0, reason: TOO_LARGE }]);
      }
    },
  );

  test('so many members are taken, and not one more', () => {
    const membersOf = (count: number) => `{${Array.from({ length: count }, (_, i) => `"${i}":0`).join(',')}}`;
    const { decoded } = DOORS.native(
      `{"events":[${membersOf(MAX_EVENT_MEMBERS)},${membersOf(MAX_EVENT_MEMBERS + 1)},${good('a')}]}`,
    );
    expect(namesIn(decoded)).toEqual(['a']);
    expect(decoded!.rejections.map(({ reason }) => reason)).toEqual(['event required', TOO_MANY]);
  });

  test('an event that is damaged is told so, unless it is too large', () => {
    const { decoded } = DOORS.native(
      `{"events":[{"a":NaN,"b":"${'x'.repeat(MIB)}"},{"b":"${'x'.repeat(2 * MIB)}","a":NaN},${good('a')}]}`,
    );
    expect(namesIn(decoded)).toEqual(['a']);
    expect(decoded!.rejections).toEqual([
      { index: 0, reason: 'invalid JSON at byte 16: expected a value' },
      { index: 1, reason: TOO_LARGE },
    ]);
  });

  test('one without an end costs the body: what follows may be part of it', () => {
    const { read } = DOORS.native(`{"events":[${good('a')},{"a":"${'x'.repeat(2 * MIB)}`);
    expect(read).toMatchObject({ code: 'invalid_json', message: expect.stringContaining('after byte') as string });
  });

  test.each(Object.entries(DOORS))('a thousand members beside the events at the %s door', (_door, work) => {
    const around = (count: number) => `{${'"token":"t",'.repeat(count - 1)}"events":[${good('a')}]}`;
    expect(work(around(1_000)).decoded).toMatchObject({ accepted: 1 });
    expect(work(around(1_001)).read).toMatchObject({
      code: 'invalid_envelope',
      message: 'more than 1000 members besides "events"',
    });
  });

  test('a member beside the events that is larger than an event is passed over in steps', () => {
    const { decoded, stepCount } = DOORS.bulk(`{"more":[${filled('"",', '""')}],"events":[${good('a')}]}`);
    expect(namesIn(decoded)).toEqual(['a']);
    expect(stepCount).toBeGreaterThan(15);
  });
});

describe('steps', () => {
  test('a body of many events is read and decoded in steps, and gives the same as at once', () => {
    const events = Array.from({ length: 4_000 }, (_, i) => `${opened(`n${i}`)},"a":"${'x'.repeat(1_000)}"}`);
    const { decoded, stepCount } = DOORS.native(`{"events":[${events.join(',')}]}`);
    expect(namesIn(decoded)).toEqual(events.map((_, i) => `n${i}`));
    expect(stepCount).toBeGreaterThan(30);
  });

  test('an ordinary body is one', () => {
    const { stepCount } = DOORS.native(`{"events":[${Array(500).fill(good('a')).join(',')}]}`);
    // One to read it, one to decode it.
    expect(stepCount).toBe(2);
  });

  test('bytes that are no UTF-8 are looked through in steps', () => {
    const bad = Buffer.concat([Buffer.from('{"events":[{"a":"'), Buffer.alloc(BOMB_BYTES, 0xff), Buffer.from('"}]}')]);
    const { decoded, stepCount } = DOORS.native(bad);
    expect(decoded).toMatchObject({ accepted: 0, rejected: 1 });
    expect(stepCount).toBeGreaterThan(30);
  });
});
