import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type Body, bodyLimits, readBody } from '../src/http/request/body.ts';
import { nodeBody } from '../src/http/request/door-request.ts';
import { createManualClock } from './support/clock.ts';
import { channelOn } from './support/factory.ts';

const MAX_BYTES = 100_000;
const COMPRESS = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
} as const;
const ENCODINGS = Object.keys(COMPRESS) as (keyof typeof COMPRESS)[];
const TEXT = Buffer.from(JSON.stringify({ events: Array.from({ length: 500 }, (_, i) => ({ event: `e${i}` })) }));

function requestWith(headers: Record<string, string>): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers }) as unknown as PassThrough & IncomingMessage;
}

function setUp(headers: Record<string, string> = {}, { room = 1_000_000 } = {}) {
  const channel = channelOn(createManualClock(), { maxBytes: room });
  const reservation = channel.reserve();
  const request = requestWith(headers);
  const body = readBody(
    { headers: request.headers, body: nodeBody(request) },
    reservation,
    bodyLimits({ maxBytes: MAX_BYTES }),
  );
  return { request, body, reservation, reservedBytes: () => channel.usage().reservedBytes };
}

async function read(content: Buffer, headers: Record<string, string> = {}, pieceBytes = 1_000): Promise<Body> {
  const { request, body } = setUp(headers);
  // In pieces, as a network delivers it.
  for (let at = 0; at < content.length; at += pieceBytes) request.write(content.subarray(at, at + pieceBytes));
  request.end();
  return body;
}

describe('what a client sent', () => {
  test.each(['', 'identity', 'IDENTITY', ' identity '])('arrives as it was: "%s"', async (encoding) => {
    expect(await read(TEXT, { 'content-encoding': encoding })).toEqual({ bytes: TEXT });
    expect(await read(Buffer.alloc(0), { 'content-encoding': encoding })).toEqual({ bytes: Buffer.alloc(0) });
  });

  test.each(ENCODINGS)('%s is undone, in any case', async (encoding) => {
    const packed = COMPRESS[encoding](TEXT);
    expect(await read(packed, { 'content-encoding': encoding })).toEqual({ bytes: TEXT });
    expect(await read(packed, { 'content-encoding': encoding.toUpperCase() })).toEqual({ bytes: TEXT });
  });

  test.each([
    'compress',
    'gzip, compress',
    'gzip, gzip, gzip',
    'gzip;q=1',
    'constructor',
    '__proto__',
    'tostring',
    'toString',
  ])('%s is no encoding', async (encoding) => {
    expect(await read(TEXT, { 'content-encoding': encoding })).toEqual({ refused: 'unsupported_encoding' });
  });

  test.each(ENCODINGS)('%s cut anywhere is refused', async (encoding) => {
    const packed = COMPRESS[encoding](TEXT);
    for (const length of [1, 3, 10, packed.length >> 1, packed.length - 5, packed.length - 1]) {
      const body = await read(packed.subarray(0, length), { 'content-encoding': encoding });
      expect(body, `${length} of ${packed.length} bytes`).toEqual({ refused: 'invalid_encoding' });
    }
  });

  test.each(ENCODINGS.filter((encoding) => encoding !== 'zstd'))(
    '%s may be filled up with zeros, as blocks of tapes and archives are',
    async (encoding) => {
      for (const zeros of [1, 4, 512, 2_000]) {
        const packed = Buffer.concat([COMPRESS[encoding](TEXT), Buffer.alloc(zeros)]);
        expect(await read(packed, { 'content-encoding': encoding }), `${zeros}`).toEqual({ bytes: TEXT });
        expect(await read(packed, { 'content-encoding': encoding }, 1), `${zeros}`).toEqual({ bytes: TEXT });
      }
    },
  );

  test.each(ENCODINGS)(
    '%s with anything else behind it is refused: it would be lost without a word',
    async (encoding) => {
      for (const more of ['x', '{"events":[]}', `${'\0'.repeat(2_000)}x`, `x${'\0'.repeat(2_000)}`]) {
        const packed = Buffer.concat([COMPRESS[encoding](TEXT), Buffer.from(more)]);
        for (const pieceBytes of [1_000, 1, 1_000_000]) {
          const body = await read(packed, { 'content-encoding': encoding }, pieceBytes);
          expect(body, JSON.stringify(more)).toEqual({ refused: 'invalid_encoding' });
        }
      }
    },
  );

  test.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ] as const)('%s may come in several parts, cut anywhere', async (encoding, compress) => {
    const parts = [TEXT, Buffer.alloc(0), Buffer.from('\n'), TEXT];
    const packed = Buffer.concat(parts.map((part) => compress(part)));
    for (const pieceBytes of [1, 7, 1_000, 1_000_000]) {
      const body = await read(packed, { 'content-encoding': encoding }, pieceBytes);
      expect(body, `${pieceBytes} at a time`).toEqual({ bytes: Buffer.concat(parts) });
    }
  });

  test('parts of zstd are unpacked up to a hundred, and cost no more beyond that', async () => {
    const parts = (count: number) =>
      Buffer.concat(Array.from({ length: count }, () => zstdCompressSync(Buffer.from('a'))));
    expect(await read(parts(100), { 'content-encoding': 'zstd' }, 100_000)).toEqual({ bytes: Buffer.alloc(100, 'a') });
    expect(await read(parts(101), { 'content-encoding': 'zstd' }, 100_000)).toEqual({ refused: 'invalid_encoding' });
  });

  test('deflate may be bare, as many send it', async () => {
    const packed = deflateRawSync(TEXT);
    for (const pieceBytes of [1, 1_000]) {
      expect(await read(packed, { 'content-encoding': 'deflate' }, pieceBytes)).toEqual({ bytes: TEXT });
      const cutShort = await read(packed.subarray(0, -1), { 'content-encoding': 'deflate' }, pieceBytes);
      expect(cutShort).toEqual({ refused: 'invalid_encoding' });
    }
  });

  test.each<[string, Buffer]>([
    ['gzip, gzip', gzipSync(gzipSync(TEXT))],
    ['gzip,gzip', gzipSync(gzipSync(TEXT))],
    ['identity, gzip', gzipSync(TEXT)],
    ['GZIP , Identity', gzipSync(TEXT)],
    [', gzip,', gzipSync(TEXT)],
    ['gzip, br', brotliCompressSync(gzipSync(TEXT))],
    ['deflate, zstd', zstdCompressSync(deflateSync(TEXT))],
    ['identity, identity', TEXT],
  ])('%s is undone, the last first', async (encoding, packed) => {
    for (const pieceBytes of [1, 1_000]) {
      expect(await read(packed, { 'content-encoding': encoding }, pieceBytes)).toEqual({ bytes: TEXT });
    }
  });

  test('what lies between two encodings has the same limit, and what is damaged there is noticed', async () => {
    const empty = gzipSync(Buffer.alloc(0));
    const bomb = gzipSync(Buffer.concat(Array.from({ length: MAX_BYTES / empty.length + 1 }, () => empty)));
    expect(await read(bomb, { 'content-encoding': 'gzip, gzip' })).toEqual({ refused: 'body_too_large' });
    const cutShort = gzipSync(gzipSync(TEXT).subarray(0, -1));
    expect(await read(cutShort, { 'content-encoding': 'gzip, gzip' })).toEqual({ refused: 'invalid_encoding' });
  });

  test.each<[string, Buffer]>([
    ['gzip', gzipSync(TEXT)],
    ['zstd', zstdCompressSync(TEXT)],
    ['deflate', deflateSync(TEXT)],
  ])('%s that does not say so is told from text', async (encoding, packed) => {
    for (const headers of [{}, { 'content-encoding': 'identity' }]) {
      const body = await read(packed, headers, 1);
      expect(body).toEqual({ refused: 'invalid_encoding', message: expect.stringContaining(encoding) as string });
    }
    expect(await read(gzipSync(packed), { 'content-encoding': 'gzip' })).toMatchObject({ refused: 'invalid_encoding' });
  });

  test.each(ENCODINGS)('%s of something else is refused', async (encoding) => {
    expect(await read(TEXT, { 'content-encoding': encoding })).toEqual({ refused: 'invalid_encoding' });
  });

  test.each([...ENCODINGS, 'gzip, br'])('no body is no body, whatever its encoding: %s', async (encoding) => {
    expect(await read(Buffer.alloc(0), { 'content-encoding': encoding })).toEqual({ bytes: Buffer.alloc(0) });
  });
});

