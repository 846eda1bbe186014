/**
 * Reads a request's body with every byte accounted for: the wire bytes and the decompressed bytes each have a limit,
 * and memory is reserved in the channel before it is used.
 */
import type { Reservation } from '../../pipeline/channel-port.ts';
import { type SyncOrAsync, whenResolved } from '../../runtime/sync-or-async.ts';
import type { DoorRequest, IncomingBody } from './door-request.ts';
import { gatherBodyChunks } from './body-chunks.ts';
import { isRefusal } from '../answers/refusals.ts';
import type { Steps } from '../../event/steps.ts';
import { type FairScheduler, runInTurns } from './fair-scheduling.ts';
import { type Coding, codingsOf, compressionOf } from './decompression.ts';
import { type LimitsInForce, type Refusal, pumpBody } from './body-pump.ts';

/** The body's bytes after decompression; `aborted` when the client disconnected before the end. */
export type Body = { readonly bytes: Buffer } | Refusal | 'aborted';

export type BodyLimits = {
  /** As sent, and as decompressed. */
  readonly maxBytes: number;
  /** Whether the sender is not known yet: then the body must be small and uncompressed. */
  readonly isUnauthenticated?: boolean;
  /** Whether bytes that begin like gzip are unpacked, although no header announces it. */
  readonly sniffsGzip?: boolean;
  /** Whether other bytes may look compressed, as they need not be text. */
  readonly takesAnyBytes?: boolean;
};

/** When a page unloads, browsers send 64 KiB at most, and never compressed. */
const MAX_UNAUTHENTICATED_BYTES = 256 * 1024;

const TOO_LARGE: Refusal = { refused: 'body_too_large' };
const TOO_LARGE_UNAUTHENTICATED: Refusal = {
  refused: 'body_too_large',
  message: 'a body of more than 256 KiB needs the token in a header: Authorization: Bearer <token> or X-Api-Key',
};
const COMPRESSED_UNAUTHENTICATED: Refusal = {
  refused: 'unsupported_encoding',
  message: 'a compressed body needs the token in a header: Authorization: Bearer <token> or X-Api-Key',
};
const NO_ROOM: Refusal = { refused: 'channel_full' };

/** The limits of a body, and what is answered beyond them. */
type FixedLimits = LimitsInForce & Required<Pick<BodyLimits, 'sniffsGzip' | 'takesAnyBytes'>>;

/** Made once for many requests. */
export function bodyLimits({
  maxBytes,
  isUnauthenticated = false,
  sniffsGzip = false,
  takesAnyBytes = false,
}: BodyLimits): FixedLimits {
  const isLess = isUnauthenticated && maxBytes > MAX_UNAUTHENTICATED_BYTES;
  return {
    maxBytes: isLess ? MAX_UNAUTHENTICATED_BYTES : maxBytes,
    mayBeCompressed: !isUnauthenticated,
    tooLarge: isLess ? TOO_LARGE_UNAUTHENTICATED : TOO_LARGE,
    sniffsGzip,
    takesAnyBytes,
  };
}

/** The parts of a request that are needed here. */
type Encoded = Pick<DoorRequest, 'headers' | 'body'>;

/** Reads the whole body into memory. Synchronous where it has already arrived. */
export function readBody(request: Encoded, reservation: Reservation, limits: FixedLimits): SyncOrAsync<Body> {
  const codings = howToOpen(request, limits);
  if (isRefusal(codings)) return codings;
  const whole = takeComplete(request.body, codings);
  if (whole !== null) return unpacked(reservation.grow(whole.length) ? { bytes: whole } : NO_ROOM, reservation, limits);
  const reading = readInChunks(request.body, codings, reservation, limits);
  return reading.then((body) => unpacked(body, reservation, limits));
}

function unpacked(body: Body, reservation: Reservation, limits: FixedLimits): SyncOrAsync<Body> {
  const plain = limits.sniffsGzip ? unpackSniffed(body, reservation, limits) : body;
  return limits.takesAnyBytes ? plain : whenResolved(plain, checkUndeclared);
}

