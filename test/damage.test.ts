/** One bad event costs one event, also when it is bad as text. */
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { readList } from '../src/event/event-lists.ts';
import { endOfDamaged, UNFINISHED, UNKNOWN_END } from '../src/event/damage.ts';
import { type Decoded, decodeEvents } from '../src/event/decode.ts';
import { decoderOf } from '../src/event/decoder.ts';
import { isBodyProblem, readEnvelope } from '../src/event/envelope.ts';
import { substituteBadBytes } from '../src/event/utf8.ts';
import { finish } from '../src/event/steps.ts';
import { nativeFormat } from '../src/http/ingest/doors/native.ts';
import { productBulkDoor } from '../src/http/ingest/doors/product.ts';
import { webDoor } from '../src/http/ingest/doors/web.ts';
import { DECODE_CONTEXT } from './support/factory.ts';

const bytesOf = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map((part) => Buffer.from(part as string)));
/** A Latin-1 letter, and the first half of a character of two bytes: neither is UTF-8. */
const LATIN_1 = Buffer.from([0xe9]);
const CUT = Buffer.from([0xc3]);

type WayIn = (events: readonly Buffer[]) => Decoded | string;

const joined = (events: readonly Buffer[]) => bytesOf(...events.flatMap((one, i) => (i === 0 ? [one] : [',', one])));

const NATIVE: WayIn = (events) => {
  const read = finish(readEnvelope(bytesOf('{"events":[', joined(events), ']}')));
  return isBodyProblem(read) ? read.code : finish(decodeEvents(read.events, decoderOf(nativeFormat)(DECODE_CONTEXT)));
};
const BULK: WayIn = (events) => {
  const read = finish(readList(bytesOf('[', joined(events), ']'), { mayBeBare: true, maxEvents: 1_000 }));
  return isBodyProblem(read)
    ? read.code
    : finish(decodeEvents(read.events, decoderOf(productBulkDoor.format)(DECODE_CONTEXT)));
};
const WEB: WayIn = (events) => {
  const read = finish(readList(bytesOf('{"events":[', joined(events), ']}'), { mayBeBare: false, maxEvents: 1_000 }));
  return isBodyProblem(read) ? read.code : finish(decodeEvents(read.events, decoderOf(webDoor.format)(DECODE_CONTEXT)));
};

const UUID = '550e8400-e29b-41d4-a716-446655440000';
/** An event that all three take, with a value among its fields. */
const eventWith = (value: string | Buffer, name = 'e') =>
  bytesOf(
    `{"event":"${name}","event_name":"${name}","user_id":"u","event_id":"${UUID}","id":"${UUID}","session_id":"${UUID}",` +
      `"type":"pageview","title":"t","path":"/","timestamp":1777897800,"more":`,
    value,
    '}',
  );

