/** What operators do with kept rejected events. Throws `PostgresFailure`. */
import { kindOfReason } from '../../event/rejection-kind.ts';
import { uuidOf } from '../../event/uuid.ts';
import { InsertFailure } from '../../pipeline/ports.ts';
import type { RejectedEvent } from '../../pipeline/rejected-port.ts';
import { eq, inArray, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { failedEvents, projects, rejectedEvents } from '../connection/schema.ts';
import { type AuditedDeadLetter, auditDeadLetters } from '../dead-letters/audit.ts';
import { describeFailure } from '../dead-letters/dead-letter-values.ts';
import { compressRows } from '../dead-letters/payload.ts';
import { nextRejected, type RejectedWalk } from './rejected-queries.ts';

/** An event as it is decoded today: its row, or why it still has none. */
export type DecodeRejected = (event: RejectedEvent, retentionSeconds: number | null) => Buffer | { reason: string };

export type TriedEvent = { readonly event: RejectedEvent; readonly outcome: Buffer | { readonly reason: string } };
/** `last`: where the walk goes on; null when it is over. */
export type TriedStep = { readonly tried: readonly TriedEvent[]; readonly last: string | null };

/** What would become of the next events of a walk; changes nothing. */
export async function tryStep(db: Database, walk: RejectedWalk, decode: DecodeRejected): Promise<TriedStep> {
  const { events, last } = await nextRejected(db, walk, { isLocking: false });
  return { tried: await tryAll(db, events, decode), last };
}

/**
 * Moves those of the next events that are accepted today into dead letters, from where the drain stores them: in one
 * transaction, so that each is in one place only. The others stay, with the reason of today.
 */
export function replayStep(
  db: Database,
  walk: RejectedWalk,
  { decode, actor }: { decode: DecodeRejected; actor: string },
): Promise<TriedStep> {
  return answerOf(
    db.transaction(async (tx) => {
      const { events, last } = await nextRejected(tx, walk, { isLocking: true });
      const tried = await tryAll(tx, events, decode);
      const accepted = tried.filter(({ outcome }) => Buffer.isBuffer(outcome));
      await addDeadLetters(tx, accepted, actor);
      const gone = accepted.map(({ event: { id } }) => id);
      if (gone.length > 0) await tx.delete(rejectedEvents).where(inArray(rejectedEvents.id, gone));
      for (const { event, outcome } of tried) {
        if (Buffer.isBuffer(outcome) || outcome.reason === event.reason) continue;
        const changed = { reason: outcome.reason, kind: kindOfReason(outcome.reason) };
        await tx.update(rejectedEvents).set(changed).where(eq(rejectedEvents.id, event.id));
      }
      return { tried, last };
    }),
  );
}

/** Events of a deleted project are passed over. */
async function tryAll(
  tx: Pick<Database, 'select'>,
  events: readonly RejectedEvent[],
  decode: DecodeRejected,
): Promise<TriedEvent[]> {
  const ids = [...new Set(events.map(({ projectId }) => projectId))];
  const alive = await answerOf(
    tx
      .select({ id: projects.id, retention: projects.retentionSeconds })
      .from(projects)
      .where(sql`${inArray(projects.id, ids)} and ${projects.deletedAt} is null`),
  );
  const retentionOf = new Map(alive.map(({ id, retention }) => [id, retention]));
  return events.flatMap((event) => {
    const retention = retentionOf.get(event.projectId);
    return retention === undefined ? [] : [{ event, outcome: decode(event, retention) }];
  });
}

const NOT_SENT = new InsertFailure('rejected before, and replayed by an operator: not sent yet', {
  failureClass: 'unavailable',
});

/** A letter for each project. Nothing of it was sent, and yet its client may have sent an event once more. */
async function addDeadLetters(tx: Transaction, accepted: readonly TriedEvent[], actor: string): Promise<void> {
  const letters: AuditedDeadLetter[] = [];
  for (const [projectId, events] of Map.groupBy(accepted, ({ event }) => event.projectId)) {
    const rows = Buffer.concat(events.map(({ outcome }) => outcome as Buffer));
    const letter = { id: uuidOf(rows), eventCount: events.length, projectIds: [projectId] };
    const values = {
      ...letter,
      payload: await compressRows(rows),
      rawBytes: rows.length,
      ...describeFailure(NOT_SENT),
      // The drain first asks which of the events are stored.
      ambiguous: true,
      lastAttemptAt: null,
    };
    const added = await tx.insert(failedEvents).values(values).onConflictDoNothing().returning({ id: failedEvents.id });
    if (added.length > 0) letters.push(letter);
  }
  await auditDeadLetters(tx, { action: 'import', actor, detail: { rejected: true } }, letters);
}

/** Returns how many events of the project were removed. */
export async function removeRejectedOf(db: Database, projectId: string): Promise<number> {
  const { rowCount } = await answerOf(db.delete(rejectedEvents).where(eq(rejectedEvents.projectId, projectId)));
  return rowCount ?? 0;
}
