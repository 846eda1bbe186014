/**
 * Undoes the codings of a body as it arrives: what HTTP names in `Content-Encoding`, as clients and their systems'
 * tools really write it.
 */
import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** Receives the unpacked bytes. */
export type Unpacked = {
  chunk(bytes: Buffer): void;
  end(): void;
  /** The input is not compressed in this way, or is too much. Nothing follows. */
  fail(why: 'damaged' | 'too-large'): void;
  /** More may be written. */
  ready(): void;
};

export type Unpacker = {
  /** Wait for `ready` before the next call; not waiting only costs memory. */
  write(bytes: Buffer): void;
  end(): void;
  isBusy(): boolean;
  /** Holds back the output. */
  pause(): void;
  resume(): void;
  /** Ends the output. */
  destroy(): void;
};

/** Counts the input bytes that it has used. */
type Decompressor = Transform & { readonly bytesWritten: number };

export type Coding = {
  /** `first`: enough bytes to identify the variant, or all there are. */
  open(first: Buffer): Decompressor;
  readonly headerBytes: number;
  /** Whether further frames of its kind, and nothing else, may follow where one ends. gzip handles that itself. */
  readonly hasFrames: boolean;
};

const coding = (open: Coding['open'], more: Partial<Coding> = {}): Coding => ({
  open,
  headerBytes: 0,
  hasFrames: false,
  ...more,
});

const GZIP = coding(() => createGunzip());
/** A map, because a client names the key: on an object, `constructor` would be a coding. */
const CODINGS: ReadonlyMap<string, Coding> = new Map<string, Coding>([
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  // HTTP means zlib's format; but many clients send bare deflate, and every browser reads it.
  ['deflate', coding((first) => (isZlib(first) ? createInflate() : createInflateRaw()), { headerBytes: 2 })],
  ['br', coding(() => createBrotliDecompress())],
  [
    'zstd',
    // 16 MiB of history suffices for any body within the limits; the default allows a frame to claim 128.
    coding(() => createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 24 } }), { hasFrames: true }),
  ],
]);

/** Two codings are a proxy's doing, or a mistake; more have no purpose. */
const MAX_CODINGS = 2;
/** As many parts as a parallel compressor makes of a body; each costs a decompressor. */
const MAX_FRAMES = 100;

/** The codings that a `Content-Encoding` names, in the order in which to undo them; null when one is unknown. */
export function codingsOf(contentEncoding = ''): readonly Coding[] | null {
  if (contentEncoding === '') return NO_CODINGS;
  const codings: Coding[] = [];
  for (const part of contentEncoding.split(',')) {
    const name = part.trim().toLowerCase();
    if (name === '' || name === 'identity') continue;
    const known = CODINGS.get(name);
    if (known === undefined || codings.length === MAX_CODINGS) return null;
    codings.unshift(known);
  }
  return codings;
}

const NO_CODINGS: readonly Coding[] = [];

/** Undoes the codings one after the other. `maxBytes` limits the bytes between two of them. */
export function createUnpacker(
  codings: readonly Coding[],
  out: Unpacked,
  { maxBytes }: { maxBytes: number },
): Unpacker {
  const [first, ...others] = codings;
  if (others.length === 0) return unpackerOf(first!, out);
  let betweenBytes = 0;
  const inner = createUnpacker(others, { ...out, ready: () => outer.resume() }, { maxBytes });
  const outer = unpackerOf(first!, {
    chunk(bytes) {
      betweenBytes += bytes.length;
      if (betweenBytes > maxBytes) return out.fail('too-large');
      inner.write(bytes);
      if (inner.isBusy()) outer.pause();
    },
    end: inner.end,
    fail: out.fail,
    ready: out.ready,
  });
  return {
    ...outer,
    pause: inner.pause,
    resume: inner.resume,
    destroy() {
      outer.destroy();
      inner.destroy();
    },
  };
}

