/** Events that take several lines, and lists and rows of them, through the door for NDJSON. */
import { Readable } from 'node:stream';
import type { IncomingMessage } from 'node:http';
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { decoderOf } from '../src/event/decoder.ts';
import { nodeBody } from '../src/http/request/door-request.ts';
import { ndjsonDoor } from '../src/http/ingest/doors/ndjson.ts';
import { readLines } from '../src/http/ingest/ndjson-lines.ts';
import { createFairScheduler } from '../src/http/request/fair-scheduling.ts';
import { createManualClock } from './support/clock.ts';
import { DECODE_CONTEXT, channelOn } from './support/factory.ts';

const MIB = 1024 * 1024;
const decodeEvent = decoderOf(ndjsonDoor.format)({ ...DECODE_CONTEXT, source: 'ndjson' });

/** Reads a body in pieces of a size; the names of the events that were taken, and `line: reason` of the others. */
async function told(body: string | Buffer, size = 16 * 1024, maxEvents = 100_000) {
  const bytes = Buffer.from(body as string);
  function* pieces() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const incoming = Object.assign(Readable.from(pieces(), { objectMode: false }), { headers: {} });
  const channel = channelOn(createManualClock(), { maxBytes: 100 * MIB, maxEvents });
  const reservation = channel.reserve();
  let heldBytes = 0;
  const watched = {
    ...reservation,
    grow(more: number) {
      heldBytes += more;
      return reservation.grow(more);
    },
  };
  const read = await readLines(
    { headers: {}, body: nodeBody(incoming as unknown as IncomingMessage) },
    { decodeEvent, reservation: watched, couldHold: channel.couldHold, scheduler: createFairScheduler() },
    { maxBytes: 10 * MIB },
  );
  if (read === 'aborted' || 'refused' in read) return { refused: read, names: [], bad: [], heldBytes };
  const { rows, rejections, rejected } = read.decoded;
  const names = [...rows.toString().matchAll(/"event":"([^"]*)"/g)].map(([, name]) => name!);
  return { names, bad: rejections.map(({ index, reason }) => `${index}: ${reason}`), rejected, heldBytes };
}

const eventOf = (name: string, more: object = {}) => ({
  timestamp: 1,
  service: 's',
  name,
  data: { a: [{}], b: {} },
  ...more,
});
const line = (name: string, more: object = {}) => JSON.stringify(eventOf(name, more));
const pretty = (name: string, indent: number | string = 2) => JSON.stringify(eventOf(name), null, indent);
const list = (names: readonly string[], indent: number | string = 2) =>
  JSON.stringify(
    names.map((name) => eventOf(name)),
    null,
    indent,
  );

describe('what shippers send', () => {
  test.each<[string, string, string[]]>([
    ['an event over several lines, as jq prints it', `${pretty('a')}\n`, ['a']],
    ['several of them', `${pretty('a')}\n${pretty('b', '\t')}\n\n${pretty('c', 4)}`, ['a', 'b', 'c']],
    ['with CRLF', pretty('a').replaceAll('\n', '\r\n') + '\r\n' + line('b'), ['a', 'b']],
    ['without indentation', pretty('a', 2).replaceAll(/^ +/gm, ''), ['a']],
    ['among ordinary lines', `${line('a')}\n${pretty('b')}\n${line('c')}\n`, ['a', 'b', 'c']],
    ['one behind the other on a line', `${pretty('a')}${pretty('b')} ${line('c')}\n${line('d')}`, ['a', 'b', 'c', 'd']],
    ['a list over several lines', list(['a', 'b', 'c']), ['a', 'b', 'c']],
    ['a list of one event a line', `[\n${line('a')},\n${line('b')}\n]\n${line('c')}`, ['a', 'b', 'c']],
    ['a list that begins on the line of its first event', `[${line('a')},\n ${line('b')}]`, ['a', 'b']],
    ['commas at the beginning of lines', `[${line('a')}\n,${line('b')}\n]`, ['a', 'b']],
    [
      'lists and events in any order',
      `${list(['a', 'b'])}\n${line('c')}\n${list(['d'])}${pretty('e')}`,
      ['a', 'b', 'c', 'd', 'e'],
    ],
    ['a byte order mark', `\ufeff${pretty('a')}`, ['a']],
    ['an empty list over several lines', '[\n\n]\n', []],
  ])('%s', async (_what, body, names) => {
    for (const size of [1, 7, 64, 16 * 1024]) expect(await told(body, size)).toMatchObject({ names, bad: [] });
  });

  test('a list of more than a megabyte on one line, and objects one behind the other', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `n${i}`);
    const events = names.map((name) => line(name));
    expect(`[${events.join(',')}]`.length).toBeGreaterThan(1.2 * MIB);
    for (const body of [`[${events.join(',')}]\n${line('z')}`, `${events.join('')}\n${line('z')}`]) {
      const { names: taken, bad, heldBytes } = await told(body);
      expect(bad).toEqual([]);
      expect(taken).toEqual([...names, 'z']);
      // Rows, and no more of the body than the first megabyte, which tells what it is.
      expect(heldBytes).toBeLessThan(8 * MIB);
    }
  });

  test('a list of several megabytes over several lines is not held', async () => {
    const body = JSON.stringify(
      Array.from({ length: 4_000 }, () => ({ x: 'y'.repeat(1_000) })),
      null,
      2,
    );
    const { rejected, heldBytes } = await told(body);
    expect(rejected).toBe(4_000);
    expect(heldBytes).toBeLessThan(32 * 1024);
  });
});

