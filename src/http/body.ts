/**
 * Reads a request's body with every byte accounted for: the wire bytes and the
 * decompressed bytes are each limited, and what is held is reserved in the
 * channel before it is held.
 */
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { Reservation } from '../pipeline/channel.ts';
import type { Awaitable } from './awaitable.ts';
import type { DoorRequest, IncomingBody } from './door-request.ts';
import { gatherPieces } from './pieces.ts';
import { type Refusal as AnyRefusal, isRefusal } from './refusals.ts';

type Refusal = AnyRefusal<'body_too_large' | 'unsupported_encoding' | 'invalid_encoding' | 'channel_full'>;

/** The body's bytes after decompression; `aborted` when the client went away before the end. */
export type Body = { readonly bytes: Buffer } | Refusal | 'aborted';

/** Takes a body piece by piece; a refusal ends the reading. It runs to its end before the next piece is read. */
export type Sink = (chunk: Buffer) => Refusal | null;

/** Counts the bytes it has used of those it was given. */
type Decompressor = Transform & { readonly bytesWritten: number };
type Opener = () => Decompressor;

/** A map, because a client names the key: on an object, `constructor` would be an encoding. */
const DECOMPRESSORS: ReadonlyMap<string, Opener> = new Map<string, Opener>([
  ['gzip', () => createGunzip()],
  ['x-gzip', () => createGunzip()],
  ['deflate', () => createInflate()],
  ['br', () => createBrotliDecompress()],
  // 16 MiB of history suffices for any body within the limits; the default allows a frame to claim 128.
  ['zstd', () => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 24 } })],
]);

const TOO_LARGE: Refusal = { refused: 'body_too_large' };
const NOT_AS_ENCODED: Refusal = { refused: 'invalid_encoding' };
const NO_ROOM: Refusal = { refused: 'channel_full' };

/** Reads the whole body into memory. At once, where it is there. */
export function readBody(request: Encoded, reservation: Reservation, limits: { maxBytes: number }): Awaitable<Body> {
  const open = howToOpen(request, limits);
  if (isRefusal(open)) return open;
  const whole = open === null ? request.body.take() : null;
  if (whole !== null) return reservation.grow(whole.length) ? { bytes: whole } : NO_ROOM;
  return readPieces(request.body, open, reservation, limits);
}

async function readPieces(
  body: IncomingBody,
  open: Opener | null,
  reservation: Reservation,
  { maxBytes }: { maxBytes: number },
): Promise<Body> {
  const pieces = gatherPieces();
  const end = await pump(body, open, maxBytes, (chunk) => {
    if (!reservation.grow(chunk.length)) return NO_ROOM;
    pieces.add(chunk);
    return null;
  });
  return end ?? { bytes: pieces.take() };
}

/** What is asked of a request here. */
type Encoded = Pick<DoorRequest, 'headers' | 'body'>;

/** Hands the body's decompressed bytes to the sink as they arrive; null when all of them were taken. At once, where they are there. */
export function streamBody(
  request: Encoded,
  limits: { maxBytes: number },
  sink: Sink,
): Awaitable<Refusal | 'aborted' | null> {
  const open = howToOpen(request, limits);
  if (isRefusal(open)) return open;
  const whole = open === null ? request.body.take() : null;
  return whole === null ? pump(request.body, open, limits.maxBytes, sink) : sink(whole);
}

/** What undoes the encoding, null where there is none; or why the body is not read at all. */
function howToOpen({ headers, body }: Encoded, { maxBytes }: { maxBytes: number }): Opener | null | Refusal {
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? '';
  const open = encoding === '' || encoding === 'identity' ? null : DECOMPRESSORS.get(encoding);
  if (open === undefined) return { refused: 'unsupported_encoding' };
  return body.announcedBytes > maxBytes ? TOO_LARGE : open;
}

function pump(
  body: IncomingBody,
  open: Opener | null,
  maxBytes: number,
  sink: Sink,
): Promise<Refusal | 'aborted' | null> {
  const decompressor = open?.() ?? null;
  const { promise, resolve } = Promise.withResolvers<Refusal | 'aborted' | null>();
  let wireBytes = 0;
  let bodyBytes = 0;
  decompressor?.on('data', take);
  // Bytes behind the end of what was compressed would be lost without a word.
  decompressor?.on('end', () => finish(decompressor.bytesWritten < wireBytes ? NOT_AS_ENCODED : null));
  decompressor?.on('error', () => finish(NOT_AS_ENCODED));
  decompressor?.on('drain', () => body.resume());
  body.listen({ piece, end, gone: () => finish('aborted') });
  return promise;

  function piece(chunk: Buffer) {
    wireBytes += chunk.length;
    if (wireBytes > maxBytes) return finish(TOO_LARGE);
    if (!decompressor) return take(chunk);
    if (!decompressor.write(chunk)) body.pause();
  }

  function end() {
    if (decompressor) decompressor.end();
    else finish(null);
  }

  function take(chunk: Buffer) {
    bodyBytes += chunk.length;
    if (bodyBytes > maxBytes) return finish(TOO_LARGE);
    const refusal = sink(chunk);
    if (refusal) finish(refusal);
  }

  /** The first call decides; what still arrives after a refusal is left to the server to discard. */
  function finish(end: Refusal | 'aborted' | null) {
    // A listener of ours would keep the body in memory for as long as the request waits for its answer.
    body.leave();
    if (decompressor) {
      decompressor.removeAllListeners();
      decompressor.on('error', ignore);
      decompressor.destroy();
    }
    resolve(end);
  }
}

/** Whatever breaks after the body is decided on is nobody's concern any more, but an error without listener is thrown. */
const ignore = () => {};
