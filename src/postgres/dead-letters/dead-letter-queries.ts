/**
 * The dead-letter table as operators read it. Nothing here changes a letter or takes a lock, so it may run at any time.
 * Throws `PostgresFailure`.
 */
import type { SQL } from 'drizzle-orm';
import { and, asc, desc, eq, inArray, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { type AuditEntry, type Balance, readAudit, readBalance } from './audit.ts';
import { type DeadLetterPageRequest, type DeadLetterPlace, readIdPage } from './dead-letter-pages.ts';
import { type CountByState, type Stats, countByState, readStats } from './dead-letter-statistics.ts';
import { readRows } from './payload.ts';
import { type DeadLetterState, type Selection, matches, state } from './selection.ts';
import { type StepLimits, hasIdIn, walkDeadLetters } from './walk.ts';
import { failedEvents } from '../connection/schema.ts';

export type DeadLetterEntry = {
  readonly id: string;
  readonly parentId: string | null;
  readonly generation: number;
  readonly state: DeadLetterState;
  readonly eventCount: number;
  readonly rawBytes: number;
  readonly projectIds: readonly string[];
  readonly group: string;
  readonly errorClass: string;
  readonly errorCode: number | null;
  readonly lastError: string;
  readonly ambiguous: boolean;
  readonly attemptCount: number;
  readonly exposedMs: number;
  readonly createdAt: Date;
  readonly lastAttemptAt: Date | null;
  /** The next try; during a replay, the end of its lease. */
  readonly visibleAt: Date;
  readonly quarantinedAt: Date | null;
  readonly quarantineReason: string | null;
};

/** `rows` is null when the payload is unreadable. */
export type OpenedDeadLetter = { readonly letter: DeadLetterEntry; readonly rows: Buffer | null };

const COLUMNS = {
  id: failedEvents.id,
  parentId: failedEvents.parentId,
  generation: failedEvents.generation,
  state,
  eventCount: failedEvents.eventCount,
  rawBytes: failedEvents.rawBytes,
  projectIds: failedEvents.projectIds,
  group: failedEvents.errorFingerprint,
  errorClass: failedEvents.errorClass,
  errorCode: failedEvents.errorCode,
  lastError: failedEvents.lastError,
  ambiguous: failedEvents.ambiguous,
  attemptCount: failedEvents.attemptCount,
  exposedMs: failedEvents.exposedMs,
  createdAt: failedEvents.createdAt,
  lastAttemptAt: failedEvents.lastAttemptAt,
  visibleAt: failedEvents.visibleAt,
  quarantinedAt: failedEvents.quarantinedAt,
  quarantineReason: failedEvents.quarantineReason,
};

/** `next`: where the next page begins; null when there is none. */
export type DeadLetterPage = { readonly letters: readonly DeadLetterEntry[]; readonly next: DeadLetterPlace | null };

/** The most letters of one page of a list. */
const LISTED = 10_000;

/** How many letters are read at a time. */
const STEP: StepLimits = { letters: 200, bytes: 8 * 1024 * 1024 };

export type DeadLetterQueries = {
  /** Oldest first. */
  list(selection: Selection, only: DeadLetterState | null, limit: number): Promise<DeadLetterEntry[]>;
  /** A page of the same; it may have fewer letters than asked for although there is a next one. */
  page(request: DeadLetterPageRequest): Promise<DeadLetterPage>;
  count(selection: Selection): Promise<CountByState>;
  /** How many letters there are, counted no further than `most`. */
  countUpTo(most: number, selection: Selection, only: DeadLetterState | null): Promise<number>;
  /** Ids of at most `size` selected letters: half of them the oldest, half the newest. */
  ends(selection: Selection, size: number): Promise<string[]>;
  /** Those of `ids` that exist. */
  existing(ids: readonly string[]): Promise<ReadonlySet<string>>;
  open(id: string): Promise<OpenedDeadLetter | null>;
  /**
   * Every selected letter in the order of ids, a few megabytes in memory at a time. Letters that leave in the meantime
   * are skipped.
   */
  openAll(selection: Selection): AsyncIterable<OpenedDeadLetter>;
  stats(): Promise<Stats>;
  /** Newest first. */
  audit(deadLetterId: string | null, limit: number): Promise<{ entries: AuditEntry[]; total: number }>;
  /** Events that operators took out and put back, of every project or of one. */
  balance(projectId: string | null): Promise<Balance>;
};

export function createDeadLetterQueries(db: Database): DeadLetterQueries {
  return {
    list,
    page,
    count: (selection) => countByState(db, selection),
    countUpTo,
    ends,
    existing,
    open,
    openAll,
    stats: () => readStats(db),
    audit: (deadLetterId, limit) => readAudit(db, deadLetterId, limit),
    balance: (projectId) => readBalance(db, projectId),
  };

  async function list(selection: Selection, only: DeadLetterState | null, limit: number) {
    const letters: DeadLetterEntry[] = [];
    for (let after: DeadLetterPlace | null = null; letters.length < limit;) {
      const found: DeadLetterPage = await page({
        selection,
        only,
        after,
        limit: Math.min(limit - letters.length, LISTED),
      });
      letters.push(...found.letters);
      after = found.next;
      if (after === null) break;
    }
    return letters;
  }

  async function page(request: DeadLetterPageRequest): Promise<DeadLetterPage> {
    const { ids, next } = await readIdPage(db, request);
    if (ids.length === 0) return { letters: [], next };
    const found = db.select(COLUMNS).from(failedEvents).where(hasIdIn(ids));
    return { letters: await answerOf(found.orderBy(failedEvents.createdAt, failedEvents.id)), next };
  }

  async function countUpTo(most: number, selection: Selection, only: DeadLetterState | null) {
    const found = await answerOf(
      db.execute<{ letters: string }>(
        sql`select count(*) as letters from (select from failed_events where ${conditionOf(selection, only) ?? sql`true`} limit ${most}) as found`,
      ),
    );
    return Number(found.rows[0]!.letters);
  }

  async function ends(selection: Selection, size: number) {
    // The index of a group is ordered by age; others are too, except for parts of letters, which are ordered by id.
    const key = selection.by === 'group' ? failedEvents.createdAt : failedEvents.id;
    const some = (order: SQL, limit: number) =>
      answerOf(
        db.select({ id: failedEvents.id }).from(failedEvents).where(matches(selection)).orderBy(order).limit(limit),
      );
    const oldest = await some(asc(key), Math.ceil(size / 2));
    const newest = await some(desc(key), Math.floor(size / 2));
    return [...new Set([...oldest, ...newest].map(({ id }) => id))];
  }

  async function existing(ids: readonly string[]) {
    const found = await answerOf(
      db
        .select({ id: failedEvents.id })
        .from(failedEvents)
        .where(inArray(failedEvents.id, [...ids])),
    );
    return new Set(found.map(({ id }) => id));
  }

  async function open(id: string): Promise<OpenedDeadLetter | null> {
    const [found] = await answerOf(
      db.select({ letter: COLUMNS, payload: failedEvents.payload }).from(failedEvents).where(eq(failedEvents.id, id)),
    );
    return found ? { letter: found.letter, rows: await readRows(found.payload) } : null;
  }

  async function* openAll(selection: Selection) {
    for await (const ids of walkDeadLetters(db, matches(selection), STEP)) {
      const found = await answerOf(
        db
          .select({ letter: COLUMNS, payload: failedEvents.payload })
          .from(failedEvents)
          .where(hasIdIn(ids))
          .orderBy(failedEvents.id),
      );
      // All at once: together they are no more than a step's bytes.
      yield* await Promise.all(found.map(async ({ letter, payload }) => ({ letter, rows: await readRows(payload) })));
    }
  }
}

const conditionOf = (selection: Selection, only: DeadLetterState | null) =>
  and(matches(selection), only === null ? undefined : sql`${state} = ${only}`);
