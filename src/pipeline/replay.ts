/**
 * One claimed dead letter on its way to an end: landed, waiting for another
 * try, split, or quarantined. Every insert here is of a letter that lies in the
 * table under its own id, so a crash at any point repeats it identically.
 */
import { ORDINARY_ROW, idsOf, splitRows } from '../event/rows.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { type Backoff, backoffMs } from './backoff.ts';
import { bytesOf } from './batch.ts';
import type { Breaker } from './breaker.ts';
import { isRemembered } from './doubt.ts';
import type { InsertObservation } from './flusher.ts';
import type { Heartbeat } from './heartbeat.ts';
import { type Budget, type Found, findUnreadableRows } from './isolate.ts';
import type { Ledger } from './ledger.ts';
import { asInsertFailure, failureOf } from './outcome.ts';
import {
  type DeadLetter,
  type DeadLetterStore,
  type EventStore,
  InsertFailure,
  type Part,
  type UsageSink,
} from './ports.ts';

export type ReplayDeps = {
  readonly events: EventStore;
  readonly deadLetters: DeadLetterStore;
  readonly breaker: Breaker;
  readonly heartbeat: Pick<Heartbeat, 'downSignal' | 'isUp'>;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly usage: UsageSink;
  readonly onInsert: (observation: InsertObservation) => void;
};

export type ReplayPolicy = {
  readonly maxAttempts: number;
  readonly maxAgeMs: number;
  /** `healthy` counts attempts and age only against a working ClickHouse; `strict` counts every try and the calendar. */
  readonly quarantine: 'healthy' | 'strict';
  /** Longer than an insert may take. */
  readonly leaseMs: number;
};

export type Replayer = {
  /**
   * Works on the letter and on whatever it is split into until everything has
   * an end or the budget is spent. `isProbe`: the letter holds the breaker's
   * one try. Throws only when the dead-letter table fails; the leases then run out.
   */
  replay(letter: DeadLetter, options: { isProbe: boolean; stop: AbortSignal }): Promise<void>;
};

const RETRY: Backoff = { firstMs: 2_000, maxMs: 5 * 60_000 };
/** Statements one letter may cost in a pass: fourteen bad rows with their verification, twice over. */
const STATEMENTS_PER_LETTER = 64;
/** Failures nobody can explain, on a healthy store, before rows are suspected. */
const UNKNOWN_BEFORE_ISOLATION = 3;
/** A landed insert this recent shows that ClickHouse takes events. */
const RECENTLY_MS = 60_000;
const AMBIGUOUS_DELAY_MS = 5_000;
const CAPACITY_DELAY_MS = 15_000;
const OPERATOR_DELAY_MS = 10_000;
/** After a failure that does not count: soon enough after the store is well again, and no storm while it is not. */
const UNHEALTHY_DELAY_MS = 20_000;

type Try = {
  readonly budget: Budget;
  readonly stop: AbortSignal;
  isProbe: boolean;
  /** Some part of the letter was stored in this pass, after the whole had been refused. */
  hasLanded: boolean;
};

