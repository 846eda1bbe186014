/**
 * One claimed dead letter on its way to an end: landed, waiting for another try, split, or quarantined. Every insert
 * here is of a letter that is in the table under its own id, so after a crash at any point it is repeated identically.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { bytesOf } from './batch.ts';
import type { Breaker } from './breaker.ts';
import { countByProject, retriedPart, rowsOf } from './dead-letter-rows.ts';
import { countSparingly, isRemembered, isWithinMemory } from './ambiguous-delivery.ts';
import type { InsertObservation } from './insert-attempt.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { Isolate } from './isolate.ts';
import type { Ledger } from './ledger.ts';
import { asInsertFailure, failureOf } from './outcome.ts';
import type { DeadLetter, DeadLetterStore } from './dead-letter-port.ts';
import type { EventStore, InsertFailure, UsageSink } from './ports.ts';
import {
  AMBIGUOUS_DELAY_MS,
  CAPACITY_DELAY_MS,
  OPERATOR_DELAY_MS,
  type ReplayPolicy,
  createAttempts,
} from './replay-attempts.ts';
import { createDivision } from './replay-division.ts';
import { type ReplayPass, beginPass } from './replay-pass.ts';

export type ReplayDeps = {
  readonly events: EventStore;
  readonly deadLetters: DeadLetterStore;
  readonly isolate: Isolate;
  readonly breaker: Breaker;
  readonly heartbeat: Pick<Heartbeat, 'downSignal' | 'isUp'>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly usage: UsageSink;
  readonly onInsert: (observation: InsertObservation) => void;
  /** The most bytes that something in front of the store accepts at a time, where that is known. */
  readonly maxInsertBytes?: () => number | null;
};

export type Replayer = {
  /**
   * Works on the letter and on its parts until each is settled or the budget is spent. `isProbe`: the letter holds the
   * breaker's one try. Throws only when the dead-letter table fails; the leases then run out.
   */
  replay(letter: DeadLetter, options: { isProbe: boolean; stop: AbortSignal }): Promise<void>;
};

