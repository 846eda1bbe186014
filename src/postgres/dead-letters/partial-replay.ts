/** Replays some events of a dead letter that holds many: the letter becomes two, one of which is due. */
import type { SQL } from 'drizzle-orm';
import { splitRows } from '../../event/rows.ts';
import { and, eq, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import { afterAmbiguity } from './ambiguity-window.ts';
import { compressRows, partId, projectsIn, readRows } from './payload.ts';
import { isLeased } from './selection.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents, failedEventsAudit } from '../connection/schema.ts';

export type ReplayedRows =
  | {
      readonly kind: 'due';
      readonly deadLetterId: string;
      readonly events: number;
      readonly left: number;
      /** The letter of those that are left; null when none are. */
      readonly leftId: string | null;
    }
  /** `replaying`: a drain holds it at this moment; `unmatched`: no row of it was chosen. */
  | { readonly kind: 'absent' | 'replaying' | 'unreadable' | 'unmatched' };

/**
 * Makes the rows of the letter due that `isMeant` picks, with all attempts restored; the others stay unchanged, in a
 * letter of their own. Throws `PostgresFailure`.
 */
export function replayRows(
  db: Database,
  { id, actor, isMeant }: { id: string; actor: string; isMeant: (row: Buffer, place: number) => boolean },
): Promise<ReplayedRows> {
  return answerOf(
    db.transaction(async (tx): Promise<ReplayedRows> => {
      const [found] = await tx
        .select({ letter: failedEvents, isLeased })
        .from(failedEvents)
        .where(and(eq(failedEvents.id, id)))
        .for('update');
      if (!found) return { kind: 'absent' };
      if (found.isLeased) return { kind: 'replaying' };
      const { letter: parent } = found;
      const text = await readRows(parent.payload);
      if (text === null) return { kind: 'unreadable' };
      const rows = splitRows(text);
      const [meant, others] = [rows.filter(isMeant), rows.filter((row, place) => !isMeant(row, place))];
      if (meant.length === 0) return { kind: 'unmatched' };
      const [meantBytes, otherBytes] = [Buffer.concat(meant), Buffer.concat(others)];

      const ambiguous = parent.ambiguous || parent.leaseToken !== null;
      const lastAttemptAt = parent.lastAttemptAt ?? parent.createdAt;
      // New bytes under new ids: if they are ambiguous, ClickHouse has to be asked which rows it has.
      const dueAt = (usually: SQL | Date) => (ambiguous ? afterAmbiguity(lastAttemptAt) : usually);
      /** `seed`: what the id follows from, besides the rows. */
      const part = async (bytes: Buffer, of: readonly Buffer[], seed: string) => ({
        ...parent,
        id: partId(seed, bytes),
        parentId: id,
        generation: parent.generation + 1,
        payload: await compressRows(bytes),
        rawBytes: bytes.length,
        eventCount: of.length,
        projectIds: projectsIn(of),
        ambiguous,
        leaseToken: null,
        lastAttemptAt,
      });
      const due = {
        ...(await part(meantBytes, meant, id)),
        attemptCount: 0,
        exposedMs: 0,
        quarantinedAt: null,
        quarantineReason: null,
        visibleAt: dueAt(sql`now()`),
      };
      // Twins, as when a client sent one event twice, need two ids.
      const seed = meantBytes.equals(otherBytes) ? due.id : id;
      const left =
        others.length === 0 ? [] : [{ ...(await part(otherBytes, others, seed)), visibleAt: dueAt(parent.visibleAt) }];
      await tx.delete(failedEvents).where(eq(failedEvents.id, id));
      await tx.insert(failedEvents).values([due, ...left]);
      const parts = [due, ...left].map((letter, place) => ({
        id: letter.id,
        events: letter.eventCount,
        due: place === 0,
      }));
      await tx.insert(failedEventsAudit).values([
        { failedEventId: id, action: 'split', actor, eventCount: parent.eventCount, detail: { parts } },
        {
          failedEventId: due.id,
          action: 'replay',
          actor,
          eventCount: due.eventCount,
          detail: {
            was: parent.quarantinedAt === null ? 'waiting' : 'quarantined',
            projects: due.projectIds,
            parent: id,
          },
        },
      ]);
      return {
        kind: 'due',
        deadLetterId: due.id,
        events: due.eventCount,
        left: others.length,
        leftId: left[0]?.id ?? null,
      };
    }),
  );
}
