/**
 * What operators may do to dead letters. Every change and its audit entry are one transaction. A letter with a live
 * lease belongs to a drain and is left alone; once the lease has run out it may have landed, and is ambiguous. Large
 * selections are processed in independent steps, so that an interrupted command can simply be repeated.
 */
import type { SQL } from 'drizzle-orm';
import { and, eq, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import { type AuditedDeadLetter, auditDeadLetters } from './audit.ts';
import { afterAmbiguity, AMBIGUITY_MINUTES } from './ambiguity-window.ts';
import { type ImportOutcome, type ImportedDeadLetter, importDeadLetters } from './import.ts';
import { compressRows, partByProject, partId, projectsIn, readRows } from './payload.ts';
import { type Selection, isLeased, matches } from './selection.ts';
import { type StepLimits, hasIdIn, walkDeadLetters } from './walk.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { projectAuditEntry } from '../connection/project-audit.ts';
import { failedEvents, failedEventsAudit } from '../connection/schema.ts';

/** What one transaction changes: a drain does not wait for its locks, but skips those letters in the meantime. */
const STEP: StepLimits = { letters: 1_000, bytes: Infinity };
/** For steps with payloads, up to a few megabytes each. */
const PAYLOAD_STEP: StepLimits = { letters: 1_000, bytes: 64 * 1024 * 1024 };

export type ChangedDeadLetters = { readonly letters: number; readonly events: number };
export type DiscardedDeadLetters = ChangedDeadLetters & {
  /** How many of the letters were split because they hold rows of others. */
  readonly shared: number;
  /** Letters that may have landed already: their events can be in ClickHouse nevertheless. */
  readonly doubtful: number;
  /** Shared letters with an unreadable payload, whose rows cannot be separated. */
  readonly unreadable: readonly string[];
};

export type DeadLetterActions = {
  /**
   * Makes the letters due, with all their attempts restored; `perSecond` spreads them over time. `onProgress` is also
   * given the ids of the step.
   */
  replay(
    selection: Selection,
    perSecond: number | null,
    onProgress: (done: ChangedDeadLetters, ids: readonly string[]) => void,
  ): Promise<ChangedDeadLetters>;
  /** Deletes the letters; for a project exactly its rows. */
  discard(
    selection: Selection,
    reason: string,
    onProgress: (done: ChangedDeadLetters) => void,
  ): Promise<DiscardedDeadLetters>;
  /** Returns the outcome of each; a few hundred at a time. */
  import(returned: readonly ImportedDeadLetter[]): Promise<ImportOutcome[]>;
  /** Records that events that had landed are deleted with their project. */
  recordErasure(projectId: string, events: number): Promise<void>;
};

const NONE_REMOVED: DiscardedDeadLetters = { letters: 0, events: 0, shared: 0, doubtful: 0, unreadable: [] };

export function createDeadLetterActions(db: Database, { actor }: { actor: string }): DeadLetterActions {
  return { replay, discard, import: (returned) => importDeadLetters(db, { actor }, returned), recordErasure };

  async function replay(
    selection: Selection,
    perSecond: number | null,
    onProgress: (done: ChangedDeadLetters, ids: readonly string[]) => void,
  ) {
    const { rows: clock } = await answerOf(db.execute<{ now: string }>(sql`select now()::text as now`));
    const start = clock[0]!.now;
    let done: ChangedDeadLetters = { letters: 0, events: 0 };
    for await (const ids of walkDeadLetters(db, matches(selection), STEP)) {
      const dueAt =
        perSecond === null
          ? sql`least(letter.visible_at, now())`
          : sql`${start}::timestamptz + (${done.letters} + place) / ${perSecond}::float8 * interval '1 second'`;
      const changed = await answerOf(db.transaction((tx) => replayStep(tx, stepOf(selection, ids), dueAt)));
      done = { letters: done.letters + changed.length, events: done.events + sumOf(changed) };
      onProgress(
        done,
        changed.map(({ id }) => id),
      );
    }
    return done;
  }

  async function replayStep(tx: Transaction, step: SQL, dueAt: SQL) {
    const { rows } = await tx.execute<Touched & { was_quarantined: boolean }>(sql`
      with locked as (
        select id, quarantined_at is not null as was_quarantined from failed_events
        where ${step} order by id for update
      ), placed as (
        select id, was_quarantined, row_number() over (order by id) - 1 as place from locked
      )
      update failed_events as letter
      set attempt_count = 0, exposed_ms = 0, quarantined_at = null, quarantine_reason = null, lease_token = null,
        ambiguous = letter.ambiguous or letter.lease_token is not null,
        -- Part of an ambiguous letter: ClickHouse does not know its id, so it has to be asked for the rows.
        visible_at = case when letter.parent_id is not null and letter.ambiguous
          then greatest(${dueAt}, letter.last_attempt_at + ${AMBIGUITY_MINUTES} * interval '1 minute') else ${dueAt} end
      from placed where letter.id = placed.id
      returning letter.id, letter.event_count, letter.project_ids, was_quarantined`);
    for (const was of ['waiting', 'quarantined'] as const) {
      const those = rows.filter((row) => row.was_quarantined === (was === 'quarantined'));
      await auditDeadLetters(tx, { action: 'replay', actor, detail: { was } }, those.map(auditedOf));
    }
    return rows;
  }

  async function discard(
    selection: Selection,
    reason: string,
    onProgress: (done: ChangedDeadLetters) => void,
  ): Promise<DiscardedDeadLetters> {
    let done = NONE_REMOVED;
    const isOwn = selection.by === 'project' ? sql`cardinality(${failedEvents.projectIds}) = 1` : undefined;
    for await (const ids of walkDeadLetters(db, and(matches(selection), isOwn), PAYLOAD_STEP)) {
      const step = and(stepOf(selection, ids), isOwn)!;
      const gone = await answerOf(db.transaction((tx) => discardStep(tx, step, reason)));
      done = {
        ...done,
        letters: done.letters + gone.length,
        events: done.events + sumOf(gone),
        doubtful: done.doubtful + gone.filter(({ ambiguous }) => ambiguous).length,
      };
      onProgress(done);
    }
    return selection.by === 'project' ? discardShared(selection, reason, done, onProgress) : done;
  }

  async function discardStep(tx: Transaction, step: SQL, reason: string) {
    const { rows } = await tx.execute<Touched & { ambiguous: boolean; error_fingerprint: string }>(sql`
      with locked as (
        select id from failed_events where ${step} order by id for update
      )
      delete from failed_events as letter using locked where letter.id = locked.id
      returning letter.id, event_count, project_ids, ambiguous or lease_token is not null as ambiguous, error_fingerprint`);
    for (const ambiguous of [false, true]) {
      const those = rows.filter((row) => row.ambiguous === ambiguous);
      await auditDeadLetters(
        tx,
        { action: 'discard', actor, detail: { reason, ambiguous } },
        those.map((row) => ({ ...auditedOf(row), group: row.error_fingerprint })),
      );
    }
    return rows;
  }

  /** Removes the project's rows from letters that also hold others' rows. */
  async function discardShared(
    selection: Selection & { by: 'project' },
    reason: string,
    begun: DiscardedDeadLetters,
    onProgress: (done: ChangedDeadLetters) => void,
  ): Promise<DiscardedDeadLetters> {
    let done = begun;
    for await (const ids of walkDeadLetters(db, matches(selection), STEP)) {
      for (const id of ids) {
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
    }
    return done;
  }

  /** Replaces a shared letter by one without the project's rows. Null when it is already gone or being replayed. */
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
            payload: await compressRows(rest),
            rawBytes: rest.length,
            eventCount: others.length,
            projectIds: projectsIn(others),
            ambiguous,
            leaseToken: null,
            lastAttemptAt,
            // New bytes under a new id: if it is ambiguous, ClickHouse has to be asked which rows it has.
            visibleAt: ambiguous ? afterAmbiguity(lastAttemptAt) : parent.visibleAt,
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

  async function recordErasure(projectId: string, events: number): Promise<void> {
    await answerOf(
      db.insert(failedEventsAudit).values(projectAuditEntry({ action: 'forget', actor, projectId, events })),
    );
  }
}

/** What a step returns about each letter it changed. */
type Touched = { readonly id: string; readonly event_count: number; readonly project_ids: readonly string[] };

const auditedOf = ({ id, event_count, project_ids }: Touched): AuditedDeadLetter => ({
  id,
  eventCount: event_count,
  projectIds: project_ids,
});

/** Checked again: a drain may have claimed a letter since its id was read. */
const stepOf = (selection: Selection, ids: readonly string[]): SQL =>
  and(hasIdIn(ids), sql`not ${isLeased}`, matches(selection))!;

const sumOf = (rows: readonly Touched[]) => rows.reduce((sum, row) => sum + row.event_count, 0);
