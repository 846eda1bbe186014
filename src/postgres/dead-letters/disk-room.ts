/**
 * Room on the disk of Postgres. A full disk accepts no INSERT, UPDATE or VACUUM, and where it also holds the WAL,
 * Postgres ends at its next checkpoint. So a few MiB are reserved in a table of filler, the ballast: DROP works on a
 * full disk and frees its room at once. While it is released no process adds letters, whichever released it: the room
 * is for the letters that wait to land, for VACUUM and for checkpoints.
 */
import { randomBytes } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import { NoRoom } from '../../pipeline/dead-letter-port.ts';
import { sql } from '../connection/drizzle.ts';
import { PostgresFailure, answerOf, postgresFailureOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';

export type DiskRoom = {
  /** Since when there has been no room, in epoch ms; null while there is. */
  shortSince(): number | null;
  /**
   * Call it before adding letters. Throws `NoRoom` while the remaining room is for waiting letters, and
   * `PostgresFailure`.
   */
  check(): Promise<void>;
  /** A statement that needs room succeeded. */
  worked(): void;
  /** A statement failed for lack of room: releases the ballast. Never throws. */
  makeRoom(): Promise<void>;
  /**
   * Creates or maintains the ballast; call it every few seconds. `waiting`: the number of letters, as far as is known.
   * Never throws.
   */
  tend(waiting: number | null): Promise<void>;
};

const MIB = 1024 * 1024;
/** SQLSTATE `disk_full`, also where a quota is used up. */
const DISK_FULL = '53100';
/** Where no letter waits there should be room. */
const AGAIN_WHEN_EMPTY_MS = 5_000;
/**
 * Otherwise an attempt to recreate the ballast may fill the disk for a moment, so the pause doubles. It stays short:
 * without room a single refused event keeps intake closed, and on a full disk an attempt ends at once.
 */
const AGAIN = { firstMs: 5_000, maxMs: 15_000 } as const;
/** Another process did the same at the same moment, or took away what this one had begun. */
const DONE_ALREADY: ReadonlySet<string | null> = new Set(['42P01', '42P07', '23505']);

export const isDiskFull = (error: unknown): boolean => postgresFailureOf(error).code === DISK_FULL;

/** Whether the ballast is there. Throws `PostgresFailure`. */
export async function hasBallast(pool: Pick<Pool, 'query'>): Promise<boolean> {
  const { rows } = await answerOf(
    pool.query<{ exists: boolean }>(`SELECT to_regclass('dead_letter_ballast') IS NOT NULL AS exists`),
  );
  return rows[0]!.exists;
}

/** A room without ballast, which needs no maintenance. */
export const UNTENDED: DiskRoom = {
  shortSince: () => null,
  check: async () => {},
  worked: () => {},
  makeRoom: async () => {},
  tend: async () => {},
};

/** The ballast while it is made, and as much again, as proof that there is room. */
const NEW = 'dead_letter_ballast_new';
const PROOF = 'dead_letter_ballast_proof';
const DROP_PARTS = `drop table if exists ${NEW}, ${PROOF}`;
/** "weir" in ASCII, and the second of its kind. */
const LOCK_KEYS = `x'77656972'::int, 2`;
const LOCK = `pg_try_advisory_xact_lock(${LOCK_KEYS})`;

/** `ballastBytes` 0: without ballast. Then only the state is kept. */
export function createDiskRoom(
  { db, clock, log }: { db: Database; clock: Clock; log: Log },
  { ballastBytes }: { ballastBytes: number },
): DiskRoom {
  let since: number | null = null;
  /** There is a ballast, or should be: from then on its absence means that it was released. */
  let isWanted = false;
  let triedAt = -Infinity;
  /** Attempts to recreate the ballast since the room ran short. */
  let tries = 0;
  let saidCode: string | null = null;

  return { shortSince: () => since, check, worked, makeRoom, tend };

  async function check() {
    if (ballastBytes === 0) return;
    const { rows } = await answerOf(
      db.execute<{ ballast: boolean }>(sql`select to_regclass('dead_letter_ballast') is not null as ballast`),
    );
    saw(rows[0]!.ballast);
    if (isWanted && since !== null) throw new NoRoom();
  }

  function saw(isThere: boolean) {
    if (isThere) {
      isWanted = true;
      hasRoom();
    } else if (isWanted) isShort();
  }

  function worked() {
    if (!isWanted) hasRoom();
  }

  async function makeRoom() {
    isShort();
    try {
      await answerOf(db.execute(sql`drop table if exists dead_letter_ballast`));
    } catch (error) {
      log.warn({ err: error }, 'ballast could not be dropped');
    }
  }

  async function tend(waiting: number | null) {
    if (ballastBytes === 0) return;
    try {
      const { rows } = await answerOf(
        db.execute<{ bytes: string | null }>(
          sql`select pg_total_relation_size(to_regclass('dead_letter_ballast')) as bytes`,
        ),
      );
      const bytes = rows[0]!.bytes;
      saw(bytes !== null);
      // A crash of Postgres empties it: the table is unlogged.
      const isWhole = bytes !== null && Number(bytes) >= ballastBytes;
      const pauseMs = waiting === 0 ? AGAIN_WHEN_EMPTY_MS : Math.min(AGAIN.firstMs * 2 ** tries, AGAIN.maxMs);
      if (!isWhole && clock.elapsed() - triedAt >= pauseMs) await setAside(waiting !== 0);
    } catch (error) {
      failed(postgresFailureOf(error));
    }
  }

  /** All or nothing; while letters wait only if as much again is free. */
  async function setAside(isProofNeeded: boolean) {
    triedAt = clock.elapsed();
    tries++;
    // Landed letters stay in the table until it is vacuumed; this does what autovacuum has no time for.
    if (since !== null) await answerOf(db.execute(sql`vacuum failed_events`)).catch(() => {});
    const parts = isProofNeeded ? [NEW, PROOF] : [NEW];
    // Another process is at it: it sees to what there is.
    if (!(await answerOf(db.transaction((tx) => createEmpty(tx, parts))))) return;
    try {
      await answerOf(db.transaction((tx) => fillAll(tx, parts)));
    } catch (error) {
      // Rows of an aborted transaction keep their pages.
      await answerOf(db.execute(sql.raw(DROP_PARTS))).catch(() => {});
      throw error;
    }
    saw(true);
  }

  async function fillAll(tx: Pick<Database, 'execute'>, parts: readonly string[]) {
    // Waits for nobody but one that creates the parts anew, and then fails for want of them.
    await tx.execute(sql.raw(`select pg_advisory_xact_lock(${LOCK_KEYS})`));
    for (const part of parts) await fill(tx, part);
    await tx.execute(sql.raw(`drop table if exists dead_letter_ballast, ${PROOF}`));
    await tx.execute(sql.raw(`alter table ${NEW} rename to dead_letter_ballast`));
  }

  /** Filler that no file system can compress. */
  async function fill(tx: Pick<Database, 'execute'>, table: string) {
    for (let bytes = 0; bytes < ballastBytes; bytes += MIB) {
      await tx.execute(sql`insert into ${sql.identifier(table)} values (${randomBytes(MIB)})`);
    }
  }

  function failed(failure: PostgresFailure) {
    const { code, isUnavailable } = failure;
    if (isDiskFull(failure)) {
      isWanted = true;
      isShort();
    } else if (!isUnavailable && code !== saidCode && !DONE_ALREADY.has(code)) {
      saidCode = code;
      log.warn({ err: failure, code }, 'ballast could not be created in Postgres');
    }
  }

  function isShort() {
    if (since !== null) return;
    since = clock.now();
    triedAt = clock.elapsed();
    tries = 0;
    log.error('Postgres has no room for dead letters');
  }

  function hasRoom() {
    if (since === null) return;
    since = null;
    log.info('Postgres has room for dead letters again');
  }
}

/**
 * In a transaction of its own, over in a moment, which nobody else makes fail: a Postgres 18 that is killed while one
 * is open that created an unlogged table does not start again (decision 28).
 */
async function createEmpty(tx: Pick<Database, 'execute'>, parts: readonly string[]): Promise<boolean> {
  const { rows } = await tx.execute<{ locked: boolean }>(sql.raw(`select ${LOCK} as locked`));
  if (!rows[0]!.locked) return false;
  await tx.execute(sql.raw(DROP_PARTS));
  for (const part of parts) {
    await tx.execute(sql`create unlogged table ${sql.identifier(part)} (filler bytea)`);
    await tx.execute(sql`alter table ${sql.identifier(part)} alter filler set storage external`);
  }
  return true;
}
