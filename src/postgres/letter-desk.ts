/**
 * What an operator may do to dead letters. Every change and its audit entry are
 * one statement or one transaction. A letter whose lease is alive belongs to a
 * drain and is left alone; when the lease has run out it may have landed, and
 * stays in doubt. Large selections are worked off in steps that each stand by
 * themselves, so that an interrupted command can simply be repeated.
 */
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { and, eq, sql } from './drizzle.ts';
import { idsOf } from '../event/rows.ts';
import { answerOf } from './errors.ts';
import { type Letter, type Selection, isLeased, matches, partByProject, partId, readRows } from './letter-lookup.ts';
import type { Database } from './pool.ts';
import { failedEvents, failedEventsAudit } from './schema.ts';

const compress = promisify(zstdCompress);

/** Letters changed by one statement: well within its time limit. */
const STEP = 500;
/** Letters deleted by one statement: their payloads go with them, up to a few megabytes each. */
const DISCARD_STEP = 50;
/** Longer than a drain sends a doubtful letter again without asking ClickHouse first (five minutes). */
const DOUBT_MINUTES = 6;

export type Changed = { readonly letters: number; readonly events: number };
export type Removed = Changed & {
  /** How many of the letters were taken apart because others' rows lie in them. */
  readonly shared: number;
  /** Letters that may have landed already: their events can be in ClickHouse nevertheless. */
  readonly doubtful: number;
  /** Shared letters whose payload cannot be read, so that nobody can tell whose rows they hold. */
  readonly unreadable: readonly string[];
};

/** A letter on its way back into the table. */
export type Returned = { readonly letter: Letter; readonly rows: Buffer };
/** `present`: it is there; `divided`: its rows are in letters split off it, or it is a part of a letter that is there. */
export type PutBack = 'restored' | 'present' | 'divided' | 'deleted project';

export type LetterDesk = {
  /** Makes the letters due, with all attempts before them; `perSecond` spreads them over time. */
  replay(selection: Selection, perSecond: number | null, onProgress: (done: Changed) => void): Promise<Changed>;
  /** Deletes the letters; of a project exactly its rows. */
  discard(selection: Selection, reason: string, onProgress: (done: Changed) => void): Promise<Removed>;
  putBack(returned: Returned): Promise<PutBack>;
  /** Notes that events that had landed are deleted with their project. */
  noteForgotten(projectId: string, events: number): Promise<void>;
};

/** The audit's letter for what concerns none in particular. */
export const NO_LETTER = '00000000-0000-0000-0000-000000000000';

const MAX_INT4 = 2_147_483_647;
const NONE_REMOVED: Removed = { letters: 0, events: 0, shared: 0, doubtful: 0, unreadable: [] };