describe('limits', () => {
  test('a body of the largest size is taken, a byte more is not', async () => {
    expect(await read(Buffer.alloc(MAX_BYTES, 'a'))).toEqual({ bytes: Buffer.alloc(MAX_BYTES, 'a') });
    expect(await read(Buffer.alloc(MAX_BYTES + 1, 'a'))).toEqual({ refused: 'body_too_large' });
  });

  test('an announced size is enough to refuse', async () => {
    const { body } = setUp({ 'content-length': String(MAX_BYTES + 1) });
    expect(await body).toEqual({ refused: 'body_too_large' });
  });

  test.each(ENCODINGS)('a bomb of %s is stopped at the limit', async (encoding) => {
    const bomb = COMPRESS[encoding](Buffer.alloc(50_000_000));
    const { request, body, reservation, reservedBytes } = setUp({ 'content-encoding': encoding });
    request.end(bomb);
    expect(await body).toEqual({ refused: 'body_too_large' });
    expect(reservedBytes()).toBeLessThanOrEqual(MAX_BYTES);
    reservation.release();
    expect(reservedBytes()).toBe(0);
  });

  test('what is held is reserved first; without room the rest is not read', async () => {
    const { request, body, reservedBytes } = setUp({}, { room: 2_500 });
    for (let i = 0; i < 5; i++) request.write(Buffer.alloc(1_000));
    expect(await body).toEqual({ refused: 'channel_full' });
    expect(reservedBytes()).toBe(2_000);
    expect(request.isPaused()).toBe(true);
  });
});

describe('a client that leaves', () => {
  test('in the middle ends the wait', async () => {
    const { request, body } = setUp();
    request.write('{"events":');
    request.destroy();
    expect(await body).toBe('aborted');
  });

  test.each(ENCODINGS)('in the middle of %s ends the wait', async (encoding) => {
    const { request, body } = setUp({ 'content-encoding': encoding });
    request.write(COMPRESS[encoding](TEXT).subarray(0, 20));
    request.destroy(new Error('aborted'));
    expect(await body).toBe('aborted');
  });

  test('before anything was read ends the wait', async () => {
    const request = requestWith({});
    request.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    const reservation = channelOn(createManualClock()).reserve();
    const body = readBody({ headers: {}, body: nodeBody(request) }, reservation, bodyLimits({ maxBytes: MAX_BYTES }));
    expect(await body).toBe('aborted');
  });
});
