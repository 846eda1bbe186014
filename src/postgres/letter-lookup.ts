/**
 * The dead-letter table as an operator reads it. Nothing here changes a letter
 * or takes a lock, so it may be asked at any time. Throws `PostgresFailure`.
 */
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import type { SQL } from 'drizzle-orm';
import { and, desc, eq, inArray, sql } from './drizzle.ts';
import { idsOf, splitRows } from '../event/rows.ts';
import { uuidOf } from '../event/uuid.ts';
import { answerOf } from './errors.ts';
import type { Database } from './pool.ts';
import { failedEvents, failedEventsAudit } from './schema.ts';

const decompress = promisify(zstdDecompress);

/** Which letters a person means. */
export type Selection =
  | { readonly by: 'ids'; readonly ids: readonly string[] }
  | { readonly by: 'group'; readonly group: string }
  /** Every letter that holds a row of the project, and perhaps rows of others. */
  | { readonly by: 'project'; readonly projectId: string }
  | { readonly by: 'quarantined' }
  | { readonly by: 'all' };

/** `replaying`: a drain holds its lease, nobody else may touch it. */
export type LetterState = 'waiting' | 'replaying' | 'quarantined';

export type Letter = {
  readonly id: string;
  readonly parentId: string | null;
  readonly generation: number;
  readonly state: LetterState;
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
  /** The next try; while it is replayed, the end of its lease. */
  readonly visibleAt: Date;
  readonly quarantinedAt: Date | null;
  readonly quarantineReason: string | null;
};

/** `rows` is null when the payload cannot be read. */
export type OpenedLetter = { readonly letter: Letter; readonly rows: Buffer | null };

export type Count = { readonly letters: number; readonly events: number; readonly bytes: number };
export type CountByState = Readonly<Record<LetterState, Count>>;

/** Letters with the same cause. */
export type Group = {
  readonly group: string;
  readonly errorClass: string;
  readonly errorCode: number | null;
  /** Of one of the letters; those of the others differ in numbers and ids only. */
  readonly lastError: string;
  readonly letters: number;
  readonly events: number;
  readonly waiting: number;
  readonly quarantined: number;
  readonly firstSeen: Date;
  readonly lastSeen: Date;
};

export type ClassStats = Count & { readonly errorClass: string; readonly state: LetterState };
export type Stats = { readonly byState: CountByState; readonly oldestAt: Date | null; readonly byClass: ClassStats[] };

export type AuditEntry = {
  readonly id: number;
  readonly at: Date;
  readonly actor: string;
  readonly action: string;
  readonly letterId: string;
  readonly eventCount: number;
  readonly detail: unknown;
};

/** A lease that has not run out. One that has may be taken over, with the doubt it leaves. */
export const isLeased: SQL<boolean> = sql<boolean>`(${failedEvents.quarantinedAt} is null and ${failedEvents.leaseToken} is not null and ${failedEvents.visibleAt} > now())`;

const state = sql<LetterState>`case when ${failedEvents.quarantinedAt} is not null then 'quarantined' when ${isLeased} then 'replaying' else 'waiting' end`;

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

const letters = sql<string>`count(*)`.mapWith(Number);
const events = sql<string>`coalesce(sum(${failedEvents.eventCount}), 0)`.mapWith(Number);
const bytes = sql<string>`coalesce(sum(${failedEvents.rawBytes}), 0)`.mapWith(Number);
const instantOf = (expression: SQL) => sql<string>`${expression}`.mapWith((value: string) => new Date(value));

/** Letters whose payload is fetched one by one, listed so many at a time. */
const PAGE = 200;

export type LetterLookup = {
  /** Oldest first. */
  list(selection: Selection, only: LetterState | null, limit: number): Promise<Letter[]>;
  count(selection: Selection): Promise<CountByState>;
  /** Those of `ids` that exist. */
  existing(ids: readonly string[]): Promise<ReadonlySet<string>>;
  /** Most letters first. */
  groups(): Promise<Group[]>;
  open(id: string): Promise<OpenedLetter | null>;
  /** Every selected letter in the order of ids, one in memory at a time. Those that go meanwhile are left out. */
  openAll(selection: Selection): AsyncIterable<OpenedLetter>;
  stats(): Promise<Stats>;
  /** Newest first. */
  audit(letterId: string | null, limit: number): Promise<{ entries: AuditEntry[]; total: number }>;
  /** Events that operators took out and put back, of every project or of one. */
  balance(projectId: string | null): Promise<Balance>;
};

export type Balance = { readonly discarded: number; readonly imported: number; readonly forgotten: number };

