/**
 * Materialized views that other people put on Weir's tables. When one of them
 * fails, ClickHouse refuses the insert although the table and Weir's own views
 * could have it. Events then land without that view, under the same token, and
 * people are told. Weir's own views are never gone without: where errors of
 * views are ignored, each of them is tried after the insert, and ClickHouse's
 * log of views is asked, where there is one, whether it got the rows.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { InsertFailure } from '../../pipeline/ports.ts';
import { PASSING, classOfCode } from '../connection/error-codes.ts';
import { ViewFailure } from '../connection/errors.ts';
import { parseName, formatName } from '../connection/table-names.ts';
import { MIRROR } from '../migrations/event-tables.ts';
import { findConstrained, findForeignViews, isOwn, isOwnTarget, readOutcomes, trialsOfOwnViews } from './views.ts';

/** Errors of views are ignored from the start for so long; then one insert finds out whether that is still needed. */
const IGNORING_MS = 30_000;
/** The one that finds out has so long before the next may try. */
const FINDING_OUT_MS = 5_000;
/** Trouble of a view that passes is waited for, until it has come so often within so long. */
const PATIENCE = { failures: 3, withinMs: 60_000 } as const;
/** A view that has not failed for so long is taken for mended. */
const FORGOTTEN_MS = 10 * 60_000;
/** What is known of Weir's own views is asked again after this. */
const KNOWN_MS = 30_000;
const MAX_VIEWS = 32;

export type ForeignViews = {
  /** Whether errors of views are to be ignored at once, because a foreign one is known to fail. */
  areIgnored(): boolean;
  /** Whether a failed insert may be sent again, ignoring errors of views: it failed in a foreign one. */
  forgives(error: unknown): Promise<boolean>;
  /** After an insert that ignored errors: throws `InsertFailure` unless Weir's own views have taken its rows. */
  checkOwn(queryId: string): Promise<void>;
  /** One sentence for each view that fails. */
  notices(): readonly string[];
  /** Failed inserts that were seen, by view. */
  failures(): ReadonlyMap<string, number>;
};

type Failing = { readonly since: number; lastAt: number; code: number | null; recent: number[]; count: number };

