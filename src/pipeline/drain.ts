/**
 * Replays dead letters, pass after pass. A pass claims what is due, a bounded
 * number of rows and bytes, and gives every claimed letter an end or back. While
 * the breaker is open it rests, but for the one letter that is the probe.
 */
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { bytesOf } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Flags } from './flags.ts';
import type { DeadLetter, DeadLetterStore } from './ports.ts';
import type { Replayer } from './replay.ts';

export type DrainDeps = {
  readonly deadLetters: Pick<DeadLetterStore, 'claim' | 'release' | 'measure'>;
  readonly replayer: Replayer;
  readonly breaker: Breaker;
  readonly flags: Pick<Flags, 'measured'>;
  /** Whether fresh batches use every insert slot. */
  readonly isFreshBusy: () => boolean;
  /** Whether an operator has paused draining. */
  readonly isPaused: () => boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

export type DrainLimits = {
  readonly intervalMs: number;
  /** Letters in one pass. */
  readonly maxRows: number;
  /** Letters replayed at the same time while fresh traffic is quiet; a quarter of it, at least one, while it is busy. */
  readonly maxInFlight: number;
  readonly leaseMs: number;
};

/** `more`: about as much was there as was asked for, so there may be more. */
export type Pass = 'rested' | 'done' | 'more';

export type Drain = {
  /** One pass. Throws when the dead-letter table fails. */
  drainOnce(stop: AbortSignal): Promise<Pass>;
  /** Pass after pass until `stop` aborts; a pass that fails is reported and the next one still runs. */
  run(stop: AbortSignal): Promise<void>;
};

/** What one pass may hold in memory. */
const MAX_PASS_BYTES = 32 * 1024 * 1024;
/** Under full load a slot is free for the moment in which the next batch is cut; that is no room for the drain. */
const BUSY_FOR_MS = 2_000;

export function createDrain(deps: DrainDeps, limits: DrainLimits): Drain {
  const { deadLetters, replayer, breaker, flags, isFreshBusy, isPaused, clock, random, log } = deps;
  /** Letters at once; small after an outage and doubled with every pass that went well. */
  let ramp = 1;
  /** When fresh batches were last seen to use every slot, on the clock that only grows. */
  let busyAt = -Infinity;
  let isFailing = false;

  return { drainOnce, run };

  async function run(stop: AbortSignal) {
    while (!stop.aborted) {
      // Now sooner, now later: in step, one of two processes would always be the second to claim.
      if ((await attempt(stop)) !== 'more') await clock.sleep(limits.intervalMs * (0.5 + random()), stop);
    }
  }

  async function attempt(stop: AbortSignal): Promise<Pass> {
    try {
      const pass = await drainOnce(stop);
      isFailing = false;
      return pass;
    } catch (error) {
      // Said once: the table stays away for as long as Postgres does, and the letters are safe in it.
      if (!isFailing) log.warn({ err: error }, 'drain pass failed');
      isFailing = true;
      return 'done';
    }
  }

  async function drainOnce(stop: AbortSignal): Promise<Pass> {
    const pass = isPaused() ? 'rested' : await replaySome(stop);
    flags.measured(await deadLetters.measure());
    return pass;
  }

  async function replaySome(stop: AbortSignal): Promise<Pass> {
    const admission = breaker.admit();
    if (admission === 'no') {
      ramp = 1;
      return 'rested';
    }
    const isProbe = admission === 'probe';
    const maxRows = isProbe ? 1 : limits.maxRows;
    let letters: DeadLetter[] = [];
    try {
      letters = await deadLetters.claim({ maxRows, maxBytes: MAX_PASS_BYTES, leaseMs: limits.leaseMs });
    } finally {
      // No letter, no probe: a fresh batch may have it.
      if (isProbe && letters.length === 0) breaker.returnProbe();
    }
    await replayAll(letters, isProbe, stop);
    ramp = breaker.state().kind === 'closed' ? Math.min(ramp * 2, limits.maxInFlight) : 1;
    // By its bytes it is full before they are all used: the next letter did not fit into the rest. Half of them is near enough.
    const bytes = bytesOf(letters.flatMap(({ chunks }) => chunks));
    const isFull = letters.length === maxRows || bytes > MAX_PASS_BYTES / 2;
    return isFull && breaker.state().kind === 'closed' ? 'more' : 'done';
  }

  /** A few workers take letters off the list; how many is asked again before each, so that fresh traffic has its way soon. */
  async function replayAll(letters: DeadLetter[], isProbe: boolean, stop: AbortSignal): Promise<void> {
    const waiting = [...letters];
    const worker = async (place: number) => {
      for (let letter = waiting.shift(); letter; letter = waiting.shift()) {
        await replayer.replay(letter, { isProbe, stop });
        if (place >= concurrency()) return;
      }
    };
    const places = Math.max(1, Math.min(concurrency(), letters.length));
    const ended = await Promise.allSettled(Array.from({ length: places }, (_, place) => worker(place)));
    // All of them first: a pass is over when nobody works on its letters any more.
    for (const result of ended) if (result.status === 'rejected') throw result.reason;
  }

  function concurrency(): number {
    if (isFreshBusy()) busyAt = clock.elapsed();
    const isBusy = clock.elapsed() - busyAt < BUSY_FOR_MS;
    const most = isBusy ? Math.max(1, Math.floor(limits.maxInFlight / 4)) : limits.maxInFlight;
    return Math.min(ramp, most);
  }
}
