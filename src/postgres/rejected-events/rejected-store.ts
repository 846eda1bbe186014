/**
 * Keeps rejected events within limits that hold whenever a transaction ends, whoever else writes: a number and a size
 * for each project, and a size for all. The newest stay.
 */
import type { Log } from '../../log/log.ts';
import type { KeepOutcome, RejectedEvent, RejectedStore } from '../../pipeline/rejected-port.ts';
import { answerOf, postgresFailureOf } from '../connection/errors.ts';
import { sql } from '../connection/drizzle.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { uuids } from '../connection/uuids.ts';
import { rejectedEvents } from '../connection/schema.ts';
import { isDiskFull } from '../dead-letters/disk-room.ts';

export type RejectedLimits = {
  /** Events of each project. */
  readonly perProject: number;
  readonly keepForMs: number;
  /** Of the events of one project, and of all; absent: what is right for Weir. */
  readonly bytesPerProject?: number;
  readonly bytesInAll?: number;
};

const MIB = 1024 * 1024;
/** The most bytes of events of one project, and of all: what a small Postgres never notices. */
const BYTES_PER_PROJECT = 16 * MIB;
const BYTES_IN_ALL = 64 * MIB;
/** How many a step of the expiry deletes. */
const EXPIRE_STEP = 5_000;

/** `hasRoom`: whether Postgres has room for dead letters, which come first. */
export function createRejectedStore(
  { db, log, hasRoom }: { db: Database; log: Log; hasRoom: () => boolean },
  { perProject, keepForMs, bytesPerProject = BYTES_PER_PROJECT, bytesInAll = BYTES_IN_ALL }: RejectedLimits,
): RejectedStore {
  let saidCode: string | null = null;

  return { keep, expire };

  async function keep(events: readonly RejectedEvent[]): Promise<KeepOutcome> {
    if (!hasRoom()) return 'refused';
    try {
      await answerOf(db.transaction((tx) => insert(tx, events)));
      saidCode = null;
      return 'kept';
    } catch (error) {
      return failed(error);
    }
  }

  function failed(error: unknown): KeepOutcome {
    const failure = postgresFailureOf(error);
    // To wait for room would compete with the dead letters for it.
    if (failure.isUnavailable && !isDiskFull(failure)) return 'away';
    if (failure.code !== saidCode) log.warn({ err: failure, code: failure.code }, 'rejected events cannot be kept');
    saidCode = failure.code;
    return 'refused';
  }

  async function insert(tx: Transaction, events: readonly RejectedEvent[]): Promise<void> {
    // One transaction at a time: each then sees what is there, and what it leaves is within the limits.
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('rejected_events', 0))`);
    const projectIds = uuids([...new Set(events.map(({ projectId }) => projectId))]);
    // Locked, so that a deletion of the project waits and then finds them.
    const { rows } = await tx.execute<{ id: string }>(
      sql`select id from projects where id = any(${projectIds}) and deleted_at is null order by id for share`,
    );
    const alive = new Set(rows.map(({ id }) => id));
    const values = events.filter(({ projectId }) => alive.has(projectId)).map(valuesOf);
    if (values.length === 0) return;
    await tx.insert(rejectedEvents).values(values).onConflictDoNothing();
    await tx.execute(sql`
      delete from rejected_events using (
        select id, row_number() over newest as place, sum(size) over newest as total
        from rejected_events where project_id = any(${projectIds})
        window newest as (partition by project_id order by id desc)
      ) as ranked
      where rejected_events.id = ranked.id and (place > ${perProject} or total > ${bytesPerProject})`);
    await trimAll(tx, bytesInAll);
  }

  async function expire(): Promise<void> {
    try {
      for (;;) {
        const { rowCount } = await answerOf(
          db.execute(sql`
            delete from rejected_events where id in (
              select id from rejected_events
              where kept_at < now() - ${keepForMs} * interval '1 millisecond'
              limit ${EXPIRE_STEP} for update skip locked
            )`),
        );
        if ((rowCount ?? 0) < EXPIRE_STEP) return;
      }
    } catch (error) {
      failed(error);
    }
  }
}

async function trimAll(tx: Transaction, maxBytes: number): Promise<void> {
  const { rows } = await tx.execute<{ bytes: string }>(
    sql`select coalesce(sum(size), 0) as bytes from rejected_events`,
  );
  if (Number(rows[0]!.bytes) <= maxBytes) return;
  await tx.execute(sql`
    delete from rejected_events using (
      select id, sum(size) over (order by id desc) as total from rejected_events
    ) as ranked
    where rejected_events.id = ranked.id and total > ${maxBytes}`);
}

function valuesOf({ id, projectId, door, path, kind, reason, bytes, index, receivedAt, facts }: RejectedEvent) {
  return {
    id,
    projectId,
    door,
    path,
    kind,
    reason,
    bytes,
    facts,
    size: bytes.length,
    position: index,
    receivedAt: new Date(receivedAt),
  };
}
