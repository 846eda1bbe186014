/** Statistics of the dead letters: by state, by cause, by class of failure. Throws `PostgresFailure`. */
import type { SQL } from 'drizzle-orm';
import { desc, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents } from '../connection/schema.ts';
import { type DeadLetterState, type Selection, matches, state } from './selection.ts';

export type Count = { readonly letters: number; readonly events: number; readonly bytes: number };
export type CountByState = Readonly<Record<DeadLetterState, Count>>;

/** Letters with the same cause. */
export type Group = {
  readonly group: string;
  readonly errorClass: string;
  readonly errorCode: number | null;
  /** The message of one of the letters; those of the others differ only in numbers and ids. */
  readonly lastError: string;
  readonly letters: number;
  readonly events: number;
  readonly waiting: number;
  readonly quarantined: number;
  readonly firstSeen: Date;
  readonly lastSeen: Date;
};

export type ClassStats = Count & { readonly errorClass: string; readonly state: DeadLetterState };
export type Stats = { readonly byState: CountByState; readonly oldestAt: Date | null; readonly byClass: ClassStats[] };

const letters = sql<string>`count(*)`.mapWith(Number);
const events = sql<string>`coalesce(sum(${failedEvents.eventCount}), 0)`.mapWith(Number);
const bytes = sql<string>`coalesce(sum(${failedEvents.rawBytes}), 0)`.mapWith(Number);
const instantOf = (expression: SQL) => sql<string>`${expression}`.mapWith((value: string) => new Date(value));

export async function countByState(db: Database, selection: Selection): Promise<CountByState> {
  const found = await answerOf(
    db.select({ state, letters, events, bytes }).from(failedEvents).where(matches(selection)).groupBy(state),
  );
  return sumByState(found);
}

/** Largest group first. */
export async function readGroups(db: Database): Promise<Group[]> {
  const lastSeen = sql`max(coalesce(${failedEvents.lastAttemptAt}, ${failedEvents.createdAt}))`;
  return answerOf(
    db
      .select({
        group: failedEvents.errorFingerprint,
        errorClass: sql<string>`min(${failedEvents.errorClass})`,
        errorCode: sql<number | null>`min(${failedEvents.errorCode})`,
        lastError: sql<string>`min(${failedEvents.lastError})`,
        letters,
        events,
        waiting: sql<string>`count(*) filter (where ${failedEvents.quarantinedAt} is null)`.mapWith(Number),
        quarantined: sql<string>`count(*) filter (where ${failedEvents.quarantinedAt} is not null)`.mapWith(Number),
        firstSeen: instantOf(sql`min(${failedEvents.createdAt})`),
        lastSeen: instantOf(lastSeen),
      })
      .from(failedEvents)
      .groupBy(failedEvents.errorFingerprint)
      .orderBy(desc(sql`count(*)`), desc(lastSeen)),
  );
}

export async function readStats(db: Database): Promise<Stats> {
  const found = await answerOf(
    db
      .select({
        errorClass: failedEvents.errorClass,
        state,
        letters,
        events,
        bytes,
        oldestAt: instantOf(sql`min(${failedEvents.createdAt})`),
      })
      .from(failedEvents)
      .groupBy(failedEvents.errorClass, state)
      .orderBy(failedEvents.errorClass, state),
  );
  return statsOf(found);
}

/** Of letters that were counted by class and state, with the oldest of each kind. */
export function statsOf(kinds: readonly (ClassStats & { readonly oldestAt: Date })[]): Stats {
  const waiting = kinds.filter((kind) => kind.state !== 'quarantined').map(({ oldestAt }) => oldestAt.getTime());
  return {
    byClass: kinds.map(({ errorClass, state, letters, events, bytes }) => ({
      errorClass,
      state,
      letters,
      events,
      bytes,
    })),
    byState: sumByState(kinds),
    oldestAt: waiting.length === 0 ? null : new Date(Math.min(...waiting)),
  };
}

function sumByState(found: readonly (Count & { readonly state: DeadLetterState })[]): CountByState {
  const sum = (wanted: DeadLetterState): Count =>
    found
      .filter((count) => count.state === wanted)
      .reduce(
        (so, next) => ({
          letters: so.letters + next.letters,
          events: so.events + next.events,
          bytes: so.bytes + next.bytes,
        }),
        { letters: 0, events: 0, bytes: 0 },
      );
  return { waiting: sum('waiting'), replaying: sum('replaying'), quarantined: sum('quarantined') };
}
