/**
 * Replays dead letters, pass after pass. A pass claims due letters, within a number of rows and bytes, and either
 * settles or returns each of them. While the breaker is open the drain rests, except for the one letter that is the
 * probe.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { bytesOf } from './batch.ts';
import type { Breaker } from './breaker.ts';
import type { Flags } from './flags.ts';
import { failureOf } from './outcome.ts';
import { type DeadLetter, type DeadLetterStore, type LockedDeadLetters, NoRoom } from './dead-letter-port.ts';
import type { Replayer } from './replay.ts';

export type DrainDeps = {
  readonly deadLetters: Pick<DeadLetterStore, 'claim' | 'measure'>;
  readonly replayer: Replayer;
  /** The letters that are drained instead where the table cannot be written, and their replayer. */
  readonly locked: Pick<LockedDeadLetters, 'take' | 'giveBack'> & { readonly replayer: Replayer };
  readonly breaker: Breaker;
  readonly flags: Pick<Flags, 'measured'>;
  /** Whether fresh batches use every insert slot. */
  readonly isFreshBusy: () => boolean;
  /** Whether an operator has paused draining. */
  readonly isPaused: () => boolean;
  /** Called after every pass of `run`: with null, or the error that ended it. */
  readonly onPass: (error: Error | null) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

export type DrainLimits = {
  readonly intervalMs: number;
  /** Letters per pass. */
  readonly maxRows: number;
  /**
   * Letters replayed at the same time while fresh traffic is quiet; a quarter of it, at least one, while it is busy.
   */
  readonly maxInFlight: number;
  readonly leaseMs: number;
};

/** `more`: about as much was found as was asked for, so there may be more. */
export type DrainPass = 'rested' | 'done' | 'more';

export type Drain = {
  /** One pass. Throws when the dead-letter table fails. */
  drainOnce(stop: AbortSignal): Promise<DrainPass>;
  /** Runs one pass after the other until `stop` aborts; a failed pass is reported and the next one still runs. */
  run(stop: AbortSignal): Promise<void>;
};

/** What one pass may hold in memory. */
const MAX_PASS_BYTES = 32 * 1024 * 1024;
/** Under full load a slot is free for the moment in which the next batch is cut; that is no room for the drain. */
const BUSY_FOR_MS = 2_000;
const MEASURE_MS = 2_000;

export function createDrain(deps: DrainDeps, limits: DrainLimits): Drain {
  const { deadLetters, replayer, locked, breaker, flags, isFreshBusy, isPaused, onPass, clock, random, log } = deps;
  /** Letters at once; few after an outage and doubled with every successful pass. */
  let ramp = 1;
  /** When fresh batches were last seen to use every slot, on the monotonic clock. */
  let busyAt = -Infinity;
  let isFailing = false;
  let measuredAt = -Infinity;

  return { drainOnce, run };

  async function run(stop: AbortSignal) {
    while (!stop.aborted) {
      // At random: in step, one of two processes would always be the second to claim.
      if ((await attempt(stop)) !== 'more') await clock.sleep(limits.intervalMs * (0.5 + random()), stop);
    }
  }

  async function attempt(stop: AbortSignal): Promise<DrainPass> {
    let pass: DrainPass = 'done';
    const error = await failureOf(drainOnce(stop).then((ended) => (pass = ended)));
    onPass(error);
    if (error !== null) {
      // Logged once: the table is down for as long as Postgres is, and the letters are safe in it.
      if (!isFailing) log.warn({ err: error }, 'drain pass failed');
    }
    isFailing = error !== null;
    return pass;
  }

  async function drainOnce(stop: AbortSignal): Promise<DrainPass> {
    const pass = isPaused() ? 'rested' : await replaySome(stop);
    // Consecutive passes would spend more time measuring than replaying.
    if (pass !== 'more' || clock.elapsed() - measuredAt >= MEASURE_MS) {
      measuredAt = clock.elapsed();
      flags.measured(await deadLetters.measure());
    }
    return pass;
  }

  async function replaySome(stop: AbortSignal): Promise<DrainPass> {
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
    } catch (error) {
      if (error instanceof NoRoom) return await replayLocked(maxRows, isProbe, stop);
      if (isProbe) breaker.returnProbe();
      throw error;
    }
    // Without a letter the probe is returned: a fresh batch may have it.
    if (isProbe && letters.length === 0) breaker.returnProbe();
    await replayAll(letters, isProbe, stop);
    ramp = breaker.state().kind === 'closed' ? Math.min(ramp * 2, limits.maxInFlight) : 1;
    // A pass ends before all of its bytes are used, when the next letter does not fit; half of them counts as full.
    const bytes = bytesOf(letters.flatMap(({ chunks }) => chunks));
    const isFull = letters.length === maxRows || bytes > MAX_PASS_BYTES / 2;
    return isFull && breaker.state().kind === 'closed' ? 'more' : 'done';
  }

  /** One after the other: each is a transaction that stays open while its letter is inserted. */
  async function replayLocked(maxRows: number, isProbe: boolean, stop: AbortSignal): Promise<DrainPass> {
    let isProgress = true;
    for (let taken = 0; taken < maxRows; taken++) {
      const isFirst = taken === 0;
      const letter = await takeLocked(isProbe && isFirst, stop);
      if (letter === null) return 'done';
      try {
        await locked.replayer.replay(letter, { isProbe: isProbe && isFirst, stop });
      } finally {
        if (await locked.giveBack(letter)) isProgress = false;
      }
      if (breaker.state().kind !== 'closed') return 'done';
    }
    return isProgress ? 'more' : 'done';
  }

  /** Without a letter the probe is returned: a fresh batch may have it. */
  async function takeLocked(isProbe: boolean, stop: AbortSignal): Promise<DeadLetter | null> {
    let letter: DeadLetter | null = null;
    try {
      if (!stop.aborted) letter = await locked.take();
      return letter;
    } finally {
      if (isProbe && letter === null) breaker.returnProbe();
    }
  }

  /**
   * A few workers take letters off the list; their number is checked before each, so that fresh traffic soon has room.
   */
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
    // Waits for all of them: a pass is over when no worker has one of its letters any more.
    for (const result of ended) if (result.status === 'rejected') throw result.reason;
  }

  function concurrency(): number {
    if (isFreshBusy()) busyAt = clock.elapsed();
    const isBusy = clock.elapsed() - busyAt < BUSY_FOR_MS;
    const most = isBusy ? Math.max(1, Math.floor(limits.maxInFlight / 4)) : limits.maxInFlight;
    return Math.min(ramp, most);
  }
}
