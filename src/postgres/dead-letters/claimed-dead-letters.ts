/**
 * Dead letters under a lease. Every change names the lease under which the letter was claimed, so that a drain that has
 * lost it changes nothing (invariant I7).
 */
import { randomUUID } from 'node:crypto';
import { and, eq, sql } from '../connection/drizzle.ts';
import type { Log } from '../../log/log.ts';
import { fingerprintOf } from '../../pipeline/outcome.ts';
import type {
  ClaimLimits,
  DeadLetter,
  DeadLetterStore,
  DeadLetterPart,
  Retry,
} from '../../pipeline/dead-letter-port.ts';
import type { InsertFailure } from '../../pipeline/ports.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents, failedEventsAudit } from '../connection/schema.ts';
import { type ClaimedRow, decodeDeadLetter, deadLetterOf } from './dead-letter-row.ts';
import {
  DRAIN,
  describeFailure,
  describeParts,
  inMs,
  deadLettersOfParts,
  quarantinedNow,
} from './dead-letter-values.ts';
import type { DiskRoom } from './disk-room.ts';
import type { WriteInRoom } from './room-writes.ts';

type ClaimedDeadLetters = Pick<
  DeadLetterStore,
  'claim' | 'renew' | 'complete' | 'retry' | 'release' | 'clearAmbiguity' | 'quarantine' | 'split'
>;