export function createReplayer(deps: ReplayDeps, policy: ReplayPolicy): Replayer {
  const { events, deadLetters, breaker, heartbeat, ledger, clock, log, usage, onInsert } = deps;
  const insertCounts = countSparingly(events, clock);
  const attempts = createAttempts(deps, policy);
  const { retryLater, countFailure } = attempts;
  const { isolateRefused, divideBySize } = createDivision(
    { ...deps, maxInsertBytes: deps.maxInsertBytes ?? (() => null), attempts, replay, reconcile, report },
    policy,
  );

  return {
    async replay(letter, { isProbe, stop }) {
      const pass = beginPass({ isProbe, stop });
      try {
        await replay(letter, pass);
      } finally {
        report(pass, 'data');
        // Still unused: the lease was lost, or the letter was settled without an insert.
        if (pass.isProbe) breaker.returnProbe();
      }
    },
  };

  async function replay(letter: DeadLetter, pass: ReplayPass): Promise<void> {
    if (pass.stop.aborted || pass.budget.left <= 0) return void (await deadLetters.release(letter));
    if (!(await deadLetters.renew(letter, policy.leaseMs))) return;
    if (letter.ambiguous || !pass.isAsked) {
      // ClickHouse is down: it can neither be asked nor take the letter.
      if (!letter.ambiguous && heartbeat.downSignal().aborted) return void (await deadLetters.release(letter));
      let isKnown = false;
      const error = await failureOf(wouldBeRecognised(letter, pass).then((answer) => (isKnown = answer)));
      if (error !== null) return retryAfterFailedQuery(letter, asInsertFailure(error)!, pass);
      if (!isKnown) return reconcile(letter, pass);
    }

    const failure = await insert(letter, pass);
    if (failure === null) {
      pass.hasLanded = true;
      return landed(letter);
    }
    if (failure === 'not admitted') return void (await deadLetters.release(letter));
    log.info(
      { letterId: letter.id, events: letter.eventCount, class: failure.failureClass, code: failure.code },
      'replay failed',
    );
    const tried = { ...letter, ambiguous: letter.ambiguous || failure.mayHaveLanded };
    const isCut = pass.stop.aborted;
    switch (failure.failureClass) {
      case 'unavailable':
        if (policy.quarantine === 'strict' && !isCut) return countFailure(tried, failure);
        return failure.mayHaveLanded
          ? retryLater(tried, failure, AMBIGUOUS_DELAY_MS, { isCut })
          : void (await deadLetters.release(letter));
      case 'ambiguous':
        return retryLater(tried, failure, AMBIGUOUS_DELAY_MS, { isCut });
      case 'capacity':
        return retryLater(tried, failure, CAPACITY_DELAY_MS);
      case 'operator':
        return retryLater(tried, failure, OPERATOR_DELAY_MS);
      case 'too_large':
        return tried.ambiguous
          ? reconcile(tried, pass, (settled) => divideBySize(settled, failure, pass))
          : divideBySize(tried, failure, pass);
      case 'data':
        return isolateRefused(tried, failure, pass);
      case 'unknown':
        return isolateRefused(tried, failure, pass);
    }
  }

  async function insert(letter: DeadLetter, pass: ReplayPass): Promise<InsertFailure | 'not admitted' | null> {
    const admission = pass.isProbe ? 'probe' : heartbeat.downSignal().aborted ? 'no' : breaker.admit();
    pass.isProbe = false;
    if (admission === 'no') return 'not admitted';
    pass.budget.left--;
    const startedAt = clock.elapsed();
    // Not found by the query, it may still be taken for a copy.
    const mayHaveLanded = letter.ambiguous || pass.isAsked;
    const thrown = await failureOf(events.insert({ ...letter, mayHaveLanded }, cutSignal(pass)));
    const failure = asInsertFailure(thrown);
    if (failure !== null && pass.stop.aborted) {
      // Cut short by this process's end: that says nothing about the store. The letter is tried again, in doubt.
      if (admission === 'probe') breaker.returnProbe();
      return failure;
    }
    if (failure?.failureClass === 'data') {
      report(pass, 'data');
      pass.unreported = admission;
    } else breaker.report(admission, failure?.failureClass ?? null);
    const bytes = bytesOf(letter.chunks);
    onInsert({ failure, events: letter.eventCount, bytes, elapsedMs: clock.elapsed() - startedAt });
    return failure;
  }

  /** Reports the refused insert to the breaker, unless that was done. */
  function report(pass: ReplayPass, failureClass: 'data' | 'operator') {
    if (pass.unreported !== null) breaker.report(pass.unreported, failureClass);
    pass.unreported = null;
  }

  async function landed(letter: DeadLetter): Promise<void> {
    // A process that lost the lease does not count the events: the present holder will.
    if (!(await deadLetters.complete(letter))) return;
    ledger.replayed += letter.eventCount;
    for (const [projectId, count] of countByProject(letter)) usage(projectId, count);
    log.debug({ letterId: letter.id, events: letter.eventCount }, 'dead letter landed');
  }

  /** Aborts everything in progress when this process ends or ClickHouse is down. */
  function cutSignal({ stop }: ReplayPass): AbortSignal {
    return AbortSignal.any([stop, heartbeat.downSignal()]);
  }

  /** Whether ClickHouse would recognise the letter, if it should have landed. */
  async function wouldBeRecognised(letter: DeadLetter, pass: ReplayPass): Promise<boolean> {
    const { id, sinceLastAttemptMs } = letter;
    const cut = cutSignal(pass);
    if (letter.ambiguous) {
      if (sinceLastAttemptMs === null) return false;
      return isRemembered(insertCounts, { id, lastSentMsAgo: sinceLastAttemptMs, now: clock.now() }, cut);
    }
    // A table that was restored from a backup also calls letters unambiguous that have landed since it was saved.
    return isWithinMemory(insertCounts, sinceLastAttemptMs ?? clock.now() - letter.createdAt, cut);
  }

  /** Asks ClickHouse which rows are stored before anything else may be done with the letter; `next` if none is. */
  async function reconcile(
    letter: DeadLetter,
    pass: ReplayPass,
    next = (settled: DeadLetter) => replay(settled, pass),
  ): Promise<void> {
    const rows = rowsOf(letter);
    let stored: readonly boolean[] = [];
    pass.budget.left--;
    const error = await failureOf(events.findStored(rows, cutSignal(pass)).then((answer) => (stored = answer)));
    if (error !== null) return retryAfterFailedQuery(letter, asInsertFailure(error)!, pass);
    pass.isAsked = true;

    const missing = rows.filter((_, index) => !stored[index]);
    log.info(
      { letterId: letter.id, events: rows.length, missing: missing.length },
      'asked the store which events of a dead letter are stored',
    );
    if (missing.length === 0) return landed(letter);
    if (missing.length === rows.length) {
      if (!letter.ambiguous || (await deadLetters.clearAmbiguity(letter))) await next({ ...letter, ambiguous: false });
      return;
    }
    const parts = await deadLetters.split(letter, [retriedPart(missing)], policy.leaseMs);
    if (parts === null) return;
    ledger.replayed += rows.length - missing.length;
    for (const part of parts) await replay(part, pass);
  }

  /** Nothing was learned about the letter and nothing was sent. */
  async function retryAfterFailedQuery(
    letter: DeadLetter,
    failure: InsertFailure,
    { stop }: ReplayPass,
  ): Promise<void> {
    await retryLater(letter, failure, AMBIGUOUS_DELAY_MS, { wasSent: false, isCut: stop.aborted });
  }
}
