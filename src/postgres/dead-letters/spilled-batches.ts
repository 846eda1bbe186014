/**
 * Batches on their way into the dead-letter table. Each call may be repeated after its answer was lost; the audit tells
 * the outcome of the earlier one.
 */
import { and, desc, eq, inArray, isNull, sql } from '../connection/drizzle.ts';
import { type Batch, type BatchId, remainderOf } from '../../pipeline/batch.ts';
import type { DeadLetterCause, DeadLetterStore, DeadLetterPart } from '../../pipeline/dead-letter-port.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents, failedEventsAudit } from '../connection/schema.ts';
import { isEntryAbout } from './audit.ts';
import {
  DRAIN,
  describeFailure,
  describeParts,
  inMs,
  deadLettersOfParts,
  quarantinedNow,
} from './dead-letter-values.ts';
import type { DiskRoom } from './disk-room.ts';
import { compressRows } from './payload.ts';
import type { WriteInRoom } from './room-writes.ts';

/** How long rows that an unfit schema refuses wait for their first replay. */
const HELD_DELAY_MS = 10_000;

export function createSpilledBatches(
  db: Database,
  { room, write }: { room: DiskRoom; write: WriteInRoom },
): Pick<DeadLetterStore, 'add' | 'addParts' | 'takenOutOf' | 'forget'> {
  return { add, addParts, takenOutOf, forget };

  async function add(batch: Batch, { failure, ambiguous, askFirst = false }: DeadLetterCause): Promise<void> {
    const past = await pastOf(batch.id);
    if (past === 'gone') return;
    await room.check();
    // Some rows were taken out of it: what remains is added, and whether that has landed is unknown.
    const kept = past === 'whole' ? batch : remainderOf(batch, past.takenOut);
    if (kept === null || (kept !== batch && (await pastOf(kept.id)) === 'gone')) return;
    const values = {
      id: kept.id,
      payload: await compressRows(Buffer.concat(kept.chunks)),
      rawBytes: kept.byteCount,
      eventCount: kept.eventCount,
      projectIds: projectsLeftIn(kept),
      ...describeFailure(failure),
      ambiguous: ambiguous || kept !== batch,
      // Without a last try, only a query for the rows resolves the ambiguity.
      lastAttemptAt: askFirst ? null : sql`now()`,
    };
    await write(
      db
        .insert(failedEvents)
        .values(values)
        // A second call means that the first one's answer was lost; an ambiguity that arose in between must not be.
        .onConflictDoUpdate({
          target: failedEvents.id,
          set: { ambiguous: sql`${failedEvents.ambiguous} or excluded.ambiguous` },
        }),
    );
    room.worked();
  }

  /**
   * What an earlier call for the batch had achieved after all. `gone`: its letter was split, and a second one would
   * repeat its parts; or it was discarded, which stands unless an operator put it back.
   */
  async function pastOf(id: BatchId): Promise<'whole' | 'gone' | { readonly takenOut: readonly number[] }> {
    const [last] = await answerOf(
      db
        .select({ action: failedEventsAudit.action, detail: failedEventsAudit.detail })
        .from(failedEventsAudit)
        .where(and(isEntryAbout(id), inArray(failedEventsAudit.action, ['isolate', 'split', 'discard', 'import'])))
        .orderBy(desc(failedEventsAudit.id))
        .limit(1),
    );
    if (last === undefined || last.action === 'import') return 'whole';
    return last.action === 'isolate' ? { takenOut: placesFrom((last.detail as IsolateDetail).takenOut) } : 'gone';
  }

  async function takenOutOf(id: BatchId): Promise<readonly number[] | null> {
    const past = await pastOf(id);
    return typeof past === 'string' ? null : past.takenOut;
  }

  async function addParts(batch: Batch, parts: readonly DeadLetterPart[], takenOut: readonly number[]) {
    const letters = await deadLettersOfParts(batch.id, parts);
    await room.check();
    return write(
      db.transaction(async (tx): Promise<readonly number[]> => {
        // One at a time for one batch: a call whose answer was lost may still be in progress.
        await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${batch.id}, 0))`);
        const [known] = await tx
          .select({ detail: failedEventsAudit.detail })
          .from(failedEventsAudit)
          .where(and(eq(failedEventsAudit.failedEventId, batch.id), eq(failedEventsAudit.action, 'isolate')));
        if (known) return placesFrom((known.detail as IsolateDetail).takenOut);
        await tx
          .insert(failedEvents)
          .values(
            letters.map(({ values, part }) => ({
              ...values,
              parentId: batch.id,
              generation: 1,
              ...describeFailure(part.failure!),
              lastAttemptAt: sql`now()`,
              ...(part.isQuarantined ? quarantinedNow('refused') : { visibleAt: inMs(HELD_DELAY_MS) }),
            })),
          )
          .onConflictDoNothing();
        const detail: IsolateDetail = { parts: describeParts(letters), takenOut: placesText(takenOut) };
        await tx.insert(failedEventsAudit).values({
          failedEventId: batch.id,
          action: 'isolate',
          actor: DRAIN,
          eventCount: batch.eventCount,
          detail,
        });
        return takenOut;
      }),
    );
  }

  async function forget(id: BatchId): Promise<void> {
    await answerOf(db.delete(failedEvents).where(and(eq(failedEvents.id, id), isNull(failedEvents.leaseToken))));
  }
}

/** The projects whose rows remain in the batch. */
const projectsLeftIn = ({ useByProject }: Batch) =>
  [...useByProject].flatMap(([projectId, { events }]) => (events > 0 ? [projectId] : []));

/** `takenOut`: which rows, as a bitmap in base64, so that it stays small however many they are. */
type IsolateDetail = { readonly parts: ReturnType<typeof describeParts>; readonly takenOut: string };

function placesText(places: readonly number[]): string {
  const bits = Buffer.alloc(Math.floor((places.at(-1) ?? 0) / 8) + 1);
  for (const place of places) bits[place >> 3]! |= 1 << (place & 7);
  return bits.toString('base64');
}

function placesFrom(text: string): number[] {
  const places: number[] = [];
  for (const [at, byte] of Buffer.from(text, 'base64').entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) places.push(at * 8 + bit);
  }
  return places;
}