describe('a bad one costs itself', () => {
  const cut = (text: string, at: number) => text.slice(0, at);
  test.each<[string, string, string[], string[]]>([
    [
      'a line cut off in a text',
      `${cut(line('x'), 26)}\n${line('a')}\n`,
      ['a'],
      ['1: invalid JSON at the end: expected the end of a string'],
    ],
    [
      'a line cut off before a value',
      `${cut(line('x'), 13)}\n${line('a')}\n${line('b')}`,
      ['a', 'b'],
      ['1: invalid JSON at the end: expected a value'],
    ],
    [
      'a line cut off before a value, and one good one',
      `${cut(line('x'), 13)}\n${line('a')}`,
      ['a'],
      ['1: invalid JSON at the end: expected a value'],
    ],
    [
      'a line cut off in a list',
      `{"data":[1,\n${line('a')}\n${line('b')}\n${line('c')}`,
      ['a', 'b', 'c'],
      ['1: invalid JSON at the end: expected a value'],
    ],
    [
      'a missing brace',
      `${cut(line('x'), line('x').length - 1)}\n${line('a')}`,
      ['a'],
      ["1: invalid JSON at the end: expected ',' or '}'"],
    ],
    [
      'a line cut off before an event over several lines',
      `${cut(line('x'), 13)}\n${pretty('a')}\n${pretty('b')}`,
      ['a', 'b'],
      ['1: invalid JSON at the end: expected a value'],
    ],
    [
      'NaN in an event over several lines',
      `${pretty('a')}\n${pretty('x').replace('1', 'NaN')}\n${pretty('b')}`,
      ['a', 'b'],
      ['12: invalid JSON at byte 17: expected a value'],
    ],
    [
      'a raw line end in a text of an event over several lines',
      `${pretty('x').replace('"s"', '"s\n"')}\n${pretty('a')}`,
      ['a'],
      ['1: invalid JSON at the end: expected a key in double quotes'],
    ],
    [
      'a quotation mark too many in one of a list',
      list(['a', 'x', 'b', 'c']).replace('"x"', '"x""'),
      ['a', 'b', 'c'],
      ['13: invalid JSON at the end: expected a key in double quotes'],
    ],
    [
      'what is no object in a list over several lines',
      `[\n 5,\n "t",\n ${line('a')},\n [${line('x')}],\n null\n]`,
      ['a'],
      [2, 3, 5, 6].map((number) => `${number}: event must be an object`),
    ],
    [
      'the last one, cut off',
      `${pretty('a')}\n${cut(pretty('x'), 30)}`,
      ['a'],
      ['12: invalid JSON at the end: expected a key in double quotes'],
    ],
    [
      'the last one of a list, cut off',
      cut(list(['a', 'x']), list(['a', 'x']).length - 30),
      ['a'],
      ['13: invalid JSON at the end: expected a key in double quotes', '1: invalid JSON at the end: expected a value'],
    ],
    [
      'a list that was cut off before another one',
      `[${line('a')},\n[${line('b')},${line('c')}]\n${line('d')}`,
      ['a', 'b', 'c', 'd'],
      ['1: invalid JSON at the end: expected a value'],
    ],
    [
      'something else behind an event over several lines',
      `${pretty('a')}x\n${line('b')}`,
      ['a', 'b'],
      ['11: invalid JSON at byte 0: expected a value'],
    ],
    [
      'a bracket that closes nothing',
      `${pretty('a')}]\n${line('b')}`,
      ['a', 'b'],
      ['11: invalid JSON: cannot tell where it ends'],
    ],
    [
      'what stands in a bad event',
      `${JSON.stringify({ ...eventOf('x'), data: { inner: eventOf('invented'), b: [eventOf('invented')] } }, null, 2).replace('"s"', '"s""')}\n${line('a')}`,
      ['a'],
      ['1: invalid JSON at the end: expected a key in double quotes'],
    ],
  ])('%s', async (_what, body, names, bad) => {
    for (const size of [1, 7, 64, 16 * 1024]) expect(await told(body, size)).toMatchObject({ names, bad });
  });

  test('bytes that are no UTF-8 in an event over several lines', async () => {
    const [before, behind] = pretty('x').split('"x"');
    const bad = Buffer.concat([Buffer.from(`${before}"`), Buffer.from([0xe9]), Buffer.from(`"${behind}`)]);
    const body = Buffer.concat([Buffer.from(`${pretty('a')}\n`), bad, Buffer.from(`\n${line('b')}`)]);
    for (const size of [1, 7, 16 * 1024])
      expect(await told(body, size)).toMatchObject({
        names: ['a', 'b'],
        bad: [expect.stringMatching(/^12: invalid JSON at byte \d+: expected valid UTF-8$/)],
      });
  });

  test('one of more than a megabyte, over several lines, in a list, and with others on its line', async () => {
    const large = eventOf('large', { data: Array.from({ length: 400_000 }, (_, i) => i) });
    const reason = 'event too large: more than 1 MiB as it was sent';
    const one = JSON.stringify(large, null, 1);
    expect(await told(`${line('a')}\n${one}\n${line('b')}`)).toMatchObject({
      names: ['a', 'b'],
      bad: [`2: ${reason}`],
    });
    expect(await told(JSON.stringify([eventOf('a'), large, eventOf('b')], null, 1))).toMatchObject({
      names: ['a', 'b'],
      bad: [`13: ${reason}`],
    });
    const { names, bad, heldBytes } = await told(`[${line('a')},${JSON.stringify(large)},${line('b')}]\n${line('c')}`);
    expect({ names, bad }).toEqual({ names: ['a', 'b', 'c'], bad: [`1: ${reason}`] });
    expect(heldBytes).toBeLessThan(2.5 * MIB);
  });
});