export function createLetterDesk(db: Database, { actor }: { actor: string }): LetterDesk {
  return { replay, discard, putBack, noteForgotten };

  async function replay(selection: Selection, perSecond: number | null, onProgress: (done: Changed) => void) {
    const { rows: clock } = await answerOf(db.execute<{ now: string }>(sql`select now()::text as now`));
    const start = clock[0]!.now;
    let done: Changed = { letters: 0, events: 0 };
    for (let after = NO_LETTER; ;) {
      const dueAt =
        perSecond === null
          ? sql`least(letter.visible_at, now())`
          : sql`${start}::timestamptz + (${done.letters} + place) / ${perSecond}::float8 * interval '1 second'`;
      const { rows } = await answerOf(
        db.execute<{ id: string; event_count: number }>(sql`
          with locked as (
            select id, quarantined_at is not null as was_quarantined from failed_events
            where ${stepOf(selection, after)} order by id limit ${STEP} for update
          ), placed as (
            select id, was_quarantined, row_number() over (order by id) - 1 as place from locked
          ), changed as (
            update failed_events as letter
            set attempt_count = 0, exposed_ms = 0, quarantined_at = null, quarantine_reason = null, lease_token = null,
              ambiguous = letter.ambiguous or letter.lease_token is not null,
              -- Part of a doubtful letter: its own id is unknown to ClickHouse, so the doubt has to be settled by asking.
              visible_at = case when letter.parent_id is not null and letter.ambiguous
                then greatest(${dueAt}, letter.last_attempt_at + ${DOUBT_MINUTES} * interval '1 minute') else ${dueAt} end
            from placed where letter.id = placed.id
            returning letter.id, letter.event_count, letter.project_ids, was_quarantined
          ), noted as (
            insert into failed_events_audit (failed_event_id, action, actor, event_count, detail)
            select id, 'replay', ${actor}::text, event_count,
              jsonb_build_object('was', case when was_quarantined then 'quarantined' else 'waiting' end, 'projects', to_jsonb(project_ids))
            from changed
          )
          select id, event_count from changed order by id`),
      );
      done = { letters: done.letters + rows.length, events: done.events + sumOf(rows) };
      onProgress(done);
      if (rows.length < STEP) return done;
      after = rows.at(-1)!.id;
    }
  }

  async function discard(selection: Selection, reason: string, onProgress: (done: Changed) => void): Promise<Removed> {
    let done = NONE_REMOVED;
    for (let after = NO_LETTER; ;) {
      const { rows } = await answerOf(
        db.execute<{ id: string; event_count: number; ambiguous: boolean }>(sql`
          with locked as (
            select id from failed_events
            where ${stepOf(selection, after)}
            ${selection.by === 'project' ? sql`and cardinality(project_ids) = 1` : sql``}
            order by id limit ${DISCARD_STEP} for update
          ), gone as (
            delete from failed_events as letter using locked where letter.id = locked.id
            returning letter.id, event_count, project_ids, ambiguous or lease_token is not null as ambiguous, error_fingerprint
          ), noted as (
            insert into failed_events_audit (failed_event_id, action, actor, event_count, detail)
            select id, 'discard', ${actor}::text, event_count, jsonb_build_object(
              'reason', ${reason}::text, 'projects', to_jsonb(project_ids), 'ambiguous', ambiguous, 'group', error_fingerprint)
            from gone
          )
          select id, event_count, ambiguous from gone order by id`),
      );
      done = {
        ...done,
        letters: done.letters + rows.length,
        events: done.events + sumOf(rows),
        doubtful: done.doubtful + rows.filter(({ ambiguous }) => ambiguous).length,
      };
      onProgress(done);
      if (rows.length < DISCARD_STEP) break;
      after = rows.at(-1)!.id;
    }
    return selection.by === 'project' ? discardShared(selection, reason, done, onProgress) : done;
  }

  /** The project's rows out of letters that hold others' rows as well. */
  async function discardShared(
    selection: Selection & { by: 'project' },
    reason: string,
    begun: Removed,
    onProgress: (done: Changed) => void,
  ): Promise<Removed> {
    let done = begun;
    for (let after = NO_LETTER; ;) {
      const shared = await answerOf(
        db
          .select({ id: failedEvents.id })
          .from(failedEvents)
          .where(stepOf(selection, after))
          .orderBy(failedEvents.id)
          .limit(STEP),
      );
      for (const { id } of shared) {
        const taken = await takeOut(id, selection.projectId, reason);
        if (taken === 'unreadable') done = { ...done, unreadable: [...done.unreadable, id] };
        else if (taken !== null) {
          done = {
            ...done,
            letters: done.letters + 1,
            events: done.events + taken.events,
            shared: done.shared + 1,
            doubtful: done.doubtful + Number(taken.ambiguous),
          };
        }
        onProgress(done);
      }
      if (shared.length < STEP) return done;
      after = shared.at(-1)!.id;
    }
  }

  /** Replaces a shared letter by one without the project's rows. Null when it is gone or replaying by now. */
  function takeOut(id: string, projectId: string, reason: string) {
    return answerOf(
      db.transaction(async (tx) => {
        const [parent] = await tx
          .select()
          .from(failedEvents)
          .where(and(eq(failedEvents.id, id), sql`not ${isLeased}`))
          .for('update');
        if (!parent) return null;
        const rows = await readRows(parent.payload);
        if (rows === null) return 'unreadable' as const;
        const { own, others } = partByProject(rows, projectId);
        if (own.length === 0) return null;

        const ambiguous = parent.ambiguous || parent.leaseToken !== null;
        const ownId = partId(id, Buffer.concat(own));
        const rest = others.length === 0 ? null : Buffer.concat(others);
        const restId = rest && partId(id, rest);
        await tx.delete(failedEvents).where(eq(failedEvents.id, id));
        if (rest !== null) {
          const lastAttemptAt = parent.lastAttemptAt ?? parent.createdAt;
          await tx.insert(failedEvents).values({
            ...parent,
            id: restId!,
            parentId: id,
            generation: parent.generation + 1,
            payload: await compress(rest),
            rawBytes: rest.length,
            eventCount: others.length,
            projectIds: projectsIn(others),
            ambiguous,
            leaseToken: null,
            lastAttemptAt,
            // New bytes under a new id: in doubt, ClickHouse has to be asked which rows it has.
            visibleAt: ambiguous ? afterDoubt(lastAttemptAt) : parent.visibleAt,
          });
        }
        const parts = [{ id: ownId, events: own.length, discarded: true }];
        if (restId) parts.push({ id: restId, events: others.length, discarded: false });
        await tx.insert(failedEventsAudit).values([
          { failedEventId: id, action: 'split', actor, eventCount: parent.eventCount, detail: { reason, parts } },
          {
            failedEventId: ownId,
            action: 'discard',
            actor,
            eventCount: own.length,
            detail: { reason, projects: [projectId], ambiguous, group: parent.errorFingerprint, parent: id },
          },
        ]);
        return { events: own.length, ambiguous };
      }),
    );
  }

  function putBack({ letter, rows }: Returned): Promise<PutBack> {
    const { id, parentId, generation, eventCount, rawBytes, projectIds, errorClass, errorCode, lastError } = letter;
    const { attemptCount, exposedMs, createdAt, quarantinedAt, quarantineReason } = letter;
    const lastAttemptAt = letter.lastAttemptAt ?? createdAt;
    return answerOf(
      db.transaction(async (tx) => {
        const { rows: kin } = await tx.execute<{ id: string }>(
          sql`select id from failed_events where id = ${id} or parent_id = ${id} or id = ${parentId}::uuid`,
        );
        if (kin.some((relative) => relative.id === id)) return 'present';
        if (kin.length > 0) return 'divided';
        const { rows: deleted } = await tx.execute(
          sql`select 1 from projects where id = any(${sql.param([...projectIds])}::uuid[]) and deleted_at is not null limit 1`,
        );
        if (deleted.length > 0) return 'deleted project';

        const written = await tx
          .insert(failedEvents)
          .values({
            id,
            parentId,
            generation,
            payload: await compress(rows),
            rawBytes,
            eventCount,
            projectIds: [...projectIds],
            errorClass,
            errorCode,
            errorFingerprint: letter.group,
            lastError,
            // It may have landed since it was exported.
            ambiguous: true,
            attemptCount,
            exposedMs,
            createdAt,
            lastAttemptAt,
            visibleAt: parentId === null ? sql`now()` : afterDoubt(lastAttemptAt),
            quarantinedAt,
            quarantineReason,
          })
          .onConflictDoNothing()
          .returning({ id: failedEvents.id });
        if (written.length === 0) return 'present';
        await tx
          .insert(failedEventsAudit)
          .values({ failedEventId: id, action: 'import', actor, eventCount, detail: { projects: projectIds } });
        return 'restored';
      }),
    );
  }

  async function noteForgotten(projectId: string, events: number): Promise<void> {
    await answerOf(
      db.insert(failedEventsAudit).values({
        failedEventId: NO_LETTER,
        action: 'forget',
        actor,
        eventCount: Math.min(events, MAX_INT4),
        detail: { projects: [projectId], events },
      }),
    );
  }
}

const stepOf = (selection: Selection, after: string) =>
  sql.join([sql`failed_events.id > ${after}::uuid`, sql`not ${isLeased}`, matches(selection) ?? sql`true`], sql` and `);

const afterDoubt = (lastAttemptAt: Date) =>
  sql`greatest(now(), ${lastAttemptAt.toISOString()}::timestamptz + ${DOUBT_MINUTES} * interval '1 minute')`;

const projectsIn = (rows: readonly Buffer[]) => [...new Set(rows.flatMap((row) => idsOf(row)?.projectId ?? []))];

const sumOf = (rows: readonly { event_count: number }[]) => rows.reduce((sum, row) => sum + row.event_count, 0);
