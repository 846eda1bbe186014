import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type Body, readBody } from '../src/http/body.ts';
import { nodeBody } from '../src/http/door-request.ts';
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
  const body = readBody({ headers: request.headers, body: nodeBody(request) }, reservation, { maxBytes: MAX_BYTES });
  return { request, body, reservation, reservedBytes: () => channel.usage().reservedBytes };
}

async function read(content: Buffer, headers: Record<string, string> = {}): Promise<Body> {
  const { request, body } = setUp(headers);
  // In pieces, as a network delivers it.
  for (let at = 0; at < content.length; at += 1_000) request.write(content.subarray(at, at + 1_000));
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

  test.each(['compress', 'gzip, br', 'constructor', '__proto__', 'tostring', 'toString'])(
    '%s is no encoding',
    async (encoding) => {
      expect(await read(TEXT, { 'content-encoding': encoding })).toEqual({ refused: 'unsupported_encoding' });
    },
  );

  test.each(ENCODINGS)('%s cut anywhere is refused', async (encoding) => {
    const packed = COMPRESS[encoding](TEXT);
    for (const length of [1, 3, 10, packed.length >> 1, packed.length - 5, packed.length - 1]) {
      const body = await read(packed.subarray(0, length), { 'content-encoding': encoding });
      expect(body, `${length} of ${packed.length} bytes`).toEqual({ refused: 'invalid_encoding' });
    }
  });

  test.each(ENCODINGS)('%s with more behind it is refused, whatever that is', async (encoding) => {
    for (const more of ['\0\0\0\0', '{"events":[]}', '\0'.repeat(2_000)]) {
      const packed = Buffer.concat([COMPRESS[encoding](TEXT), Buffer.from(more)]);
      expect(await read(packed, { 'content-encoding': encoding }), more).toEqual({ refused: 'invalid_encoding' });
    }
  });

  test('gzip may come in several members; several frames of zstd are refused, not cut short', async () => {
    const [gzip, zstd] = [gzipSync(TEXT), zstdCompressSync(TEXT)];
    const twice = await read(Buffer.concat([gzip, gzip]), { 'content-encoding': 'gzip' });
    expect(twice).toEqual({ bytes: Buffer.concat([TEXT, TEXT]) });
    const frames = await read(Buffer.concat([zstd, zstd]), { 'content-encoding': 'zstd' });
    expect(frames).toEqual({ refused: 'invalid_encoding' });
  });

  test.each(ENCODINGS)('%s of something else is refused', async (encoding) => {
    expect(await read(TEXT, { 'content-encoding': encoding })).toEqual({ refused: 'invalid_encoding' });
  });

  test.each(ENCODINGS)('%s of nothing at all is refused or empty', async (encoding) => {
    const body = await read(Buffer.alloc(0), { 'content-encoding': encoding });
    expect([{ refused: 'invalid_encoding' }, { bytes: Buffer.alloc(0) }]).toContainEqual(body);
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
    const body = readBody({ headers: {}, body: nodeBody(request) }, reservation, { maxBytes: MAX_BYTES });
    expect(await body).toBe('aborted');
  });
});
