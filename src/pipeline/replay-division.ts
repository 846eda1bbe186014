/**
 * A dead letter that is refused as a whole: which of its rows are to blame, and what happens to each part. Refused rows
 * are identified by inspecting them where that shows the cause, and otherwise by inserting smaller letters.
 */
import { ORDINARY_ROW } from '../event/rows.ts';
import type { Log } from '../log/log.ts';
import { retriedPart, rowsOf } from './dead-letter-rows.ts';
import { type Isolate, type Isolation, partsOf } from './isolate.ts';
import { asInsertFailure, failureOf } from './outcome.ts';
import type { DeadLetter, DeadLetterStore } from './dead-letter-port.ts';
import { type EventStore, InsertFailure } from './ports.ts';
import { AMBIGUOUS_DELAY_MS, type Attempts, OPERATOR_DELAY_MS, type ReplayPolicy } from './replay-attempts.ts';
import type { ReplayPass } from './replay-pass.ts';
import { groupsBelow } from './size-limit.ts';

export type DivisionDeps = {
  readonly events: Pick<EventStore, 'dryRun'>;
  readonly deadLetters: Pick<DeadLetterStore, 'split' | 'quarantine'>;
  readonly isolate: Isolate;
  readonly random: () => number;
  readonly log: Log;
  /** The most bytes that something in front of the store accepts at a time; null while that is unknown. */
  readonly maxInsertBytes: () => number | null;
  readonly attempts: Attempts;
  /** Settles a part of the letter. */
  readonly replay: (part: DeadLetter, pass: ReplayPass) => Promise<void>;
  /** Asks ClickHouse which rows are stored; `next` gets the letter if none is. */
  readonly reconcile: (
    letter: DeadLetter,
    pass: ReplayPass,
    next: (settled: DeadLetter) => Promise<void>,
  ) => Promise<void>;
  /** Reports a refused insert to the breaker, unless that was done. */
  readonly report: (pass: ReplayPass, failureClass: 'data' | 'operator') => void;
};

export type Division = {
  /** Finds out which rows are refused and why, and acts on it. */
  isolateRefused(letter: DeadLetter, failure: InsertFailure, pass: ReplayPass): Promise<void>;
  /** Sends less at a time, which may pass what found the letter too large. */
  divideBySize(letter: DeadLetter, failure: InsertFailure, pass: ReplayPass): Promise<void>;
};

/** The approximate number of statements for inspecting a letter; a search for a computed column has its own bound. */
const STATEMENTS_PER_INSPECTION = 5;
/** Unexplained failures on a healthy store before several rows are tried separately. */
const UNKNOWN_BEFORE_DIVISION = 3;
/** The least number of ordinary events that must be accepted after an unexplained failure. */
const ORDINARY_TAKEN = 2;

