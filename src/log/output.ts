/**
 * Where log lines wait until they are written. A destination that is slow, full or gone costs lines and nothing else:
 * this never blocks, never throws, and holds a bounded number of bytes. Lines without room are counted, and the count
 * is written as soon as the destination accepts lines again.
 */
import type { Clock } from '../runtime/clock.ts';

/** A destination of bytes. */
export type Sink = {
  /** Writes the beginning of `bytes`. Calls `done` once, at once or later. Never throws. */
  write(bytes: Buffer, done: (error: Error | null, written: number) => void): void;
  /** The same, complete when it returns. Throws. */
  writeNow(bytes: Buffer): number;
};

export type Output = {
  /** Adds one line. The level, in pino's numbers, decides whether there is still room. */
  write(line: string, level?: number): void;
  /** Lines that found no room since the start. */
  dropped(): number;
  /** Called with how many lines were dropped, when everything that waited has been written. */
  onWell(listener: (dropped: number) => void): void;
  /** Aborted when the end begins: whatever remains to be logged must be logged now. */
  readonly ending: AbortSignal;
  /** Writes what waits, for at most `withinMs`. Synchronous: the last thing a process does. */
  finish(withinMs: number): void;
};

/** The most bytes of one write. */
const MAX_WRITE_BYTES = 64 * 1024;
/** The reader of a pipe may be back in a moment; a full disk or a missing reader takes longer. */
const BUSY_RETRY = { firstMs: 20, maxMs: 200 };
const BROKEN_RETRY = { firstMs: 100, maxMs: 5_000 };
const FINISH_RETRY_MS = 10;
/** pino's number for errors. They find room when nothing less does. */
const ERROR_LEVEL = 50;
const EXTRA_FOR_ERRORS = 1.25;

/** `maxBytes`: the most that may wait; errors may take a quarter more. */
export function createOutput(
  { sink, clock }: { sink: Sink; clock: Clock },
  { maxBytes }: { maxBytes: number },
): Output {
  const ending = new AbortController();
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  /** The first bytes of what waits: handed to the sink, which has not finished. */
  let inFlight = 0;
  let isResting = false;
  let failures = 0;
  let dropped = 0;
  let reported = 0;
  let listener: ((dropped: number) => void) | null = null;

  return {
    write,
    dropped: () => dropped,
    onWell: (notify) => {
      listener = notify;
    },
    ending: ending.signal,
    finish,
  };

  function write(line: string, level = 0) {
    const bytes = Buffer.from(line);
    const room = level >= ERROR_LEVEL ? maxBytes * EXTRA_FOR_ERRORS : maxBytes;
    if (waitingBytes + bytes.length > room) {
      dropped += 1;
      return;
    }
    waiting.push(bytes);
    waitingBytes += bytes.length;
    work();
  }

  function work() {
    if (inFlight > 0 || isResting || waiting.length === 0) return;
    const bytes = nextWrite();
    inFlight = bytes.length;
    sink.write(bytes, (error, written) => {
      inFlight = 0;
      if (error !== null) return void rest(error);
      failures = 0;
      remove(written);
      if (waiting.length === 0) reportDropped();
      work();
    });
  }

  /** Tries again later, and increasingly late. */
  async function rest(error: Error) {
    const { firstMs, maxMs } = isBusy(error) ? BUSY_RETRY : BROKEN_RETRY;
    isResting = true;
    await clock.sleep(Math.min(firstMs * 2 ** failures, maxMs), ending.signal);
    isResting = false;
    failures = Math.min(failures + 1, 16);
    if (!ending.signal.aborted) work();
  }

  function nextWrite(): Buffer {
    let count = 0;
    let bytes = 0;
    while (count < waiting.length && (count === 0 || bytes + waiting[count]!.length <= MAX_WRITE_BYTES)) {
      bytes += waiting[count++]!.length;
    }
    return count === 1 ? waiting[0]! : Buffer.concat(waiting.slice(0, count), bytes);
  }

  function remove(written: number) {
    let left = written;
    let whole = 0;
    while (whole < waiting.length && waiting[whole]!.length <= left) left -= waiting[whole++]!.length;
    waiting = waiting.slice(whole);
    if (left > 0) waiting[0] = waiting[0]!.subarray(left);
    waitingBytes -= written;
  }

  function reportDropped() {
    if (dropped === reported) return;
    const unreported = dropped - reported;
    reported = dropped;
    listener?.(unreported);
  }

  function finish(withinMs: number) {
    ending.abort();
    // A thread has it and will end before the process does.
    remove(inFlight);
    const deadline = clock.elapsed() + withinMs;
    while (waiting.length > 0) {
      try {
        remove(sink.writeNow(nextWrite()));
      } catch (error) {
        if (!isBusy(error) || clock.elapsed() >= deadline) return;
        pause(FINISH_RETRY_MS);
      }
      if (waiting.length === 0) reportDropped();
    }
  }
}

function isBusy(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : null;
  return code === 'EAGAIN' || code === 'EBUSY';
}

/** Blocks the thread: there is no event loop any more when a process ends. */
function pause(ms: number) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
