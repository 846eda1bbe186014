/**
 * The audit of actions on letters, written and read. A few letters have an entry each; more of one step share one,
 * which gives their number and beside which their ids are listed: a million letters leave a thousand entries, and the
 * history of any one of them can still be read.
 */
import type { SQL } from 'drizzle-orm';
import { and, desc, eq, lt, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEventsAudit, failedEventsAuditLetters, NO_DEAD_LETTER } from '../connection/schema.ts';
import { uuids } from '../connection/uuids.ts';
import { DRAIN } from './dead-letter-values.ts';

/** Up to this many letters of a step have entries of their own, which a person can read. */
const ENTRIES_EACH = 10;
/** The most causes that an entry about many letters names. */
const GROUPS_NAMED = 20;

export type AuditedDeadLetter = {
  readonly id: string;
  readonly eventCount: number;
  readonly projectIds: readonly string[];
  /** Its cause, where that is worth recording. */
  readonly group?: string;
};

export type AuditNote = {
  readonly action: string;
  readonly actor: string;
  /** What all of the letters have in common. */
  readonly detail: object;
};

/** Call it in the transaction that changes the letters, with not many more than a thousand at a time. */
export async function auditDeadLetters(
  tx: Pick<Database, 'insert'>,
  { action, actor, detail }: AuditNote,
  letters: readonly AuditedDeadLetter[],
): Promise<void> {
  if (letters.length === 0) return;
  if (letters.length <= ENTRIES_EACH) {
    await tx.insert(failedEventsAudit).values(
      letters.map(({ id, eventCount, projectIds, group }) => ({
        failedEventId: id,
        action,
        actor,
        eventCount,
        detail: { ...detail, projects: projectIds, ...(group !== undefined && { group }) },
      })),
    );
    return;
  }
  const groups = [...new Set(letters.flatMap(({ group }) => group ?? []))].slice(0, GROUPS_NAMED);
  const [entry] = await tx
    .insert(failedEventsAudit)
    .values({
      failedEventId: NO_DEAD_LETTER,
      action,
      actor,
      eventCount: letters.reduce((sum, { eventCount }) => sum + eventCount, 0),
      detail: {
        ...detail,
        letters: letters.length,
        eventsOf: eventsByProject(letters),
        ...(groups.length > 0 && { groups }),
      },
    })
    .returning({ id: failedEventsAudit.id });
  await tx
    .insert(failedEventsAuditLetters)
    .values({ auditId: entry!.id, deadLetterIds: letters.map(({ id }) => id).toSorted() });
}

/** Only for letters of a single project: the table does not tell how the rows of others divide. */
function eventsByProject(letters: readonly AuditedDeadLetter[]): Record<string, number> {
  const events: Record<string, number> = {};
  for (const { projectIds, eventCount } of letters) {
    const [projectId] = projectIds;
    if (projectId !== undefined && projectIds.length === 1) events[projectId] = (events[projectId] ?? 0) + eventCount;
  }
  return events;
}

/** Whether an entry is about the letter, alone or with others. */
export const isEntryAbout = (
  deadLetterId: string,
): SQL => sql`(${failedEventsAudit.failedEventId} = ${deadLetterId}::uuid
  or ${failedEventsAudit.id} = any(array(select audit_id from failed_events_audit_letters where letter_ids @> array[${deadLetterId}::uuid])))`;

/**
 * The last of these actions of operators, since an instant, on each of the letters that had one: a query for `id` and
 * `action`. Entries are found by their instant: looked up by their letters, a thousand of those may read every list.
 * Lists are sorted, and of one step: most begin after the letters or end before them.
 */
export function lastOfOperators(
  deadLetterIds: readonly string[],
  { actions, since }: { actions: readonly string[]; since: SQL },
): SQL {
  const sorted = deadLetterIds.toSorted();
  return sql`
    with entries as materialized (
      select id, failed_event_id, action from failed_events_audit
      where at >= ${since} and action = any(${sql.param([...actions])}::text[]) and actor <> ${DRAIN}
    ), acted as (
      select failed_event_id as letter, id as entry, action from entries
      union all
      select letter, id, action from entries
      join failed_events_audit_letters on audit_id = id
        and letter_ids[1] <= ${sorted.at(-1)}::uuid and letter_ids[cardinality(letter_ids)] >= ${sorted[0]}::uuid
      cross join unnest(letter_ids) as letter
    )
    select distinct on (letter) letter as id, action
    from acted join unnest(${uuids(sorted)}) as asked on asked = letter
    order by letter, entry desc`;
}

export type AuditEntry = {
  readonly id: number;
  readonly at: Date;
  readonly actor: string;
  readonly action: string;
  /** `NO_DEAD_LETTER` when it concerns many, or none. */
  readonly deadLetterId: string;
  readonly eventCount: number;
  readonly detail: unknown;
};

/** Newest first; for one letter, or for all. Throws `PostgresFailure`. */
export async function readAudit(
  db: Database,
  deadLetterId: string | null,
  limit: number,
): Promise<{ entries: AuditEntry[]; total: number }> {
  const entries = await readAuditPage(db, { deadLetterId, before: null, limit });
  return { entries, total: await answerOf(db.$count(failedEventsAudit, aboutOne(deadLetterId))) };
}

/** A page of the same: entries with a smaller id than `before`. Throws `PostgresFailure`. */
export function readAuditPage(
  db: Database,
  { deadLetterId, before, limit }: { deadLetterId: string | null; before: number | null; limit: number },
): Promise<AuditEntry[]> {
  return answerOf(
    db
      .select({
        id: failedEventsAudit.id,
        at: failedEventsAudit.at,
        actor: failedEventsAudit.actor,
        action: failedEventsAudit.action,
        deadLetterId: failedEventsAudit.failedEventId,
        eventCount: failedEventsAudit.eventCount,
        detail: failedEventsAudit.detail,
      })
      .from(failedEventsAudit)
      .where(and(aboutOne(deadLetterId), before === null ? undefined : lt(failedEventsAudit.id, before)))
      .orderBy(desc(failedEventsAudit.id))
      .limit(limit),
  );
}

const aboutOne = (deadLetterId: string | null) => (deadLetterId === null ? undefined : isEntryAbout(deadLetterId));

/** Events that operators took out and put back. */
export type Balance = { readonly discarded: number; readonly imported: number; readonly forgotten: number };

/** For every project, or for one. Throws `PostgresFailure`. */
export async function readBalance(db: Database, projectId: string | null): Promise<Balance> {
  const { detail, eventCount } = failedEventsAudit;
  // A deletion of a project records a number that may not fit the column.
  const whole = sql`coalesce((${detail} ->> 'events')::bigint, ${eventCount})`;
  // A discarded letter of several projects names them all and counts for none.
  const own = sql`${detail} -> 'projects' = jsonb_build_array(${projectId}::text)`;
  const share = sql`(${detail} -> 'eventsOf' ->> ${projectId}::text)::bigint`;
  const events = projectId === null ? whole : sql`case when ${own} then ${whole} else ${share} end`;
  const sumOf = (action: string) =>
    sql<string>`coalesce(sum(${events}) filter (where ${eq(failedEventsAudit.action, action)}), 0)`.mapWith(Number);
  const [sums] = await answerOf(
    db
      .select({ discarded: sumOf('discard'), imported: sumOf('import'), forgotten: sumOf('forget') })
      .from(failedEventsAudit),
  );
  return sums!;
}