describe.each([
  ['native', NATIVE],
  ['bulk', BULK],
  ['web', WEB],
])('at the %s door', (_name, decode) => {
  const [first, second] = [eventWith('{"n":"first"}', 'a'), eventWith('{"n":"second, ] } \\" \\\\"}', 'b')];
  const alone = (event: Buffer) => (decode([event]) as Decoded).rows.toString();

  test.each<[string, string | Buffer, string]>([
    ['NaN', 'NaN', 'expected a value'],
    ['negative infinity', '-Infinity', 'expected a digit'],
    ['undefined', 'undefined', 'expected a value'],
    ['a capital', 'True', 'expected a value'],
    ['a number without its zero', '.5', 'expected a value'],
    ['a hexadecimal number', '0x1F', "expected ',' or '}'"],
    ['a plus', '+1', 'expected a value'],
    ['a cut character', bytesOf('"c', CUT, '"'), 'expected valid UTF-8'],
    ['a Latin-1 letter', bytesOf('"', LATIN_1, '"'), 'expected valid UTF-8'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'expected valid UTF-8'],
    ['a Latin-1 letter in a key', bytesOf('{"', LATIN_1, '":1}'), 'expected valid UTF-8'],
    ['a Latin-1 letter outside a text', bytesOf('{"a":', LATIN_1, '}'), 'expected valid UTF-8'],
    ['a raw tab', '"a\tb"', 'expected no control character'],
    ['a raw line end', '"a\nb"', 'expected no control character'],
    ['a NUL', '"a\0b"', 'expected no control character'],
    ['a Windows path', '"C:\\Users"', 'expected a valid escape'],
    ['a cut escape', '"\\u12"', 'expected a valid escape'],
    ['a hexadecimal escape', '"\\x41"', 'expected a valid escape'],
    ['a comma too many', '[1,2,]', 'expected a value'],
    ['a comma too many in an object', '{"a":1,}', 'expected a key in double quotes'],
    ['a missing value', '{"a":}', 'expected a value'],
    ['a key without quotes', '{a:1}', 'expected a key in double quotes'],
    ['Python', "{'a': None, 'b c': [True]}", 'expected a key in double quotes'],
    ['brackets in a text behind', '{"a":NaN,"b":"}],[{"}', 'expected a value'],
  ])('an event with %s costs itself', (_what, value, expected) => {
    const decoded = decode([first, eventWith(value, 'bad'), second]);
    expect(decoded).toMatchObject({ accepted: 2, rejected: 1, rejections: [{ index: 1 }] });
    const { rows, rejections } = decoded as Decoded;
    expect(rows.toString()).toBe(alone(first) + alone(second));
    expect(rejections[0]!.reason).toMatch(/^invalid JSON at byte \d+: /);
    expect(rejections[0]!.reason).toContain(expected);
  });

  test('so do several, at the ends too, and each is told its place', () => {
    const bad = eventWith('NaN');
    const decoded = decode([bad, first, bad, bytesOf('NaN'), second, bad]);
    expect(decoded).toMatchObject({ accepted: 2, rejected: 4 });
    expect((decoded as Decoded).rejections.map(({ index }) => index)).toEqual([0, 2, 3, 5]);
  });

  test('more than can be listed are counted', () => {
    const decoded = decode([first, ...Array<Buffer>(150).fill(eventWith('NaN')), second]) as Decoded;
    expect(decoded).toMatchObject({ accepted: 2, rejected: 150, truncated: true });
    expect(decoded.rejections).toHaveLength(100);
    expect(decoded.rejections[99]).toMatchObject({ index: 100, reason: expect.stringContaining('expected a value') });
  });

  test.each([
    ['a quotation mark too many', '"He said "hi", ok"'],
    ['a quotation mark too few', '"a}'],
    ['an escaped closing quotation mark', '"C:\\dir\\"'],
    ['a bracket too few', '{"a":[1,2}'],
    ['a brace too few', '{"a":1'],
    ['a brace too many', '{"a":1}}'],
    ['a comma too few', '{"a":1 "b":2}'],
    ['a comment', '1 /* , */'],
    ['an apostrophe between apostrophes', "'it's'"],
  ])('the whole body is refused for %s: where the event ends would be a guess', (_what, value) => {
    expect(decode([first, eventWith(value, 'bad'), second])).toBe('invalid_json');
  });

  test('two damages that would make up for each other do not hide the good event between them', () => {
    const bad = eventWith('"5" pipe"', 'bad');
    expect(decode([bad, first, bad])).toBe('invalid_json');
    expect(decode([eventWith('{"a":[1,{"b":2}', 'bad'), first, eventWith('{"c":3}]}', 'bad')])).toBe('invalid_json');
  });

  test('what stands in a text never becomes an event', () => {
    const evil = JSON.stringify(`"},${eventWith('1', 'evil').toString()},{"a":"`);
    const decoded = decode([first, eventWith(`[NaN,${evil}]`, 'bad'), second]);
    expect(decoded).toMatchObject({ accepted: 2, rejected: 1, rejections: [{ index: 1 }] });
    expect((decoded as Decoded).rows.toString()).toBe(alone(first) + alone(second));
  });
});

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((one) => JSON.stringify(one)),
  fc.constantFrom('"a\\"},{\\"event\\":1,[]"', '"\\\\"', '[{"a":[]},{}]', '{"":{"":[""]}}', '"é😀"', '1e400'),
);
const goodEvent = fc.array(value, { minLength: 1, maxLength: 3 }).map((values) => eventWith(`[${values.join(' , ')}]`));

/** What may stand in place of a value without a doubt about where the event ends. */
const damage = fc.oneof(
  fc.constantFrom<string | Buffer>('NaN', '-Infinity', 'undefined', '01', '1.', '"\\a"', '"\\u00g0"', '[1,]', '{"a":}'),
  fc.constantFrom<string | Buffer>('{,}', '{a:b}', '"\u0001"', '"a\r\nb"', "'a b'", '"\\\u0000"', '\u0000', '[,{},]'),
  fc
    .uint8Array({ minLength: 1, maxLength: 6, min: 0x80, max: 0xff })
    .filter((bytes) => !isText(Buffer.from(bytes)))
    .map((bytes) => bytesOf('"', Buffer.from(bytes), '"')),
);
const isText = (bytes: Buffer) => Buffer.from(bytes.toString()).equals(bytes);