export function createDivision(deps: DivisionDeps, policy: Pick<ReplayPolicy, 'leaseMs'>): Division {
  const { events, deadLetters, isolate, random, log, maxInsertBytes, attempts, replay, reconcile, report } = deps;

  return { isolateRefused, divideBySize };

  async function isolateRefused(letter: DeadLetter, failure: InsertFailure, pass: ReplayPass): Promise<void> {
    let isolation: Isolation;
    try {
      pass.budget.left -= STATEMENTS_PER_INSPECTION;
      isolation = await isolate(letter.chunks, pass.stop);
    } catch (error) {
      // Nothing was learned about the rows.
      const isCut = pass.stop.aborted;
      return attempts.retryLater(letter, asInsertFailure(error as Error)!, AMBIGUOUS_DELAY_MS, { isCut });
    }
    const { good, held, takenOut } = isolation;
    const isDrift = good.length === 0 && held.length > 0;
    report(pass, isDrift ? 'operator' : 'data');
    if (isDrift) logDrift(letter, isolation);
    // While the schema refuses everything, a query would settle nothing: rows that landed may still be missing from a
    // view.
    if (letter.ambiguous && isDrift) return attempts.retryLater(letter, failure, OPERATOR_DELAY_MS);
    if (takenOut.length === 0) return unexplained(letter, failure, pass, isolation);
    if (letter.ambiguous) return reconcile(letter, pass, (settled) => takeApart(settled, isolation, pass));
    return takeApart(letter, isolation, pass);
  }

  /** Replaces the letter by its parts: the blamed rows are quarantined, the held ones wait, the others land now. */
  async function takeApart(letter: DeadLetter, isolation: Isolation, pass: ReplayPass): Promise<void> {
    const { good, blamed } = isolation;
    const parts = partsOf(isolation);
    if (good.length > 0) parts.unshift(retriedPart(good));
    else if (parts.length === 1) return endUndivided(letter, isolation, pass);
    const alive = await deadLetters.split(letter, parts, policy.leaseMs);
    if (alive === null) return;
    attempts.noteQuarantined(eventsIn(blamed), letter);
    const [others, heldLetters] = good.length > 0 ? [alive.slice(0, 1), alive.slice(1)] : [[], alive];
    for (const other of others) await replay(other, pass);
    for (const [index, held] of heldLetters.entries()) {
      await attempts.waitForSchema(held, isolation.held[index]!, pass.hasLanded);
    }
  }

  /** All rows are refused for one cause: the letter is quarantined or waits undivided. */
  async function endUndivided(letter: DeadLetter, { blamed, held }: Isolation, pass: ReplayPass): Promise<void> {
    if (held.length > 0) return attempts.waitForSchema(letter, held[0]!, pass.hasLanded);
    if (await deadLetters.quarantine(letter, 'refused', blamed[0]!.failure)) {
      attempts.noteQuarantined(letter.eventCount, letter);
    }
  }

  /** Neither reading the rows nor evaluating the table's expressions shows why they are refused. */
  async function unexplained(
    letter: DeadLetter,
    failure: InsertFailure,
    pass: ReplayPass,
    { isComplete }: Pick<Isolation, 'isComplete'>,
  ): Promise<void> {
    const isUnknown = failure.failureClass === 'unknown';
    if (isUnknown && (letter.eventCount === 1 || letter.attemptCount + 1 < UNKNOWN_BEFORE_DIVISION)) {
      return attempts.countUnexplained(letter, failure, () => takesOrdinary(pass));
    }
    if (letter.ambiguous) {
      // Without another insert in between, which would be as ambiguous as this one.
      return reconcile(letter, pass, (settled) => unexplained(settled, failure, pass, { isComplete }));
    }
    if (letter.eventCount > 1) return divide(letter, failure, pass);
    return isComplete
      ? attempts.quarantineOrCount(letter, failure, pass.hasLanded)
      : attempts.retryLater(letter, failure, AMBIGUOUS_DELAY_MS);
  }

  /**
   * A cause that only shows while storing is searched with real inserts, each of a letter of its own: the suspect row
   * apart when the store named one, else both halves.
   */
  async function divide(letter: DeadLetter, { rowHint }: InsertFailure, pass: ReplayPass): Promise<void> {
    const rows = rowsOf(letter);
    const middle = Math.floor(rows.length / 2);
    const suspect = rowHint !== null && rowHint < rows.length ? rowHint : null;
    const groups =
      suspect === null
        ? [rows.slice(0, middle), rows.slice(middle)]
        : // The many first: when they land, the suspect alone is to blame.
          [rows.toSpliced(suspect, 1), [rows[suspect]!]];
    await replayApart(letter, groups, pass);
  }

  /** A single row that is too large is bad if others land. */
  async function divideBySize(letter: DeadLetter, failure: InsertFailure, pass: ReplayPass): Promise<void> {
    const rows = rowsOf(letter);
    if (rows.length === 1) {
      const message = `an event of ${rows[0]!.length} bytes is too large for a proxy in front of ClickHouse: ${failure.message}`;
      const tooLarge = new InsertFailure(message, { failureClass: 'too_large' });
      return attempts.quarantineOrCount(letter, tooLarge, pass.hasLanded);
    }
    await replayApart(letter, groupsBelow(rows, maxInsertBytes() ?? Infinity), pass);
  }

  async function replayApart(letter: DeadLetter, groups: readonly Buffer[][], pass: ReplayPass): Promise<void> {
    const alive = await deadLetters.split(letter, groups.map(retriedPart), policy.leaseMs);
    for (const part of alive ?? []) await replay(part, pass);
  }

  /**
   * Whether ClickHouse accepts an ordinary event several times in a row. How often is random, so as not to fall into
   * step with a store that fails every few statements.
   */
  async function takesOrdinary(pass: ReplayPass): Promise<boolean> {
    for (let left = ORDINARY_TAKEN + Math.floor(random() * 3); left > 0; left--) {
      pass.budget.left--;
      if ((await failureOf(events.dryRun([ORDINARY_ROW], pass.stop))) !== null) return false;
    }
    return true;
  }

  function logDrift(letter: DeadLetter, { held }: Isolation) {
    const { failure } = held[0]!;
    log.error(
      { letterId: letter.id, events: letter.eventCount, code: failure.code, err: failure },
      'schema drift: the store refuses ordinary events; nothing is quarantined until it accepts them',
    );
  }
}

const eventsIn = (refused: Isolation['blamed']) => refused.reduce((sum, { rows }) => sum + rows.length, 0);