export function createLetterLookup(db: Database): LetterLookup {
  return { list, count, existing, groups, open, openAll, stats, audit, balance };

  async function list(selection: Selection, only: LetterState | null, limit: number) {
    return answerOf(
      db
        .select(COLUMNS)
        .from(failedEvents)
        .where(and(matches(selection), only === null ? undefined : sql`${state} = ${only}`))
        .orderBy(failedEvents.createdAt, failedEvents.id)
        .limit(limit),
    );
  }

  async function count(selection: Selection): Promise<CountByState> {
    const found = await answerOf(
      db.select({ state, letters, events, bytes }).from(failedEvents).where(matches(selection)).groupBy(state),
    );
    return countByState(found);
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

  async function groups() {
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

  async function open(id: string): Promise<OpenedLetter | null> {
    const [found] = await answerOf(
      db.select({ letter: COLUMNS, payload: failedEvents.payload }).from(failedEvents).where(eq(failedEvents.id, id)),
    );
    return found ? { letter: found.letter, rows: await readRows(found.payload) } : null;
  }

  async function* openAll(selection: Selection) {
    for (let after: string | null = null; ;) {
      const page: { id: string }[] = await answerOf(
        db
          .select({ id: failedEvents.id })
          .from(failedEvents)
          .where(and(matches(selection), after === null ? undefined : sql`${failedEvents.id} > ${after}`))
          .orderBy(failedEvents.id)
          .limit(PAGE),
      );
      for (const { id } of page) {
        const opened = await open(id);
        if (opened) yield opened;
      }
      if (page.length < PAGE) return;
      after = page.at(-1)!.id;
    }
  }

  async function stats(): Promise<Stats> {
    const byClass = await answerOf(
      db
        .select({ errorClass: failedEvents.errorClass, state, letters, events, bytes })
        .from(failedEvents)
        .groupBy(failedEvents.errorClass, state)
        .orderBy(failedEvents.errorClass, state),
    );
    const [oldest] = await answerOf(
      db
        .select({ at: sql<string | null>`min(${failedEvents.createdAt})` })
        .from(failedEvents)
        .where(sql`${failedEvents.quarantinedAt} is null`),
    );
    return { byClass, byState: countByState(byClass), oldestAt: oldest?.at ? new Date(oldest.at) : null };
  }

  async function audit(letterId: string | null, limit: number) {
    const ofLetter = letterId === null ? undefined : eq(failedEventsAudit.failedEventId, letterId);
    const entries = await answerOf(
      db
        .select({
          id: failedEventsAudit.id,
          at: failedEventsAudit.at,
          actor: failedEventsAudit.actor,
          action: failedEventsAudit.action,
          letterId: failedEventsAudit.failedEventId,
          eventCount: failedEventsAudit.eventCount,
          detail: failedEventsAudit.detail,
        })
        .from(failedEventsAudit)
        .where(ofLetter)
        .orderBy(desc(failedEventsAudit.id))
        .limit(limit),
    );
    return { entries, total: await answerOf(db.$count(failedEventsAudit, ofLetter)) };
  }

  async function balance(projectId: string | null): Promise<Balance> {
    // A discarded letter of several projects names them all and counts for none: nobody knows how its rows divide.
    const ofProject =
      projectId === null
        ? undefined
        : sql`${failedEventsAudit.detail} -> 'projects' = jsonb_build_array(${projectId}::text)`;
    const [sums] = await answerOf(
      db
        .select({ discarded: sumOf('discard'), imported: sumOf('import'), forgotten: sumOf('forget') })
        .from(failedEventsAudit)
        .where(ofProject),
    );
    return sums!;
  }
}

/** A deletion of a project notes a number that may not fit the column. */
const sumOf = (action: string) =>
  sql<string>`coalesce(sum(coalesce((${failedEventsAudit.detail} ->> 'events')::bigint, ${failedEventsAudit.eventCount})) filter (where ${failedEventsAudit.action} = ${action}), 0)`.mapWith(
    Number,
  );

export function matches(selection: Selection): SQL | undefined {
  switch (selection.by) {
    case 'ids':
      return inArray(failedEvents.id, [...selection.ids]);
    case 'group':
      return eq(failedEvents.errorFingerprint, selection.group);
    case 'project':
      return sql`${selection.projectId}::uuid = any(${failedEvents.projectIds})`;
    case 'quarantined':
      return sql`${failedEvents.quarantinedAt} is not null`;
    case 'all':
      return undefined;
  }
}

/** The rows of a payload, or null when it is damaged. */
export async function readRows(payload: Buffer): Promise<Buffer | null> {
  try {
    return await decompress(payload);
  } catch {
    // Whatever is wrong with it, there is nothing to read.
    return null;
  }
}

/** The rows of one project and the others, each in their order; a row that names nobody is among the others. */
export function partByProject(rows: Buffer, projectId: string): { own: Buffer[]; others: Buffer[] } {
  const own: Buffer[] = [];
  const others: Buffer[] = [];
  for (const row of splitRows(rows)) (idsOf(row)?.projectId === projectId ? own : others).push(row);
  return { own, others };
}

/** A UUID v8 that follows from parent and rows, as the drain makes them: what is taken apart twice gets the same ids. */
export function partId(parentId: string, rows: Buffer): string {
  return uuidOf(Buffer.concat([Buffer.from(parentId), rows]));
}

function countByState(found: readonly (Count & { readonly state: LetterState })[]): CountByState {
  const sum = (wanted: LetterState): Count =>
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