describe('for arbitrary events', () => {
  test('a damaged one is rejected in its place, and its neighbours come out bit for bit', () => {
    fc.assert(
      fc.property(fc.array(goodEvent, { maxLength: 6 }), damage, value, fc.nat(), (good, damage, more, place) => {
        const at = place % (good.length + 1);
        const bad = eventWith(bytesOf(`{"m":${more},"d":`, damage, `,"n":${more}}`));
        for (const decode of [NATIVE, BULK, WEB]) {
          const decoded = decode([...good.slice(0, at), bad, ...good.slice(at)]) as Decoded;
          expect(decoded).toMatchObject({ accepted: good.length, rejected: 1, rejections: [{ index: at }] });
          const untouched = decode(good);
          if (good.length > 0 && typeof untouched === 'object') expect(decoded.rows.equals(untouched.rows)).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('a byte more, less or other in one of them costs that one, or is refused with all: no event is made, merged or lost', () => {
    let contained = 0;
    let refused = 0;
    const edit = fc.record({
      at: fc.nat(),
      byte: fc.oneof(fc.constantFrom(...Buffer.from('{}[],:"\'\\ \n\0nN1')), fc.integer({ min: 0, max: 255 })),
      kind: fc.constantFrom('put', 'swap', 'cut'),
    });
    fc.assert(
      fc.property(
        fc.array(goodEvent, { minLength: 2, maxLength: 5 }),
        fc.nat(),
        fc.array(edit, { minLength: 1, maxLength: 2 }),
        (good, place, edits) => {
          const at = place % good.length;
          let bad = good[at]!;
          for (const { at: where, byte, kind } of edits) {
            const start = where % bad.length;
            const behind = bad.subarray(kind === 'put' ? start : start + 1);
            bad = bytesOf(bad.subarray(0, start), kind === 'cut' ? '' : Buffer.from([byte]), behind);
          }
          const others = good.filter((_, index) => index !== at);
          for (const decode of [NATIVE, BULK, WEB]) {
            const decoded = decode(good.map((event, index) => (index === at ? bad : event)));
            if (typeof decoded === 'string') {
              refused += 1;
              continue;
            }
            contained += decoded.rejected;
            expect(decoded.accepted + decoded.rejected).toBe(good.length);
            // The event itself may be none the worse for it; then its row stands at its place.
            const isTaken = decoded.rejected === 0;
            const rows = decoded.rows.toString().split('\n').slice(0, -1);
            if (isTaken) rows.splice(at, 1);
            else expect(decoded.rejections).toMatchObject([{ index: at }]);
            expect(rows.map((row) => `${row}\n`).join('')).toBe((decode(others) as Decoded).rows.toString());
          }
        },
      ),
      { numRuns: 1_000 },
    );
    // Control: both happen often.
    expect(Math.min(contained, refused)).toBeGreaterThan(150);
  });
});

describe('the end of a damaged value', () => {
  test.each([
    ['NaN,1', 3],
    ['NaN]', 3],
    ['new Date ,1', 9],
    ["'a',1", 3],
    ["'a':1", UNKNOWN_END],
    ['{"a" "b"}', UNKNOWN_END],
    [']', UNKNOWN_END],
    [',1', UNKNOWN_END],
    ['{"a":1]', UNKNOWN_END],
    ['{{}:1}', UNKNOWN_END],
    ['[a:1]', UNKNOWN_END],
    ['{"a":b:1}', UNKNOWN_END],
    ["'a{'", UNKNOWN_END],
    ['{"a":1', UNFINISHED],
    ['"a', UNFINISHED],
    ['"a\\"', UNFINISHED],
    ["'a", UNFINISHED],
    ['NaN', UNFINISHED],
  ])('of %s is %i', (text, end) => {
    expect(finish(endOfDamaged(Buffer.from(text), 0))).toBe(end);
  });

  test('of JSON is where it ends', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (one) => {
        const text = Buffer.from(JSON.stringify([one]));
        expect(finish(endOfDamaged(bytesOf(text, ',[]'), 0))).toBe(text.length);
      }),
    );
  });

  test('of millions of open brackets is none, told without overflowing the stack', () => {
    expect(finish(endOfDamaged(Buffer.alloc(5_000_000, '['), 0))).toBe(UNFINISHED);
    expect(finish(endOfDamaged(Buffer.alloc(5_000_000, '{a:'), 0))).toBe(UNFINISHED);
  });
});

describe('bytes that are no UTF-8', () => {
  test('are marked, and the others kept: as the decoder of the platform finds them', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 12 }),
      fc.array(fc.constantFrom(0x61, 0xc2, 0xc3, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0x80, 0x8f, 0x90, 0xa0, 0xbf), {
        maxLength: 12,
      }),
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, (bytes) => {
        const sent = Buffer.from(bytes);
        const marked = finish(substituteBadBytes(sent));
        expect(marked).toHaveLength(sent.length);
        const good = (text: string) => text.replaceAll('\u001a', '').replaceAll('\ufffd', '');
        // A replacement character that was sent counts as one that was made, on both sides.
        expect(good(marked.toString())).toBe(good(sent.toString()));
        expect(isText(marked)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
