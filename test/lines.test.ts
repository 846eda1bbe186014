import { hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decoderOf } from '../src/event/decode.ts';
import { nodeBody } from '../src/http/door-request.ts';
import { ndjsonDoor } from '../src/http/doors/ndjson.ts';
import { type LinesRead, readLines } from '../src/http/lines.ts';
import type { Refusal } from '../src/http/refusals.ts';
import { createManualClock } from './support/clock.ts';
import { PROJECT, channelOn } from './support/factory.ts';

const MIB = 1024 * 1024;
const MAX_BODY = 10 * MIB;
const NETWORK_CHUNK = 16 * 1024;
const GOOD = '{"timestamp":1,"service":"s","name":"n"}';
const named = (name: string) => GOOD.replace('"n"', JSON.stringify(name));

const decodeEvent = decoderOf(ndjsonDoor.format)({
  projectId: PROJECT,
  source: 'ndjson',
  receivedAt: Date.UTC(2026, 0, 1),
  maxFutureMs: 0,
  newEventId: () => '0198c0de-0000-7000-8000-000000000001',
  retentionSeconds: null,
});

const requestOf = (chunks: Iterable<Buffer>, headers: Record<string, string> = {}) =>
  Object.assign(Readable.from(chunks, { objectMode: false }), { headers }) as unknown as IncomingMessage;

function* cut(body: Buffer, size: number) {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

type Settings = { headers?: Record<string, string>; room?: number; maxEvents?: number; maxBytes?: number };

/** Reads the chunks and tells the most bytes that were reserved meanwhile, and what is when everything is over. */
async function readChunks(
  chunks: Iterable<Buffer>,
  { headers = {}, room = 100 * MIB, maxEvents = 1_000_000, maxBytes = MAX_BODY }: Settings = {},
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
    { decodeEvent, reservation: watched, couldHold: channel.couldHold },
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
    [
      'a bare CR, which is no end',
      `${named('a')}\r${named('b')}`,
      ['', '1: invalid JSON at byte 41: expected nothing behind the document'],
    ],
    ['a byte order mark', `\ufeff${named('a')}\n`, ['a']],
    [
      'not JSON',
      `{"a":1\n${named('a')}\nx`,
      ['a', "1: invalid JSON at the end: expected ',' or '}'", '3: invalid JSON at byte 0: expected a value'],
    ],
    [
      'an event over two lines',
      '{"name":\n"a"}',
      [
        '',
        '1: invalid JSON at the end: expected a value',
        '2: invalid JSON at byte 3: expected nothing behind the document',
      ],
    ],
    ['not an event', `[${named('a')}]\n{}\n`, ['', '1: event must be an object', '2: name required']],
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
    ['gzip with more behind it', Buffer.concat([packed, Buffer.alloc(4)]), gzip, 'invalid_encoding'],
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