function unpackerOf({ open, headerBytes, hasFrames }: Coding, out: Unpacked): Unpacker {
  /** Input that no decompressor has received yet. */
  let waiting: Buffer | null = null;
  let decompressor: Decompressor | null = null;
  /** Input that the decompressor has not finished, and what it had used before. */
  let inHand: Buffer | null = null;
  let usedBefore = 0;
  let frames = 0;
  let isEnding = false;
  /** While the decompressor works, or emits its last output. */
  let isBusy = false;
  let isPaused = false;
  let isOver = false;

  return { write, end, isBusy: () => isBusy, pause, resume, destroy };

  function write(bytes: Buffer) {
    hold(bytes);
    goOn();
  }

  function end() {
    isEnding = true;
    goOn();
  }

  function hold(bytes: Buffer) {
    waiting = waiting === null ? bytes : Buffer.concat([waiting, bytes]);
  }

  function goOn() {
    while (!isBusy && !isOver) {
      if (waiting === null) {
        if (isEnding) finish();
        return;
      }
      const bytes: Buffer = waiting;
      if (decompressor === null) {
        if (bytes.length < headerBytes && !isEnding) return;
        if (frames === 0 || (hasFrames && frames < MAX_FRAMES)) decompressor = begin(bytes);
        else if (hasFrames || !isPadding(bytes)) return fail();
      }
      waiting = null;
      if (decompressor !== null) give(decompressor, bytes);
    }
  }

  function begin(first: Buffer): Decompressor {
    frames += 1;
    usedBefore = 0;
    const opened = open(first);
    opened.on('data', out.chunk).once('end', ended).once('error', fail);
    if (isPaused) opened.pause();
    return opened;
  }

  /** One chunk at a time: only then is the rest known when the end of the frame was in it. */
  function give(to: Decompressor, bytes: Buffer) {
    isBusy = true;
    inHand = bytes;
    to.write(bytes, () => {
      // The rest waits until everything before it was emitted.
      if (isOver || to !== decompressor || to.bytesWritten - usedBefore < bytes.length) return;
      usedBefore = to.bytesWritten;
      inHand = null;
      free();
    });
  }

  function ended() {
    const left = inHand?.subarray(decompressor!.bytesWritten - usedBefore) ?? null;
    decompressor = null;
    inHand = null;
    if (left !== null) waiting = waiting === null ? left : Buffer.concat([left, waiting]);
    free();
  }

  function free() {
    isBusy = false;
    goOn();
    if (!isBusy && !isOver && !isEnding) out.ready();
  }

  function finish() {
    if (decompressor === null) {
      isOver = true;
      return out.end();
    }
    isBusy = true;
    decompressor.end();
  }

  function fail() {
    isOver = true;
    out.fail('damaged');
  }

  function pause() {
    isPaused = true;
    decompressor?.pause();
  }

  function resume() {
    isPaused = false;
    decompressor?.resume();
  }

  function destroy() {
    isOver = true;
    decompressor?.removeAllListeners().on('error', ignore).destroy();
  }
}

/** Zeros fill up blocks of tapes and archives; all tools but that of zstd skip them. */
const isPadding = (bytes: Buffer) => bytes.every((byte) => byte === 0);

/** Whether it begins like zlib's format: the method, and a check of the first two bytes. */
const isZlib = ([first = 0, second = 0]: Buffer) => (first & 0x0f) === 8 && ((first << 8) | second) % 31 === 0;

/** An error after the body was decided no longer matters, but Node throws an error that has no listener. */
const ignore = () => {};

/** The compression that bytes without a `Content-Encoding` begin like; null when they may be text. */
export function compressionOf(bytes: Buffer): 'gzip' | 'zstd' | 'deflate' | null {
  const [first, second] = bytes;
  if (first === 0x1f && second === 0x8b) return 'gzip';
  if (first === 0x28 && second === 0xb5) return 'zstd';
  // The other first bytes of zlib are letters: such a line may be bad, and its neighbours good.
  return first === 0x78 && (second === 0x9c || second === 0xda) ? 'deflate' : null;
}
