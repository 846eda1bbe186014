import { hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as nextPhase } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import fc from './support/fast-check.ts';
import { describe, expect, test, vi } from 'vitest';
import { decoderOf } from '../src/event/decoder.ts';
import type { Steps } from '../src/event/steps.ts';
import { type BodyListener, nodeBody } from '../src/http/request/door-request.ts';
import { ndjsonDoor } from '../src/http/ingest/doors/ndjson.ts';
import { type PartSink, createValueSplitter } from '../src/http/ingest/json-values.ts';
import { isUnfinished } from '../src/http/ingest/json-lines.ts';
import { type LinesRead, readLines } from '../src/http/ingest/ndjson-lines.ts';
import type { Refusal } from '../src/http/answers/refusals.ts';
import { type FairScheduler, createFairScheduler } from '../src/http/request/fair-scheduling.ts';
import { createManualClock } from './support/clock.ts';
import { DECODE_CONTEXT, channelOn } from './support/factory.ts';

const MIB = 1024 * 1024;
const MAX_BODY = 10 * MIB;
const NETWORK_CHUNK = 16 * 1024;
const GOOD = '{"timestamp":1,"service":"s","name":"n"}';
const named = (name: string) => GOOD.replace('"n"', JSON.stringify(name));

const decodeEvent = decoderOf(ndjsonDoor.format)({ ...DECODE_CONTEXT, source: 'ndjson' });

const requestOf = (chunks: Iterable<Buffer>, headers: Record<string, string> = {}) =>
  Object.assign(Readable.from(chunks, { objectMode: false }), { headers }) as unknown as IncomingMessage;