export function createClaimedDeadLetters(
  db: Database,
  { log, room, write }: { log: Log; room: DiskRoom; write: WriteInRoom },
): ClaimedDeadLetters {
  return { claim, renew, complete, retry, release, clearAmbiguity, quarantine, split };

  async function claim({ maxRows, maxBytes, leaseMs }: ClaimLimits): Promise<DeadLetter[]> {
    const leaseToken = randomUUID();
    // A lease that is still set here ran out: its holder may have inserted the rows before it vanished. The table
    // rounds instants to the millisecond, some into the future; now is rounded in the same way. In a transaction for its
    // isolation: what another process claims or removes at the same time is passed over.
    const { rows } = await write(
      db.transaction((tx) =>
        tx.execute<ClaimedRow>(sql`
        with due as (
          select id, raw_bytes, ambiguous, visible_at from failed_events
          where quarantined_at is null and visible_at <= now()::timestamptz(3)
          order by ambiguous desc, visible_at
          limit ${maxRows}
          for update skip locked
        ), picked as (
          select id from (
            select id, sum(raw_bytes) over reading as bytes, row_number() over reading as place from due
            window reading as (order by ambiguous desc, visible_at, id)
          ) as read
          where bytes <= ${maxBytes} or place = 1
        )
        update failed_events as letter
        set lease_token = ${leaseToken}, visible_at = now() + ${leaseMs} * interval '1 millisecond',
          ambiguous = letter.ambiguous or letter.lease_token is not null
        from picked where letter.id = picked.id
        returning letter.id, payload, letter.raw_bytes, event_count, project_ids, letter.ambiguous, attempt_count, exposed_ms,
          error_fingerprint, floor(extract(epoch from created_at) * 1000) as created_at_ms,
          floor(extract(epoch from now() - last_attempt_at) * 1000) as since_last_attempt_ms`),
      ),
    );
    if (rows.length > 0) room.worked();
    const letters: DeadLetter[] = [];
    for (const row of rows) {
      const letter = await readDeadLetter(row, leaseToken);
      if (letter) letters.push(letter);
    }
    return letters.sort((a, b) => Number(b.ambiguous) - Number(a.ambiguous) || (a.id < b.id ? -1 : 1));
  }

  /** The letter, or null when its payload is unreadable: then it is quarantined for a person. */
  async function readDeadLetter(row: ClaimedRow, leaseToken: string): Promise<DeadLetter | null> {
    const letter = await decodeDeadLetter(row, leaseToken);
    if (letter !== null) return letter;
    log.error({ letterId: row.id, events: row.event_count }, 'dead letter cannot be read; quarantined');
    await setAside(deadLetterOf(row, leaseToken), 'unreadable payload', {});
    return null;
  }

  async function renew(letter: DeadLetter, leaseMs: number): Promise<boolean> {
    return change(letter, { visibleAt: inMs(leaseMs) });
  }

  async function complete(letter: DeadLetter): Promise<boolean> {
    const gone = await answerOf(db.delete(failedEvents).where(isHeld(letter)).returning({ id: failedEvents.id }));
    return gone.length > 0;
  }

  async function retry(
    letter: DeadLetter,
    { failure, ambiguous, wasSent, isCounted, exposedMs, delayMs }: Retry,
  ): Promise<boolean> {
    return change(letter, {
      ...describeFailure(failure),
      ambiguous,
      attemptCount: sql`${failedEvents.attemptCount} + ${isCounted ? 1 : 0}`,
      exposedMs: sql`${failedEvents.exposedMs} + ${exposedMs}`,
      ...(wasSent ? { lastAttemptAt: sql`now()` } : {}),
      visibleAt: inMs(delayMs),
      leaseToken: null,
    });
  }

  async function release(letter: DeadLetter): Promise<boolean> {
    return change(letter, { visibleAt: sql`now()`, leaseToken: null });
  }

  async function clearAmbiguity(letter: DeadLetter): Promise<boolean> {
    return change(letter, { ambiguous: false });
  }

  async function quarantine(letter: DeadLetter, reason: string, failure: InsertFailure): Promise<boolean> {
    return setAside(letter, reason, describeFailure(failure));
  }

  async function setAside(letter: DeadLetter, reason: string, failure: object): Promise<boolean> {
    return write(
      db.transaction(async (tx) => {
        const changed = await tx
          .update(failedEvents)
          .set({ ...failure, ...quarantinedNow(reason), leaseToken: null })
          .where(isHeld(letter))
          .returning({ id: failedEvents.id });
        if (changed.length === 0) return false;
        await tx.insert(failedEventsAudit).values(auditOf(letter, 'quarantine', { reason }));
        return true;
      }),
    );
  }

  async function split(
    letter: DeadLetter,
    parts: readonly DeadLetterPart[],
    leaseMs: number,
  ): Promise<DeadLetter[] | null> {
    const children = await deadLettersOfParts(letter.id, parts);
    const made = await write(
      db.transaction(async (tx) => {
        const [parent] = await tx.delete(failedEvents).where(isHeld(letter)).returning();
        if (!parent) return null;
        const { generation, createdAt, lastAttemptAt, errorClass, errorCode, errorFingerprint, lastError } = parent;
        const inherited = { errorClass, errorCode, errorFingerprint, lastError, createdAt, lastAttemptAt };
        // A process that stood still may have taken the same rows out of the batch: they are a letter already.
        const letters = tx.insert(failedEvents).values(
          children.map(({ values, part }) => ({
            ...inherited,
            ...values,
            parentId: letter.id,
            generation: generation + 1,
            ...(part.failure ? describeFailure(part.failure) : {}),
            ...(part.isQuarantined
              ? quarantinedNow('refused')
              : { leaseToken: letter.leaseToken, visibleAt: inMs(leaseMs) }),
          })),
        );
        const inserted = await letters.onConflictDoNothing().returning({ id: failedEvents.id });
        const detail = { parts: describeParts(children) };
        await tx.insert(failedEventsAudit).values(auditOf(letter, 'split', detail));
        return new Set(inserted.map(({ id }) => id));
      }),
    );
    if (made === null) return null;
    return children
      .filter(({ part, values }) => !part.isQuarantined && made.has(values.id))
      .map(({ values, rows, part }) => ({
        ...letter,
        ...(part.failure ? { fingerprint: fingerprintOf(part.failure) } : {}),
        id: values.id,
        chunks: [rows],
        eventCount: values.eventCount,
        projectIds: values.projectIds,
        ambiguous: false,
        attemptCount: 0,
        exposedMs: 0,
      }));
  }

  /** Changes the letter if the lease is still ours. */
  async function change(
    letter: DeadLetter,
    values: Parameters<ReturnType<typeof db.update<typeof failedEvents>>['set']>[0],
  ) {
    const changed = await write(
      db.update(failedEvents).set(values).where(isHeld(letter)).returning({ id: failedEvents.id }),
    );
    return changed.length > 0;
  }
}

const isHeld = ({ id, leaseToken }: DeadLetter) =>
  and(eq(failedEvents.id, id), eq(failedEvents.leaseToken, leaseToken));

function auditOf(letter: DeadLetter, action: string, detail: object) {
  return { failedEventId: letter.id, action, actor: DRAIN, eventCount: letter.eventCount, detail };
}