export function createForeignViews(
  { client, clock, log }: { client: ClickHouseClient; clock: Clock; log: Log },
  { database }: { database: string },
): ForeignViews {
  const failing = new Map<string, Failing>();
  let ignoreUntil: number | null = null;
  let known: { trials: string[]; at: number } | null = null;
  /** When there was no log of views. */
  let noLogAt: number | null = null;

  return { areIgnored, forgives, checkOwn, notices, failures };

  function areIgnored() {
    if (ignoreUntil === null) return false;
    const now = clock.elapsed();
    if (now < ignoreUntil) return true;
    const isAnyFailing = [...failing.values()].some(isFresh);
    ignoreUntil = isAnyFailing ? now + FINDING_OUT_MS : null;
    return false;
  }

  async function forgives(error: unknown) {
    if (!(error instanceof ViewFailure)) return false;
    const view = await foreignViewIn(error);
    if (view === null) return false;
    const { recent } = note(view, error);
    if (error.code !== null && PASSING.has(classOfCode(error.code)) && recent.length < PATIENCE.failures) return false;
    ignoreUntil = clock.elapsed() + IGNORING_MS;
    return true;
  }

  /** The view's name; null when it is one of Weir's. */
  async function foreignViewIn({ view, missing }: ViewFailure): Promise<string | null> {
    const name = parseName(view ?? missing ?? '');
    if (name === null) return null;
    if (view !== null) return isOwn(name, database) ? null : formatName(name);
    if (isOwnTarget(name, database)) return null;
    const found = await findForeignViews(client, database).catch(() => []);
    const into = found.find(({ target }) => target !== null && formatName(target) === formatName(name));
    return into ? formatName(into.view) : `a view into ${formatName(name)}`;
  }

  function note(view: string, { code }: InsertFailure): Failing {
    const now = clock.elapsed();
    const earlier = failing.get(view);
    const isNews = earlier === undefined || !isFresh(earlier);
    const entry: Failing = isNews
      ? { since: clock.now(), lastAt: now, code, recent: [], count: earlier?.count ?? 0 }
      : earlier;
    entry.lastAt = now;
    entry.code = code;
    entry.count += 1;
    entry.recent = [...entry.recent, now].filter((at) => now - at < PATIENCE.withinMs).slice(-PATIENCE.failures);
    failing.set(view, entry);
    const [oldest] = failing.keys();
    if (failing.size > MAX_VIEWS) failing.delete(oldest!);
    if (isNews) {
      if (isOfRebuild(view))
        log.warn({ view, code }, 'the view of the rebuild fails; the rebuild copies the missed events later');
      else log.error({ view, code }, "a materialized view that is not Weir's fails; events land without it");
    }
    return entry;
  }

  async function checkOwn(queryId: string) {
    const error = await failureOf(checkEach(queryId));
    if (error === null) return;
    known = null;
    if (error instanceof InsertFailure) throw error;
    const given = Number((error as { code?: unknown }).code);
    const code = Number.isInteger(given) ? given : null;
    throw failureOfOwn(`Weir's own views could not be checked (${code ?? error.name})`, code, error);
  }

  async function checkEach(queryId: string) {
    const trials = await ownTrials();
    // A view that has lost a column of its table fails only in a trial, one that fails for some rows only in the log.
    const [outcomes] = await Promise.all([outcomesOf(queryId), tryEach(trials)]);
    for (const [name, code] of outcomes ?? []) {
      if (code !== 0) throw failureOfOwn(`Weir's own view ${name} failed (${code})`, code);
    }
  }

  async function outcomesOf(queryId: string) {
    if (noLogAt !== null && clock.elapsed() - noLogAt < KNOWN_MS) return null;
    const outcomes = await readOutcomes(client, { database, queryId });
    noLogAt = outcomes === null ? clock.elapsed() : null;
    return outcomes;
  }

  async function tryEach(trials: readonly string[]) {
    await Promise.all(
      trials.map((trial) =>
        // Of a view behind it that is not Weir's nothing is asked here either.
        client.command({ query: trial, clickhouse_settings: { ...IGNORING_VIEW_ERRORS, wait_end_of_query: 1 } }),
      ),
    );
  }

  async function ownTrials(): Promise<string[]> {
    if (known && clock.elapsed() - known.at < KNOWN_MS) return known.trials;
    const [constrained] = await findConstrained(client, database);
    if (constrained !== undefined) throw failureOfOwn(`${constrained} has a constraint that Weir did not make`, null);
    const trials = await trialsOfOwnViews(client, database);
    known = { trials, at: clock.elapsed() };
    return trials;
  }

  function isFresh({ lastAt }: Failing) {
    return clock.elapsed() - lastAt < FORGOTTEN_MS;
  }

  function notices() {
    return [...failing]
      .filter(([, entry]) => isFresh(entry))
      .map(([view, { since, code }]) => {
        const whose = isOfRebuild(view) ? ' of the rebuild' : ", which is not Weir's,";
        const then = isOfRebuild(view) ? 'the rebuild copies the missed events later' : 'events land without it';
        return `the materialized view ${view}${whose} has been failing since ${new Date(since).toISOString()} (code ${code}): ${then}`;
      });
  }

  function isOfRebuild(view: string) {
    return view === formatName({ database, table: MIRROR });
  }

  function failures() {
    return new Map([...failing].map(([view, { count }]) => [view, count]));
  }
}

/** Sent again under its token, the batch completes the view. */
function failureOfOwn(why: string, code: number | null, cause?: Error): InsertFailure {
  // Without a code there was no answer.
  const meaning = code === null ? (cause ? 'ambiguous' : 'operator') : classOfCode(code);
  return new InsertFailure(`${why}, while errors of others are ignored`, {
    failureClass: PASSING.has(meaning) ? meaning : 'operator',
    code,
    mayHaveLanded: true,
    ...(cause && { cause }),
  });
}

/** For an insert that no view may keep from landing. */
export const IGNORING_VIEW_ERRORS = { materialized_views_ignore_errors: 1 } as const;
