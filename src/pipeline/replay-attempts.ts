/**
 * What a failed try means for a dead letter: another try and when, whether it counts, and the end, which is quarantine.
 * Attempts and age count only against a ClickHouse that accepts other events; nothing is quarantined because of a
 * store's own failure, a schema that broke, or an unexplained failure.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { type Backoff, backoffMs } from './backoff.ts';
import type { Breaker } from './breaker.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { RefusedRows } from './isolate.ts';
import type { Ledger } from './ledger.ts';
import { fingerprintOf } from './outcome.ts';
import type { DeadLetter, DeadLetterStore } from './dead-letter-port.ts';
import type { InsertFailure } from './ports.ts';

export type ReplayPolicy = {
  readonly maxAttempts: number;
  readonly maxAgeMs: number;
  /**
   * `healthy` counts attempts and age only against a working ClickHouse; `strict` counts every try but those that this
   * process's own end cut short, and the calendar.
   */
  readonly quarantine: 'healthy' | 'strict';
  /** Longer than an insert may take. */
  readonly leaseMs: number;
};

export type AttemptsDeps = {
  readonly deadLetters: Pick<DeadLetterStore, 'retry' | 'quarantine'>;
  readonly breaker: Pick<Breaker, 'state' | 'lastLandedAt'>;
  readonly heartbeat: Pick<Heartbeat, 'isUp'>;
  readonly ledger: Pick<Ledger, 'quarantined'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

const RETRY: Backoff = { firstMs: 2_000, maxMs: 5 * 60_000 };
/**
 * Unexplained failures of a single row before it is given up, however few tries the policy allows. Each counts only
 * when the ordinary event is accepted twice or more right after it. A store that fails by chance, whatever the chance,
 * lets that happen to a good row before it lands with a probability of at most 1/5 a time: 5^-12 for all.
 */
const UNKNOWN_BEFORE_QUARANTINE = 12;
/** A landed insert this recent shows that ClickHouse accepts events. */
const RECENTLY_MS = 60_000;
export const AMBIGUOUS_DELAY_MS = 5_000;
export const CAPACITY_DELAY_MS = 15_000;
export const OPERATOR_DELAY_MS = 10_000;
/** After a failure that does not count: soon enough once the store recovers, and no storm until then. */
const UNHEALTHY_DELAY_MS = 20_000;

export type Attempts = ReturnType<typeof createAttempts>;

/** Each function ends the letter's try. They throw when the dead-letter table fails. */
export function createAttempts(
  { deadLetters, breaker, heartbeat, ledger, clock, random, log }: AttemptsDeps,
  policy: ReplayPolicy,
) {
  return { retryLater, countFailure, countUnexplained, quarantineOrCount, waitForSchema, noteQuarantined };

  /**
   * Rows that are refused while storing, for a cause that hits ordinary rows too or that was not found, are bad if
   * events landed since: their own neighbours in this pass, or others between two of their tries.
   */
  async function quarantineOrCount(letter: DeadLetter, failure: InsertFailure, hasLanded: boolean): Promise<void> {
    if (!hasLanded && !hasLandedSinceLastTry(letter)) {
      // The first refusal of the rows alone always counts: later landings are compared with it. A process that sees
      // nothing land leaves its age as it is, for another that does.
      const isFirst = letter.attemptCount === 0;
      return countFailure(letter, failure, { isFirstRefusal: isFirst, wasSent: isFirst || hasLandedRecently() });
    }
    if (await deadLetters.quarantine(letter, 'refused', failure)) noteQuarantined(letter.eventCount, letter);
  }

  /**
   * An unexplained failure says nothing about the rows, unless it recurs identically while ordinary events are
   * accepted. Then it counts; but it never ends a letter of several rows.
   */
  async function countUnexplained(
    letter: DeadLetter,
    failure: InsertFailure,
    takesOrdinary: () => Promise<boolean>,
  ): Promise<void> {
    if (policy.quarantine === 'strict') return countFailure(letter, failure);
    const isAlike = letter.attemptCount === 0 || letter.fingerprint === fingerprintOf(failure);
    if (!isAlike || !(await takesOrdinary())) return retryLater(letter, failure, UNHEALTHY_DELAY_MS);
    const mayEnd = letter.eventCount === 1 && letter.attemptCount + 1 >= UNKNOWN_BEFORE_QUARANTINE;
    return countFailure(letter, failure, { isFirstRefusal: false, wasSent: true, mayEnd });
  }

  /**
   * Rows that are refused like ordinary ones: because of a schema that broke, or has never accepted such values. Rows
   * that cannot be read wait until they can, or until most others pass; for rows that can be read and not be stored,
   * events that landed since their last try are evidence enough.
   */
  async function waitForSchema(
    letter: DeadLetter,
    { failure, when }: Pick<RefusedRows, 'failure' | 'when'>,
    hasLanded: boolean,
  ): Promise<void> {
    if (when === 'storing') return quarantineOrCount(letter, failure, hasLanded);
    if (policy.quarantine === 'strict' || hasLandedRecently()) return countFailure(letter, failure);
    return retryLater(letter, failure, OPERATOR_DELAY_MS);
  }

  function hasLandedSinceLastTry({ attemptCount, sinceLastAttemptMs }: DeadLetter): boolean {
    const landedAt = breaker.lastLandedAt();
    return attemptCount > 0 && landedAt !== null && clock.elapsed() - landedAt < (sinceLastAttemptMs ?? 0);
  }

  function hasLandedRecently(): boolean {
    const landedAt = breaker.lastLandedAt();
    return landedAt !== null && clock.elapsed() - landedAt < RECENTLY_MS;
  }

  /** Another try after a failure that counts, or quarantine when that was the last one. */
  async function countFailure(
    letter: DeadLetter,
    failure: InsertFailure,
    { isFirstRefusal, wasSent, mayEnd = true }: { isFirstRefusal: boolean; wasSent: boolean; mayEnd?: boolean } = {
      isFirstRefusal: false,
      wasSent: true,
    },
  ): Promise<void> {
    // A store that answers but accepts nothing counts as down, whatever error it gives.
    const isHealthy = breaker.state().kind === 'closed' && heartbeat.isUp() === true && hasLandedRecently();
    const isCounted = policy.quarantine === 'strict' || isHealthy || isFirstRefusal;
    const delayMs = isCounted
      ? backoffMs(letter.attemptCount + 1, RETRY, random)
      : backoffMs(1, { firstMs: UNHEALTHY_DELAY_MS, maxMs: UNHEALTHY_DELAY_MS }, random);
    // However the table's clock jumped, one wait adds no more than the longest delay.
    const waitedMs = Math.min(Math.max(letter.sinceLastAttemptMs ?? 0, 0), RETRY.maxMs);
    // A wait that goes on is counted when it ends.
    const exposedMs = isHealthy && wasSent ? waitedMs : 0;
    if (isCounted && mayEnd && isExhausted(letter, exposedMs)) {
      if (await deadLetters.quarantine(letter, 'exhausted', failure)) noteQuarantined(letter.eventCount, letter);
      return;
    }
    await deadLetters.retry(letter, {
      failure,
      ambiguous: letter.ambiguous,
      wasSent,
      isCounted,
      exposedMs,
      delayMs,
    });
  }

  function isExhausted(letter: DeadLetter, addedMs: number): boolean {
    const ageMs = policy.quarantine === 'strict' ? clock.now() - letter.createdAt : letter.exposedMs + addedMs;
    return letter.attemptCount + 1 >= policy.maxAttempts || ageMs >= policy.maxAgeMs;
  }

  /** `isCut`: by this process's own end. */
  async function retryLater(
    letter: DeadLetter,
    failure: InsertFailure,
    aboutMs: number,
    { wasSent = true, isCut = false } = {},
  ): Promise<void> {
    if (policy.quarantine === 'strict' && !isCut) {
      return countFailure(letter, failure, { isFirstRefusal: false, wasSent });
    }
    const delayMs = backoffMs(1, { firstMs: aboutMs, maxMs: aboutMs }, random);
    const { ambiguous } = letter;
    await deadLetters.retry(letter, { failure, ambiguous, wasSent, isCounted: false, exposedMs: 0, delayMs });
  }

  function noteQuarantined(eventCount: number, { id }: DeadLetter) {
    ledger.quarantined += eventCount;
    log.warn({ letterId: id, events: eventCount }, 'events quarantined');
  }
}