function checkUndeclared(body: Body): Body {
  return body === 'aborted' || isRefusal(body) ? body : (againstUndeclared(body.bytes) ?? body);
}

/** Unpacks what looks like gzip, once, within the same limits. */
function unpackSniffed(body: Body, reservation: Reservation, limits: LimitsInForce): SyncOrAsync<Body> {
  if (body === 'aborted' || isRefusal(body) || compressionOf(body.bytes) !== 'gzip') return body;
  return readInChunks(arrivedBody(body.bytes), codingsOf('gzip')!, reservation, limits);
}

/** A body all of whose bytes have arrived. */
function arrivedBody(bytes: Buffer): IncomingBody {
  return {
    announcedBytes: bytes.length,
    take: () => bytes,
    listen(listener) {
      listener.chunk(bytes);
      listener.end();
    },
    pause() {},
    resume() {},
    leave() {},
  };
}

async function readInChunks(
  body: IncomingBody,
  codings: readonly Coding[],
  reservation: Reservation,
  limits: LimitsInForce,
): Promise<Body> {
  const pieces = gatherBodyChunks();
  const end = await pumpBody(body, codings, { ...limits, scheduler: null }, (chunk) => {
    if (!reservation.grow(chunk.length)) return NO_ROOM;
    pieces.add(chunk);
    return null;
  });
  return end ?? { bytes: pieces.take() };
}

/**
 * Passes the body's decompressed bytes to the sink as they arrive, and large chunks in turns; null when all of them
 * were taken. Synchronous where they have already arrived.
 */
export function streamBody(
  request: Encoded,
  { scheduler, ...given }: BodyLimits & { readonly scheduler: FairScheduler },
  sink: (chunk: Buffer) => Steps<Refusal | null>,
): SyncOrAsync<Refusal | 'aborted' | null> {
  const limits = bodyLimits(given);
  const codings = howToOpen(request, limits);
  if (isRefusal(codings)) return codings;
  /** The beginning, while it is too short to identify a compression. */
  let unsniffed: Buffer | null = Buffer.alloc(0);
  const checking = function* (chunk: Buffer): Steps<Refusal | null> {
    if (unsniffed !== null) {
      const start: Buffer = unsniffed.length === 0 ? chunk : Buffer.concat([unsniffed, chunk]);
      unsniffed = start.length < MAGIC_BYTES ? start : null;
      const refusal = againstUndeclared(start);
      if (refusal) return refusal;
    }
    return yield* sink(chunk);
  };
  const whole = takeComplete(request.body, codings);
  if (whole === null) return pumpBody(request.body, codings, { ...limits, scheduler }, checking);
  const turn = scheduler.take(whole.length);
  const work = () => runInTurns(checking(whole), scheduler);
  return turn === null ? work() : turn.then(work);
}

/** The codings to undo, empty where there are none; or why the body is not read at all. */
function howToOpen(
  { headers, body }: Encoded,
  { maxBytes, mayBeCompressed, tooLarge }: LimitsInForce,
): readonly Coding[] | Refusal {
  const codings = codingsOf(headers['content-encoding']);
  if (codings === null) return { refused: 'unsupported_encoding' };
  if (codings.length > 0 && !mayBeCompressed) return COMPRESSED_UNAUTHENTICATED;
  return body.announcedBytes > maxBytes ? tooLarge : codings;
}

/** The complete body, where it has arrived and needs no decoding; this includes an empty body, whatever its coding. */
function takeComplete(body: IncomingBody, codings: readonly Coding[]): Buffer | null {
  return codings.length === 0 || body.announcedBytes === 0 ? body.take() : null;
}

/** This many bytes show whether something is compressed. */
const MAGIC_BYTES = 2;

/** Compressed once more than announced, or without announcement: no text begins like that. */
function againstUndeclared(bytes: Buffer): Refusal | null {
  const coding = compressionOf(bytes);
  if (coding === null) return null;
  return {
    refused: 'invalid_encoding',
    message: `the body looks like ${coding}, but its Content-Encoding does not say so: send Content-Encoding: ${coding}`,
  };
}
