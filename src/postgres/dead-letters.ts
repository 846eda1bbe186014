/**
 * The dead-letter table as the pipeline sees it. Each operation is one short
 * statement or transaction; nothing here waits for the network of another store.
 * Every change of a claimed letter names the lease it was claimed under, so that
 * whoever lost it changes nothing (invariant I7).
 */
import { hash, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';
import { and, desc, eq, inArray, isNull, sql } from './drizzle.ts';
import type { Log } from '../log.ts';
import { idsOf } from '../event/rows.ts';
import { uuidOf } from '../event/uuid.ts';
import type { Batch, BatchId } from '../pipeline/batch.ts';
import type {
  ClaimLimits,
  DeadLetter,
  DeadLetterStore,
  InsertFailure,
  LetterCause,
  Part,
  Retry,
} from '../pipeline/ports.ts';
import { answerOf } from './errors.ts';
import type { Database } from './pool.ts';
import { failedEvents, failedEventsAudit } from './schema.ts';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

const MAX_ERROR_CHARACTERS = 2_000;
/** What zlib takes at least. */
const MIN_CHUNK = 64;
/** The drain's name in the audit. */
const ACTOR = 'drain';

type ClaimedRow = {
  id: string;
  payload: Buffer;
  raw_bytes: number;
  event_count: number;
  project_ids: string[];
  ambiguous: boolean;
  attempt_count: number;
  exposed_ms: string;
  created_at_ms: string;
  since_last_attempt_ms: string | null;
};

export function createDeadLetters(db: Database, log: Log): DeadLetterStore {
  return { add, forget, claim, renew, complete, retry, release, settleDoubt, quarantine, split, measure };

  async function add(batch: Batch, { failure, ambiguous }: LetterCause): Promise<void> {
    if (await hasGone(batch.id)) return;
    const values = {
      id: batch.id,
      payload: await compress(Buffer.concat(batch.chunks)),
      rawBytes: batch.byteCount,
      eventCount: batch.eventCount,
      projectIds: [...batch.useByProject.keys()],
      ...describeFailure(failure),
      ambiguous,
      lastAttemptAt: sql`now()`,
    };
    await answerOf(
      db
        .insert(failedEvents)
        .values(values)
        // A second call means that the first one's answer was lost; a doubt that came up in between must not be.
        .onConflictDoUpdate({
          target: failedEvents.id,
          set: { ambiguous: sql`${failedEvents.ambiguous} or excluded.ambiguous` },
        }),
    );
  }

  /**
   * Whether an earlier call had succeeded after all and its letter has gone on:
   * taken apart, whose parts a second letter would repeat, or discarded, which
   * holds unless somebody put it back.
   */
  async function hasGone(id: BatchId): Promise<boolean> {
    const [last] = await answerOf(
      db
        .select({ action: failedEventsAudit.action })
        .from(failedEventsAudit)
        .where(
          and(
            eq(failedEventsAudit.failedEventId, id),
            inArray(failedEventsAudit.action, ['split', 'discard', 'import']),
          ),
        )
        .orderBy(desc(failedEventsAudit.id))
        .limit(1),
    );
    return last !== undefined && last.action !== 'import';
  }

  async function forget(id: BatchId): Promise<void> {
    await answerOf(db.delete(failedEvents).where(and(eq(failedEvents.id, id), isNull(failedEvents.leaseToken))));
  }

  async function claim({ maxRows, maxBytes, leaseMs }: ClaimLimits): Promise<DeadLetter[]> {
    const leaseToken = randomUUID();
    // A lease that is still set here ran out: its holder may have inserted the rows before it vanished.
    // The table keeps instants rounded to the millisecond, some into the future; now is rounded as they were.
    const { rows } = await answerOf(
      db.execute<ClaimedRow>(sql`
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
          floor(extract(epoch from created_at) * 1000) as created_at_ms,
          floor(extract(epoch from now() - last_attempt_at) * 1000) as since_last_attempt_ms`),
    );
    const letters: DeadLetter[] = [];
    for (const row of rows) {
      const letter = await readLetter(row, leaseToken);
      if (letter) letters.push(letter);
    }
    return letters.sort((a, b) => Number(b.ambiguous) - Number(a.ambiguous) || (a.id < b.id ? -1 : 1));
  }

  /** The letter, or null when its payload cannot be read: then a person has to look at it. */
  async function readLetter(row: ClaimedRow, leaseToken: string): Promise<DeadLetter | null> {
    const letter = {
      id: row.id as BatchId,
      leaseToken,
      eventCount: row.event_count,
      projectIds: row.project_ids,
      ambiguous: row.ambiguous,
      attemptCount: row.attempt_count,
      exposedMs: Number(row.exposed_ms),
      createdAt: Number(row.created_at_ms),
      sinceLastAttemptMs: row.since_last_attempt_ms === null ? null : Number(row.since_last_attempt_ms),
    };
    try {
      // In one piece: a byte to spare shows that the end has come.
      const rows = await decompress(row.payload, { chunkSize: Math.max(row.raw_bytes, MIN_CHUNK) + 1 });
      return { ...letter, chunks: [rows] };
    } catch {
      log.error({ letterId: row.id, events: row.event_count }, 'dead letter cannot be read; quarantined');
      await setAside({ ...letter, chunks: [] }, 'unreadable payload', {});
      return null;
    }
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

  async function settleDoubt(letter: DeadLetter): Promise<boolean> {
    return change(letter, { ambiguous: false });
  }

  async function quarantine(letter: DeadLetter, reason: string, failure: InsertFailure): Promise<boolean> {
    return setAside(letter, reason, describeFailure(failure));
  }

  async function setAside(letter: DeadLetter, reason: string, failure: object): Promise<boolean> {
    return answerOf(
      db.transaction(async (tx) => {
        const changed = await tx
          .update(failedEvents)
          .set({ ...failure, quarantinedAt: sql`now()`, quarantineReason: reason, leaseToken: null })
          .where(isHeld(letter))
          .returning({ id: failedEvents.id });
        if (changed.length === 0) return false;
        await tx.insert(failedEventsAudit).values(auditOf(letter, 'quarantine', { reason }));
        return true;
      }),
    );
  }

  async function split(letter: DeadLetter, parts: readonly Part[], leaseMs: number): Promise<DeadLetter[] | null> {
    const children = await Promise.all(parts.map((part, place) => childOf(letter, part, twinsBefore(parts, place))));
    const isDone = await answerOf(
      db.transaction(async (tx) => {
        const [parent] = await tx.delete(failedEvents).where(isHeld(letter)).returning();
        if (!parent) return false;
        const { generation, createdAt, lastAttemptAt, errorClass, errorCode, errorFingerprint, lastError } = parent;
        const inherited = { errorClass, errorCode, errorFingerprint, lastError, createdAt, lastAttemptAt };
        await tx.insert(failedEvents).values(
          children.map(({ values, bad }) => ({
            ...inherited,
            ...values,
            parentId: letter.id,
            generation: generation + 1,
            ...(bad
              ? { ...describeFailure(bad), quarantinedAt: sql`now()`, quarantineReason: 'refused' }
              : { leaseToken: letter.leaseToken, visibleAt: inMs(leaseMs) }),
          })),
        );
        const detail = {
          parts: children.map(({ values, bad }) => ({ id: values.id, events: values.eventCount, bad: bad !== null })),
        };
        await tx.insert(failedEventsAudit).values(auditOf(letter, 'split', detail));
        return true;
      }),
    );
    if (!isDone) return null;
    return children
      .filter(({ bad }) => bad === null)
      .map(({ values, rows }) => ({
        ...letter,
        id: values.id as BatchId,
        chunks: [rows],
        eventCount: values.eventCount,
        projectIds: values.projectIds,
        ambiguous: false,
        attemptCount: 0,
        exposedMs: 0,
      }));
  }

  async function measure() {
    const alive = sql`filter (where ${failedEvents.quarantinedAt} is null)`;
    const apart = sql`filter (where ${failedEvents.quarantinedAt} is not null)`;
    const [depth] = await answerOf(
      db
        .select({
          rows: sql<string>`count(*) ${alive}`.mapWith(Number),
          events: sql<string>`coalesce(sum(${failedEvents.eventCount}) ${alive}, 0)`.mapWith(Number),
          bytes: sql<string>`coalesce(sum(${failedEvents.rawBytes}) ${alive}, 0)`.mapWith(Number),
          oldestAt: sql<string | null>`floor(extract(epoch from min(${failedEvents.createdAt}) ${alive}) * 1000)`,
          quarantinedRows: sql<string>`count(*) ${apart}`.mapWith(Number),
          quarantinedEvents: sql<string>`coalesce(sum(${failedEvents.eventCount}) ${apart}, 0)`.mapWith(Number),
        })
        .from(failedEvents),
    );
    return { ...depth!, oldestAt: depth!.oldestAt === null ? null : Number(depth!.oldestAt) };
  }

  /** Changes the letter if the lease is still ours. */
  async function change(
    letter: DeadLetter,
    values: Parameters<ReturnType<typeof db.update<typeof failedEvents>>['set']>[0],
  ) {
    const changed = await answerOf(
      db.update(failedEvents).set(values).where(isHeld(letter)).returning({ id: failedEvents.id }),
    );
    return changed.length > 0;
  }
}

const isHeld = ({ id, leaseToken }: DeadLetter) =>
  and(eq(failedEvents.id, id), eq(failedEvents.leaseToken, leaseToken));

const inMs = (ms: number) => sql`now() + ${ms} * interval '1 millisecond'`;

/** How many parts before this one have the same bytes, as when a client sent one event twice. */
function twinsBefore(parts: readonly Part[], place: number): number {
  const own = parts[place]!.rows;
  return parts
    .slice(0, place)
    .filter(({ rows }) => rows.length === own.length && rows.every((row, index) => row.equals(own[index]!))).length;
}

async function childOf(letter: DeadLetter, { rows: parts, bad }: Part, twins: number) {
  const rows = Buffer.concat(parts);
  const values = {
    id: childId(letter.id, rows, twins),
    payload: await compress(rows),
    rawBytes: rows.length,
    eventCount: parts.length,
    projectIds: [...new Set(parts.flatMap((row) => idsOf(row)?.projectId ?? []))],
  };
  return { values, rows, bad };
}

/** A UUID v8 that follows from parent and rows, so that a split repeated after a crash makes the same letters. */
function childId(parentId: string, rows: Buffer, twins: number): string {
  return uuidOf(Buffer.concat([Buffer.from(twins === 0 ? parentId : `${parentId} ${twins}`), rows]));
}

function auditOf(letter: DeadLetter, action: string, detail: object) {
  return { failedEventId: letter.id, action, actor: ACTOR, eventCount: letter.eventCount, detail };
}

function describeFailure(failure: InsertFailure) {
  return {
    errorClass: failure.failureClass,
    errorCode: failure.code,
    errorFingerprint: fingerprintOf(failure),
    lastError: failure.message.slice(0, MAX_ERROR_CHARACTERS),
  };
}

/** The same for failures with the same cause: class, code, and the message without its numbers. */
export function fingerprintOf({ failureClass, code, message }: InsertFailure): string {
  const normalised = message.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID').replaceAll(/\d+/g, 'N');
  return hash('sha256', `${failureClass} ${code} ${normalised}`).slice(0, 16);
}
