/** Moves a body from its source, through its decompressor, to a sink: within limits, in turns, at the sink's pace. */
import type { IncomingBody } from './door-request.ts';
import { type Refusal as AnyRefusal, isRefusal } from '../answers/refusals.ts';
import { BYTES_A_STEP, type Steps } from '../../event/steps.ts';
import { type FairScheduler } from './fair-scheduling.ts';
import { type Coding, createUnpacker } from './decompression.ts';

export type Refusal = AnyRefusal<'body_too_large' | 'unsupported_encoding' | 'invalid_encoding' | 'channel_full'>;

/** The limits in force for one body, and the refusal of what exceeds them. */
export type LimitsInForce = {
  readonly maxBytes: number;
  readonly mayBeCompressed: boolean;
  readonly tooLarge: Refusal;
};

/**
 * Takes a body chunk by chunk; a refusal ends the reading. The steps of a chunk complete before the next one is taken,
 * and are abandoned when the client disconnects between two of them.
 */
export type Sink = (chunk: Buffer) => Refusal | null | Steps<Refusal | null>;

const NOT_AS_ENCODED: Refusal = { refused: 'invalid_encoding' };

/** Passes the unpacked bytes of a body to the sink; null when all of them were taken. */
export function pumpBody(
  body: IncomingBody,
  codings: readonly Coding[],
  { maxBytes, tooLarge, scheduler }: LimitsInForce & { readonly scheduler: FairScheduler | null },
  sink: Sink,
): Promise<Refusal | 'aborted' | null> {
  const unpacker =
    codings.length === 0
      ? null
      : createUnpacker(
          codings,
          {
            chunk: take,
            end: endOfBytes,
            fail: (why) => finish(why === 'damaged' ? NOT_AS_ENCODED : tooLarge),
            ready: () => body.resume(),
          },
          { maxBytes },
        );
  const { promise, resolve } = Promise.withResolvers<Refusal | 'aborted' | null>();
  let wireBytes = 0;
  let bodyBytes = 0;
  /** The unfinished work on a chunk, and the chunks that wait for it or for their turn. */
  let work: Steps<Refusal | null> | null = null;
  const waiting: Buffer[] = [];
  let isWaiting = false;
  let hasEnded = false;
  let isOver = false;
  body.listen({ chunk: chunk, end: unpacker?.end ?? endOfBytes, gone: () => finish('aborted') });
  return promise;

  function chunk(chunk: Buffer) {
    wireBytes += chunk.length;
    if (wireBytes > maxBytes) return finish(tooLarge);
    if (!unpacker) return take(chunk);
    unpacker.write(chunk);
    if (unpacker.isBusy()) body.pause();
  }

  function take(chunk: Buffer) {
    bodyBytes += chunk.length;
    if (bodyBytes > maxBytes) return finish(tooLarge);
    if (isWaiting) return void waiting.push(chunk);
    const turn = scheduler?.take(chunk.length) ?? null;
    if (turn === null) return void use(chunk);
    waiting.push(chunk);
    waitFor(turn);
  }

  /** False when the work on the chunk has to wait for another turn. */
  function use(chunk: Buffer): boolean {
    const taken = sink(chunk);
    if (taken === null) return true;
    if (!isRefusal(taken)) return doSteps(taken);
    finish(taken);
    return true;
  }

  function doSteps(steps: Steps<Refusal | null>): boolean {
    for (;;) {
      const step = steps.next();
      if (step.done) {
        work = null;
        if (step.value) finish(step.value);
        return true;
      }
      work = steps;
      const turn = scheduler?.take(BYTES_A_STEP) ?? null;
      if (turn === null) continue;
      waitFor(turn);
      return false;
    }
  }

  function waitFor(turn: Promise<void>) {
    isWaiting = true;
    source().pause();
    void turn.then(goOn);
  }

  function goOn() {
    isWaiting = false;
    if (isOver || (work !== null && !doSteps(work))) return;
    while (waiting.length > 0) if (isOver || !use(waiting.shift()!)) return;
    if (isOver) return;
    if (hasEnded) finish(null);
    else source().resume();
  }

  /** The source of the chunks. */
  function source(): { pause(): void; resume(): void } {
    return unpacker ?? body;
  }

  function endOfBytes() {
    hasEnded = true;
    if (!isWaiting) finish(null);
  }

  /** The first call decides; what still arrives after a refusal is left to the server to discard. */
  function finish(end: Refusal | 'aborted' | null) {
    isOver = true;
    // A listener of ours would keep the body in memory for as long as the request waits for its answer.
    body.leave();
    unpacker?.destroy();
    resolve(end);
  }
}