export function createReplayer(deps: ReplayDeps, policy: ReplayPolicy): Replayer {
  const { events, deadLetters, breaker, heartbeat, ledger, clock, random, log, usage, onInsert } = deps;

  return {
    async replay(letter, { isProbe, stop }) {
      const pass: Try = { budget: { left: STATEMENTS_PER_LETTER }, stop, isProbe, hasLanded: false };
      try {
        await replay(letter, pass);
      } finally {
        // Still unused: the lease was lost, or the letter came to its end without an insert.
        if (pass.isProbe) breaker.returnProbe();
      }
    },
  };

  async function replay(letter: DeadLetter, pass: Try): Promise<void> {
    if (pass.stop.aborted || pass.budget.left <= 0) return void (await deadLetters.release(letter));
    if (!(await deadLetters.renew(letter, policy.leaseMs))) return;
    if (letter.ambiguous) {
      let isKnown = false;
      const error = await failureOf(wouldBeRecognised(letter, pass).then((answer) => (isKnown = answer)));
      if (error !== null) return wait(letter, asInsertFailure(error)!, AMBIGUOUS_DELAY_MS, { wasSent: false });
      if (!isKnown) return settleDoubt(letter, pass);
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
    switch (failure.failureClass) {
      case 'unavailable':
        if (policy.quarantine === 'strict') return count(tried, failure);
        return failure.mayHaveLanded
          ? wait(tried, failure, AMBIGUOUS_DELAY_MS)
          : void (await deadLetters.release(letter));
      case 'ambiguous':
        return wait(tried, failure, AMBIGUOUS_DELAY_MS);
      case 'capacity':
        return wait(tried, failure, CAPACITY_DELAY_MS);
      case 'operator':
        return wait(tried, failure, OPERATOR_DELAY_MS);
      case 'data':
        return tried.ambiguous ? settleDoubt(tried, pass) : isolate(tried, failure, pass);
      case 'unknown': {
        const isSuspect = letter.attemptCount + 1 >= UNKNOWN_BEFORE_ISOLATION && letter.eventCount > 1;
        if (!isSuspect) return count(tried, failure);
        if (!tried.ambiguous) return isolate(tried, failure, pass);
        // Without another insert in between, which would be as doubtful as this one.
        return settleDoubt(tried, pass, (settled) => isolate(settled, failure, pass));
      }
    }
  }

  async function insert(letter: DeadLetter, pass: Try): Promise<InsertFailure | 'not admitted' | null> {
    const admission = pass.isProbe ? 'probe' : heartbeat.downSignal().aborted ? 'no' : breaker.admit();
    pass.isProbe = false;
    if (admission === 'no') return 'not admitted';
    pass.budget.left--;
    const startedAt = clock.elapsed();
    const thrown = await failureOf(events.insert(letter, AbortSignal.any([pass.stop, heartbeat.downSignal()])));
    const failure = asInsertFailure(thrown);
    if (failure !== null && pass.stop.aborted) {
      // Cut short by our own end: no verdict. The doubt comes back with the lease running out.
      if (admission === 'probe') breaker.returnProbe();
      return failure;
    }
    breaker.report(admission, failure?.failureClass ?? null);
    const bytes = bytesOf(letter.chunks);
    onInsert({ failure, events: letter.eventCount, bytes, elapsedMs: clock.elapsed() - startedAt });
    return failure;
  }

  async function landed(letter: DeadLetter): Promise<void> {
    // Who lost the lease does not count: whoever has it now will.
    if (!(await deadLetters.complete(letter))) return;
    ledger.replayed += letter.eventCount;
    for (const [projectId, count] of countByProject(letter)) usage(projectId, count);
    log.debug({ letterId: letter.id, events: letter.eventCount }, 'dead letter landed');
  }

  async function wouldBeRecognised({ id, sinceLastAttemptMs }: DeadLetter, pass: Try): Promise<boolean> {
    pass.budget.left--;
    return isRemembered(events, { id, lastSentMsAgo: sinceLastAttemptMs ?? 0, now: clock.now() });
  }

  /** Asks ClickHouse which rows are there before anything else may be done with the letter; `next` if none is. */
  async function settleDoubt(
    letter: DeadLetter,
    pass: Try,
    next = (settled: DeadLetter) => replay(settled, pass),
  ): Promise<void> {
    const rows = rowsOf(letter);
    let stored: readonly boolean[] = [];
    pass.budget.left--;
    const error = await failureOf(events.findStored(rows, pass.stop).then((answer) => (stored = answer)));
    if (error !== null) return wait(letter, asInsertFailure(error)!, AMBIGUOUS_DELAY_MS, { wasSent: false });

    const missing = rows.filter((_, index) => !stored[index]);
    log.info({ letterId: letter.id, events: rows.length, missing: missing.length }, 'doubt settled by asking');
    if (missing.length === 0) return landed(letter);
    if (missing.length === rows.length) {
      if (await deadLetters.settleDoubt(letter)) await next({ ...letter, ambiguous: false });
      return;
    }
    const parts = await deadLetters.split(letter, [{ rows: missing, bad: null }], policy.leaseMs);
    if (parts === null) return;
    ledger.replayed += rows.length - missing.length;
    for (const part of parts) await replay(part, pass);
  }

  async function isolate(letter: DeadLetter, failure: InsertFailure, pass: Try): Promise<void> {
    if (letter.eventCount === 1) return condemn(letter, failure, pass);
    const before = await readsOrdinary(pass);
    const rows = rowsOf(letter);
    const found = await findUnreadableRows(rows, (some) => events.dryRun(some, pass.stop), pass.budget);
    const { bad, isComplete, interruptedBy } = found;
    if (bad.size > 0 || before !== null) {
      const after = await readsOrdinary(pass);
      if (!mayBlame(before, after, found, rows.length)) return hold(letter, failure, after ?? before);
    }
    if (bad.size > 0) return setAside(letter, rows, bad, pass);
    // Whatever stopped the search, nothing was learned about the rows.
    if (!isComplete) return wait(letter, interruptedBy ?? failure, AMBIGUOUS_DELAY_MS);
    return divide(letter, rows, failure, pass);
  }

  /** The unreadable rows are quarantined one by one; the others are a letter of their own and land now. */
  async function setAside(
    letter: DeadLetter,
    rows: readonly Buffer[],
    bad: ReadonlyMap<number, InsertFailure>,
    pass: Try,
  ) {
    const good = rows.filter((_, index) => !bad.has(index));
    const parts: Part[] = [...bad].map(([index, failure]) => ({ rows: [rows[index]!], bad: failure }));
    if (good.length > 0) parts.unshift({ rows: good, bad: null });
    const alive = await deadLetters.split(letter, parts, policy.leaseMs);
    if (alive === null) return;
    quarantined(bad.size, letter);
    for (const part of alive) await replay(part, pass);
  }

  /**
   * What only shows while storing is searched with real inserts, each of a letter
   * of its own: the suspect row apart when the store named one, else both halves.
   */
  async function divide(letter: DeadLetter, rows: readonly Buffer[], { rowHint }: InsertFailure, pass: Try) {
    const middle = Math.floor(rows.length / 2);
    const suspect = rowHint !== null && rowHint < rows.length ? rowHint : null;
    const groups =
      suspect === null
        ? [rows.slice(0, middle), rows.slice(middle)]
        : // The many first: when they land, the suspect alone is to blame.
          [rows.toSpliced(suspect, 1), [rows[suspect]!]];
    const alive = await deadLetters.split(
      letter,
      groups.map((part) => ({ rows: part, bad: null })),
      policy.leaseMs,
    );
    for (const part of alive ?? []) await replay(part, pass);
  }

  /**
   * A single row that was refused is bad, unless ordinary events would be refused
   * as well: for what shows while reading a dry run can tell, for what shows only
   * while storing nothing but events that landed since: the row's own neighbours
   * in this pass, or others between two of its tries.
   */
  async function condemn(letter: DeadLetter, failure: InsertFailure, pass: Try): Promise<void> {
    const refusal = asInsertFailure(await failureOf(events.dryRun(letter.chunks, pass.stop)));
    if (refusal !== null && !isAboutRows(refusal)) return wait(letter, refusal, AMBIGUOUS_DELAY_MS);
    if (refusal === null && !pass.hasLanded && !hasLandedSinceLastTry(letter)) {
      // The first refusal of the row alone always counts: it is what later landings are compared with.
      // A process that sees nothing land leaves its age as it is, for another that does.
      const isFirst = letter.attemptCount === 0;
      return count(letter, failure, { isFirstRefusal: isFirst, wasSent: isFirst || hasLandedRecently() });
    }
    const ordinary = await readsOrdinary(pass);
    if (ordinary !== null) return hold(letter, failure, ordinary);
    if (await deadLetters.quarantine(letter, 'refused', failure)) quarantined(letter.eventCount, letter);
  }

  /** What ClickHouse says to a dry run of an ordinary event: null when it reads it. */
  async function readsOrdinary(pass: Try): Promise<InsertFailure | null> {
    return asInsertFailure(await failureOf(events.dryRun([ORDINARY_ROW], pass.stop)));
  }

  /** No row can be judged now: either the schema refuses ordinary events too, or the store has other trouble. */
  async function hold(letter: DeadLetter, failure: InsertFailure, refusal: InsertFailure | null): Promise<void> {
    const isDrift = refusal !== null && isAboutRows(refusal);
    await (isDrift ? holdForDrift(letter, failure) : wait(letter, refusal ?? failure, AMBIGUOUS_DELAY_MS));
  }

  function hasLandedSinceLastTry({ attemptCount, sinceLastAttemptMs }: DeadLetter): boolean {
    const landedAt = breaker.lastLandedAt();
    return attemptCount > 0 && landedAt !== null && clock.elapsed() - landedAt < (sinceLastAttemptMs ?? 0);
  }

  function hasLandedRecently(): boolean {
    const landedAt = breaker.lastLandedAt();
    return landedAt !== null && clock.elapsed() - landedAt < RECENTLY_MS;
  }

  async function holdForDrift(letter: DeadLetter, failure: InsertFailure): Promise<void> {
    log.error(
      { letterId: letter.id, events: letter.eventCount, code: failure.code, err: failure },
      'schema drift: ClickHouse refuses ordinary events; nothing is split or quarantined until it takes them',
    );
    breaker.trip('operator');
    await count(letter, failure);
  }

  /** Another try after a failure that counts, or quarantine when that was the last one. */
  async function count(
    letter: DeadLetter,
    failure: InsertFailure,
    { isFirstRefusal, wasSent } = { isFirstRefusal: false, wasSent: true },
  ): Promise<void> {
    // A store that answers but takes nothing is away too, whatever it calls its trouble.
    const isHealthy = breaker.state().kind === 'closed' && heartbeat.isUp() === true && hasLandedRecently();
    const isCounted = policy.quarantine === 'strict' || isHealthy || isFirstRefusal;
    const delayMs = isCounted
      ? backoffMs(letter.attemptCount + 1, RETRY, random)
      : backoffMs(1, { firstMs: UNHEALTHY_DELAY_MS, maxMs: UNHEALTHY_DELAY_MS }, random);
    // However the table's clock jumped, one wait adds no more than the longest delay.
    const waitedMs = Math.min(Math.max(letter.sinceLastAttemptMs ?? 0, 0), RETRY.maxMs);
    const exposedMs = isHealthy ? waitedMs : 0;
    if (isCounted && isExhausted(letter, exposedMs)) {
      if (await deadLetters.quarantine(letter, 'exhausted', failure)) quarantined(letter.eventCount, letter);
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

  async function wait(
    letter: DeadLetter,
    failure: InsertFailure,
    aboutMs: number,
    { wasSent } = { wasSent: true },
  ): Promise<void> {
    if (policy.quarantine === 'strict') return count(letter, failure);
    const delayMs = backoffMs(1, { firstMs: aboutMs, maxMs: aboutMs }, random);
    const { ambiguous } = letter;
    await deadLetters.retry(letter, { failure, ambiguous, wasSent, isCounted: false, exposedMs: 0, delayMs });
  }

  function quarantined(eventCount: number, { id }: DeadLetter) {
    ledger.quarantined += eventCount;
    log.warn({ letterId: id, events: eventCount }, 'events quarantined');
  }
}

/**
 * Whether the rows found may be blamed, given what was said to an ordinary event
 * before and after the search: a schema that broke or was mended meanwhile must
 * not be mistaken for bad rows. A changed column that most of the batch still
 * fits is no such case: it is the same before and after, and the others are read.
 */
function mayBlame(
  before: InsertFailure | null,
  after: InsertFailure | null,
  { bad, isComplete }: Found,
  rowCount: number,
): boolean {
  if (before === null && after === null) return true;
  if (before === null || after === null || !isAboutRows(before) || !isAboutRows(after)) return false;
  return isComplete && bad.size <= rowCount / 2;
}

/** The classes a refused row can cause; all others are the store's own trouble. */
const isAboutRows = ({ failureClass }: InsertFailure) => failureClass === 'data' || failureClass === 'unknown';

const rowsOf = ({ chunks }: DeadLetter): Buffer[] => splitRows(Buffer.concat(chunks));

function countByProject(letter: DeadLetter): Map<string, number> {
  const [projectId, ...others] = letter.projectIds;
  // Nearly every letter, and looking into five thousand rows holds everything else up for milliseconds.
  if (projectId !== undefined && others.length === 0) return new Map([[projectId, letter.eventCount]]);
  const counts = new Map<string, number>();
  for (const row of rowsOf(letter)) {
    const projectId = idsOf(row)?.projectId;
    if (projectId !== undefined) counts.set(projectId, (counts.get(projectId) ?? 0) + 1);
  }
  return counts;
}