describe('for arbitrary events', () => {
  const NAMES = Array.from({ length: 8 }, (_, i) => `e${i}`);
  const styles = fc.constantFrom<((name: string) => string)[]>(
    ...(
      [
        (name: string) => line(name),
        (name: string) => pretty(name),
        (name: string) => pretty(name, '\t'),
        (name: string) => list([name]),
        (name: string) => `[\n${line(name)}\n]`,
      ] as ((name: string) => string)[]
    ).map((style) => [style]),
  );
  const body = fc.array(
    styles.map(([style]) => style!),
    { minLength: NAMES.length, maxLength: NAMES.length },
  );
  const sizes = fc.constantFrom(1, 3, 50, 1_000);

  test('all are taken, in their order, however they are written and cut', async () => {
    await fc.assert(
      fc.asyncProperty(body, sizes, async (written, size) => {
        const sent = NAMES.map((name, i) => written[i]!(name)).join('\n');
        expect(await told(sent, size)).toMatchObject({ names: NAMES, bad: [] });
      }),
      { numRuns: 100 },
    );
  });

  test('one that is cut off anywhere costs itself: no other is lost, none made, none taken twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        body,
        sizes,
        fc.nat(NAMES.length - 1),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        async (written, size, bad, part) => {
          const sent = NAMES.map((name, i) => {
            const text = written[i]!(name);
            return i === bad ? text.slice(0, Math.floor(text.length * part)) : text;
          }).join('\n');
          const { names } = await told(sent, size);
          // What was cut off behind its last brace is still whole.
          expect(names.filter((name) => name !== NAMES[bad])).toEqual(NAMES.filter((_, i) => i !== bad));
          expect(names.length).toBeLessThanOrEqual(NAMES.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('the answer does not depend on how the body is cut, whatever it is', async () => {
    const part = fc.oneof(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '\n',
        '\n',
        ' ',
        '\\',
        "'",
        '{"a":',
        '"a"',
        '1',
        'NaN',
        '\r\n',
        line('e'),
        pretty('e'),
        '[\n',
      ),
      fc.string({ maxLength: 3 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 40 }), fc.integer({ min: 1, max: 40 }), async (parts, size) => {
        const sent = parts.join('');
        const { heldBytes: _, ...whole } = await told(sent);
        const { heldBytes: __, ...inPieces } = await told(sent, size);
        expect(inPieces).toEqual(whole);
      }),
      { numRuns: 500 },
    );
  });
});

describe('bounds', () => {
  test.each([
    ['lines that are never finished', '{"a":\n'],
    ['lists in lists', '[\n'],
    ['braces', '{\n'],
    ['quotation marks', '{"\n'],
    ['lists that are cut off', '[{},\n'],
    ['values that contradict each other', '{"a":\n{"b":\n}\n]\n'],
  ])('%s by the hundred thousand end, and are held to a few megabytes', async (_what, part) => {
    const { names, heldBytes } = await told(part.repeat(100_000), 64 * 1024, 1_000_000);
    expect(names).toEqual([]);
    expect(heldBytes).toBeLessThan(4 * MIB);
  });

  test('lines that are passed over behind a bad one count like bad ones, and blank ones in a list like others', async () => {
    expect(await told(`{"a":1\n"b"\n${'x\n'.repeat(20)}`, 10, 10)).toMatchObject({
      refused: { refused: 'body_too_large' },
    });
    expect(await told(`[\n${'\n'.repeat(20)}]`, 10, 10)).toMatchObject({ refused: { refused: 'body_too_large' } });
  });
});