function* cut(body: Buffer, size: number) {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

type Settings = {
  headers?: Record<string, string>;
  room?: number;
  maxEvents?: number;
  maxBytes?: number;
  scheduler?: FairScheduler;
};

/** Reads the chunks and tells the most bytes that were reserved meanwhile, and what is when everything is over. */
async function readChunks(
  chunks: Iterable<Buffer>,
  {
    headers = {},
    room = 100 * MIB,
    maxEvents = 1_000_000,
    maxBytes = MAX_BODY,
    scheduler = createFairScheduler(),
  }: Settings = {},
) {
  const channel = channelOn(createManualClock(), { maxBytes: room, maxEvents });
  const reservation = channel.reserve();
  let peakBytes = 0;
  const watched = {
    ...reservation,
    grow(bytes: number) {
      const isGranted = reservation.grow(bytes);
      peakBytes = Math.max(peakBytes, channel.usage().reservedBytes);
      return isGranted;
    },
  };
  const incoming = requestOf(chunks, headers);
  const read = await readLines(
    { headers: incoming.headers, body: nodeBody(incoming) },
    { decodeEvent, reservation: watched, couldHold: channel.couldHold, scheduler },
    { maxBytes },
  );
  reservation.release();
  return { read, peakBytes, keptBytes: channel.usage().reservedBytes, incoming };
}

const bytesOf = (body: string | Buffer) => Buffer.from(body as string);

async function decoded(body: string | Buffer, chunkSize = NETWORK_CHUNK, settings: Settings = {}) {
  const { read } = await readChunks(cut(bytesOf(body), chunkSize), settings);
  if (!isRead(read)) throw new Error(JSON.stringify(read));
  return read;
}

const isRead = (read: LinesRead | Refusal | 'aborted'): read is LinesRead =>
  typeof read === 'object' && 'decoded' in read;

/** The names that were accepted, and the rejections as `line: reason`. */
async function told(body: string | Buffer) {
  const { rows, rejections } = (await decoded(body)).decoded;
  const names = [...rows.toString().matchAll(/"event":"([^"]*)"/g)].map(([, name]) => name);
  return [names.join(), ...rejections.map(({ index, reason }) => `${index}: ${reason}`)];
}

describe('lines', () => {
  const broken = Buffer.concat([
    bytesOf(`${named('a')}\n{"name":"`),
    Buffer.from([0xff]),
    bytesOf(`"}\n${named('b')}`),
  ]);
  test.each<[string, string | Buffer, string[]]>([
    ['nothing', '', ['']],
    ['one without an end', named('a'), ['a']],
    ['one with an end', `${named('a')}\n`, ['a']],
    ['several', `${named('a')}\n${named('b')}\n${named('c')}`, ['a,b,c']],
    ['CRLF', `${named('a')}\r\n${named('b')}\r\n`, ['a,b']],
    ['blank lines, which are counted', `\n \r\n${named('a')}\n\t\n\n5\n`, ['a', '6: event must be an object']],
    ['nothing but blank lines', '\n\r\n  \n', ['']],
    ['a bare CR, which is no end', `${named('a')}\r${named('b')}\n5`, ['a,b', '2: event must be an object']],
    ['events one behind the other', `${named('a')}${named('b')} ${named('c')}\n${named('d')}`, ['a,b,c,d']],
    ['an array', `[${named('a')}, ${named('b')}]\n5\n[]\n`, ['a,b', '2: event must be an object']],
    [
      'bad ones among several of a line',
      `[${named('a')},{"a":NaN},5,${named('b')}]\n${named('c')}{"a":"\\x"}${named('d')}`,
      [
        'a,b,c,d',
        '1: invalid JSON at byte 47: expected a value',
        '1: event must be an object',
        '2: invalid JSON at byte 46: expected a valid escape',
      ],
    ],
    [
      'several of which it cannot be told where they end, which are one bad line',
      `${named('a')}${named('b')}x\n[${named('c')},{"a":"b"c"}]\n${named('d')}`,
      [
        'd',
        '1: invalid JSON at byte 40: expected nothing after the document',
        "2: invalid JSON at byte 50: expected ',' or '}'",
      ],
    ],
    ['a byte order mark', `\ufeff${named('a')}\n`, ['a']],
    [
      'not JSON',
      `{"a":1\n${named('a')}\nx`,
      ['a', "1: invalid JSON at the end: expected ',' or '}'", '3: invalid JSON at byte 0: expected a value'],
    ],
    ['an event over two lines', '{"name":\n"a"}', ['', '1: timestamp required']],
    [
      'not an event',
      `["a"]\n{}\n5`,
      ['', '1: event must be an object', '2: name required', '3: event must be an object'],
    ],
    ['not UTF-8', broken, ['a,b', '2: line must be valid UTF-8']],
  ])('%s', async (_name, body, expected) => {
    expect(await told(body)).toEqual(expected);
  });

  test('a megabyte is read, a byte more is not, and the next line is not touched by it', async () => {
    const padded = (byteCount: number) => named('long').padEnd(byteCount);
    expect(await told(padded(MIB))).toEqual(['long']);
    expect(await told(`${padded(MIB)}\n${padded(MIB - 1)}\r\n${named('b')}`)).toEqual(['long,long,b']);
    expect(await told(`${padded(MIB + 1)}\n${named('b')}\n5`)).toEqual([
      'b',
      '1: line too long',
      '3: event must be an object',
    ]);
    expect(await told(`${named('a')}\n${padded(MIB + 1)}`)).toEqual(['a', '2: line too long']);
  });

  test('the hash is that of the whole body', async () => {
    const body = `${named('a')}\r\n\n{`;
    for (const size of [1, 7, 1_000]) expect((await decoded(body, size)).bodyHash).toBe(hash('sha256', body));
  });

  test('beyond a hundred rejections they are only counted', async () => {
    const { rejected, rejections, truncated } = (await decoded('x\n'.repeat(101))).decoded;
    expect({ rejected, listed: rejections.length, truncated }).toEqual({ rejected: 101, listed: 100, truncated: true });
  });
});

describe('the answer does not depend on how a body is cut', () => {
  const BODY = Buffer.concat([
    bytesOf(`\ufeff${named('é😀')}\r\n\n{"x":"\\u`),
    Buffer.from([0xc3, 0x0a, 0xf0, 0x9f]),
    bytesOf(`\n${named('b')}\n \n5`),
  ]);

  test('at any byte', async () => {
    const whole = await decoded(BODY);
    expect(whole.decoded).toMatchObject({ accepted: 2, rejected: 3 });
    for (let at = 1; at < BODY.length; at += 1) {
      const { read } = await readChunks([BODY.subarray(0, at), BODY.subarray(at)]);
      expect(read, `cut at ${at}`).toEqual(whole);
    }
    expect(await decoded(BODY, 1)).toEqual(whole);
  });

  test('anywhere, packed or not, whatever it holds', async () => {
    const line = fc.oneof(
      fc.constantFrom(GOOD, named('é'), '', ' ', '\r', '5', '{', '{}', named('x'.repeat(201))).map(bytesOf),
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      fc.nat(9_000).map((padding) => bytesOf(GOOD.padEnd(padding))),
    );
    const lines = fc.array(line, { maxLength: 12 });
    const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6_000 })), {
      minLength: 1,
    });
    await fc.assert(
      fc.asyncProperty(lines, cuts, fc.boolean(), async (lines, cuts, isPacked) => {
        const body = Buffer.concat(lines.flatMap((one) => [one, bytesOf('\n')]));
        const sent = isPacked ? gzipSync(body) : body;
        const pieces: Buffer[] = [];
        for (let at = 0, i = 0; at < sent.length; at += cuts[i % cuts.length]!, i += 1)
          pieces.push(sent.subarray(at, at + cuts[i % cuts.length]!));
        const { read, keptBytes } = await readChunks(
          pieces,
          isPacked ? { headers: { 'content-encoding': 'gzip' } } : {},
        );
        expect(read).toEqual(await decoded(body, MAX_BODY));
        expect(keptBytes).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});

describe('a body that is refused', () => {
  const packed = gzipSync(`${named('a')}\n`.repeat(2_000));
  const damaged = Buffer.from(packed);
  damaged[damaged.length - 6]! ^= 0xff;
  const gzip = { headers: { 'content-encoding': 'gzip' } };

  test.each<[string, Buffer, Settings, string]>([
    ['cut gzip', packed.subarray(0, -1), gzip, 'invalid_encoding'],
    ['gzip with a wrong checksum', damaged, gzip, 'invalid_encoding'],
    ['gzip with more behind it', Buffer.concat([packed, Buffer.alloc(4, 'x')]), gzip, 'invalid_encoding'],
    ['gzip that does not say so', packed, {}, 'invalid_encoding'],
    ['no gzip', bytesOf(GOOD), gzip, 'invalid_encoding'],
    ['another encoding', bytesOf(GOOD), { headers: { 'content-encoding': 'rot13' } }, 'unsupported_encoding'],
    ['too large', Buffer.alloc(1_001, '\n'), { maxBytes: 1_000 }, 'body_too_large'],
    ['too large when unpacked', packed, { ...gzip, maxBytes: 10_000 }, 'body_too_large'],
    ['more events than could ever be held', bytesOf(`${GOOD}\n`.repeat(11)), { maxEvents: 10 }, 'body_too_large'],
    ['more bytes of rows than could ever be held', bytesOf(`${GOOD}\n`.repeat(11)), { room: 1_000 }, 'body_too_large'],
  ])('%s', async (_name, body, settings, refused) => {
    const { read, keptBytes } = await readChunks(cut(body, 1_000), settings);
    expect(read).toMatchObject({ refused });
    expect(keptBytes).toBe(0);
  });

  test.each<[string, string]>([
    ['rejected lines', '{}\n'],
    ['lines that are no JSON', 'x\n'],
    ['lines that are too long', `${'x'.repeat(MIB)}y\n`],
    ['lines of another encoding', '\x80\n'],
  ])('for more %s than events could ever be held', async (_name, line) => {
    const { read } = await readChunks(cut(Buffer.from(line.repeat(4), 'latin1'), NETWORK_CHUNK), { maxEvents: 3 });
    expect(read).toMatchObject({ refused: 'body_too_large' });
    const { decoded } = (await readChunks(cut(Buffer.from(line.repeat(3), 'latin1'), NETWORK_CHUNK), { maxEvents: 3 }))
      .read as LinesRead;
    expect(decoded.rejected).toBe(3);
  });

  test.each(['\n', '\r\n', ' \t\n'])('for more blank lines than events could ever be held (%j)', async (blank) => {
    const body = (count: number) => [bytesOf(`${GOOD}\n${blank.repeat(count)}${GOOD}`)];
    const { read } = await readChunks(body(11), { maxEvents: 10 });
    expect(read).toMatchObject({ refused: 'body_too_large', message: expect.stringContaining('blank') as string });
    expect(await readChunks(body(10), { maxEvents: 10 })).toMatchObject({ read: { decoded: { accepted: 2 } } });
  });

  test('for its lines is not unpacked to its end: ten kilobytes of ten million of them', async () => {
    let lookedAt = 0;
    const scheduler = { take: (bytes: number) => ((lookedAt += bytes), null) };
    const packed = gzipSync(Buffer.alloc(MAX_BODY, '\n'));
    const { read } = await readChunks([packed], { ...gzip, maxEvents: 50_000, scheduler });
    expect(read).toMatchObject({ refused: 'body_too_large' });
    expect(packed.length).toBeLessThan(12_000);
    expect(lookedAt).toBeLessThan(MIB);
  });

  test('as many events as can be held are read', async () => {
    const { accepted } = (await decoded(`${GOOD}\n`.repeat(10), NETWORK_CHUNK, { maxEvents: 10 })).decoded;
    expect(accepted).toBe(10);
  });

  test('for want of room is not read on', async () => {
    let sent = 0;
    function* endless() {
      for (; sent < 100_000; sent += 1) yield bytesOf(GOOD.padEnd(1_000));
    }
    const { read, incoming } = await readChunks(endless(), { room: 50_000, maxEvents: 100 });
    expect(read).toEqual({ refused: 'channel_full' });
    expect(incoming.isPaused()).toBe(true);
    expect(sent).toBeLessThan(200);
  });

  test('because the client left', async () => {
    function* leaving() {
      yield bytesOf(`${GOOD}\n${GOOD}`);
      throw new Error('reset');
    }
    const { read, keptBytes } = await readChunks(leaving());
    expect({ read, keptBytes }).toEqual({ read: 'aborted', keptBytes: 0 });
  });
});

describe('large pieces wait for their turns', () => {
  /** Counts whatever a splitter tells. */
  function countParts(): { sink: PartSink; count: () => number } {
    let count = 0;
    const add = () => (count += 1);
    const sink: PartSink = {
      line: (line) => (add() && isUnfinished(line) ? null : 1),
      longLine: add,
      blankLine: add,
      event: add,
      largeEvent: add,
      endless: add,
      passedLine: add,
    };
    return { sink, count: () => count };
  }
  /** Turns that somebody else gives, one at a time. */
  function turnsByHand() {
    const waiting: (() => void)[] = [];
    return {
      waiting,
      take: (bytes: number) => (bytes < 1_000 ? null : new Promise<void>((resolve) => waiting.push(resolve))),
    };
  }
  const body = Array.from({ length: 3_000 }, (_, n) => `${named(`n${n}`)}\n`).join('');

  test.each([
    ['as they are', cut(bytesOf(body), NETWORK_CHUNK), {}],
    ['unpacked', [gzipSync(body)], { 'content-encoding': 'gzip' }],
  ])('%s: none is lost, and their order stays', async (_how, chunks, headers) => {
    const scheduler = turnsByHand();
    const state = { isRead: false };
    const reading = readChunks(chunks, { headers, scheduler }).finally(() => (state.isRead = true));
    let given = 0;
    while (!state.isRead) {
      // Never more than one: who waits brings nothing more.
      expect(scheduler.waiting.length).toBeLessThanOrEqual(1);
      for (const go of scheduler.waiting.splice(0)) {
        given += 1;
        go();
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect((await reading).read).toEqual(await decoded(body));
    expect(given).toBeGreaterThan(3);
  });

  const LINES = 60_000;
  const COSTLY: readonly [string, string][] = [
    ['events that have no end', '{\n'],
    ['lists that have no end', '[{},\n'],
    ['blank lines', '\n'],
    ['empty events', '{}\n'],
    ['bad lines', 'x\n'],
    ['lines of two events', '{}{}\n'],
    ['events of several lines', '{\n}\n'],
    ['events of a list that is one line', '{},'],
    ['texts that have no end', '"\n'],
  ];

  test.each(COSTLY)('%s cost more than their bytes: a step ends after some thousand of them', (_name, line) => {
    const told = countParts();
    const splitter = createValueSplitter(told.sink);
    const bytes = bytesOf(`${line === '{},' ? '[' : ''}${line.repeat(LINES)}`);
    const most = line === '\n' ? 30_000 : 2_100;
    let steps = 0;
    const run = (work: Steps<void>) => {
      for (let before = told.count(); !work.next().done; before = told.count()) {
        steps += 1;
        expect(told.count() - before).toBeLessThanOrEqual(most);
      }
    };
    for (const chunk of cut(bytes, 64 * 1024)) run(splitter.push(chunk));
    run(splitter.end());
    expect(told.count()).toBeGreaterThanOrEqual(LINES - 1);
    expect(steps).toBeGreaterThanOrEqual(LINES / most - 1);
  });

  test.each(COSTLY)('%s: whoever sends them waits for a turn after each step', async (_name, line) => {
    const chunk = bytesOf(`${line === '{},' ? '[' : ''}${line.repeat(LINES)}`);
    const { waiting, take } = turnsByHand();
    const state = { isRead: false };
    const reading = readChunks([chunk], { scheduler: { take } }).finally(() => (state.isRead = true));
    let given = 0;
    while (!state.isRead) {
      expect(waiting.length).toBeLessThanOrEqual(1);
      for (const go of waiting.splice(0)) {
        given += 1;
        go();
      }
      await nextPhase();
    }
    await reading;
    expect(given).toBeGreaterThan(line === '\n' ? 1 : 30);
  });

  test('lines that hold thousands of events take a turn each', async () => {
    const { waiting, take } = turnsByHand();
    const body = `${'{}'.repeat(4_000)}\n`.repeat(7);
    const state = { isRead: false };
    const reading = readChunks([bytesOf(body)], { scheduler: { take } }).finally(() => (state.isRead = true));
    let given = 0;
    for (; !state.isRead; await nextPhase()) {
      given += waiting.length;
      for (const go of waiting.splice(0)) go();
    }
    expect((await reading).read).toMatchObject({ decoded: { rejected: 28_000 } });
    expect(given).toBe(7);
  });

  test('a client that leaves between two steps gets its room back, and nothing more is decoded', async () => {
    const { waiting, take } = turnsByHand();
    const channel = channelOn(createManualClock(), { maxBytes: MIB, maxEvents: 100_000 });
    const reservation = channel.reserve();
    let decodedCount = 0;
    let listener: BodyListener | null = null;
    const body = {
      announcedBytes: 0,
      take: () => null,
      listen: (listening: BodyListener) => void (listener = listening),
      pause: () => {},
      resume: () => {},
      leave: () => {},
    };
    const counting: typeof decodeEvent = (event) => {
      decodedCount += 1;
      return decodeEvent(event);
    };
    const reading = readLines(
      { headers: {}, body },
      { decodeEvent: counting, reservation, couldHold: channel.couldHold, scheduler: { take } },
      { maxBytes: MAX_BODY },
    );
    listener!.chunk(bytesOf(`${GOOD}\n`.repeat(5_000)));
    waiting.shift()!();
    await nextPhase();
    expect(waiting).toHaveLength(1);
    const decodedBefore = decodedCount;
    listener!.gone();
    expect(await reading).toBe('aborted');
    reservation.release();
    waiting.shift()!();
    await nextPhase();
    expect({ decodedCount, waiting }).toEqual({ decodedCount: decodedBefore, waiting: [] });
    expect(decodedBefore).toBeLessThan(1_100);
    expect(channel.usage().reservedBytes).toBe(0);
  });

  test('whoever leaves while waiting is not waited for', async () => {
    const scheduler = turnsByHand();
    function* leaving() {
      yield bytesOf(body.slice(0, 5_000));
      yield bytesOf(body.slice(5_000, 10_000));
      throw new Error('reset');
    }
    const reading = readChunks(leaving(), { scheduler });
    await vi.waitFor(() => expect(scheduler.waiting).toHaveLength(1));
    scheduler.waiting[0]!();
    await vi.waitFor(() => expect(scheduler.waiting).toHaveLength(2));
    scheduler.waiting[1]!();
    expect((await reading).read).toBe('aborted');
  });
});

describe('what is held is the line being read and the rows, never the body', () => {
  test.each<[string, string]>([
    ['rejected lines', `{"a":"${'x'.repeat(990)}"}\n`],
    ['blank lines', `${' '.repeat(999)}\n`],
    ['lines that are too long', `${'x'.repeat(2 * MIB)}\n`],
  ])('%s', async (_name, line) => {
    const body = Buffer.alloc(MAX_BODY, line);
    const { read, peakBytes } = await readChunks(cut(body, NETWORK_CHUNK));
    expect(read).toMatchObject({ decoded: { accepted: 0 } });
    expect(peakBytes).toBeLessThanOrEqual(MIB);
    if (line.length < NETWORK_CHUNK) expect(peakBytes).toBeLessThan(1_000);
  });

  test('a long line without an end', async () => {
    const { peakBytes } = await readChunks(cut(Buffer.alloc(MAX_BODY, 'x'), NETWORK_CHUNK));
    expect(peakBytes).toBeGreaterThan(MIB - 2 * NETWORK_CHUNK);
    expect(peakBytes).toBeLessThanOrEqual(MIB);
  });

  test('accepted lines: their rows, and a line', async () => {
    const body = Buffer.alloc(MIB, `${named('a').padEnd(20_000)}\n`);
    const { read, peakBytes } = await readChunks(cut(body, NETWORK_CHUNK));
    const rowBytes = isRead(read) ? read.decoded.rows.length : 0;
    expect(rowBytes).toBeGreaterThan(5_000);
    expect(peakBytes).toBeLessThanOrEqual(rowBytes + 20_000);
  });
});
