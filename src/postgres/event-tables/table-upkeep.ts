/**
 * What the tables of events need from time to time: partitions ahead of their month, an end for what has expired, and
 * for what is known of old batches. One process at a time does it; nobody who inserts waits for longer than a moment.
 */
import { sql } from '../connection/drizzle.ts';
import { answerOf, plainAnswerOf, postgresFailureOf } from '../connection/errors.ts';
import type { Database, Transaction } from '../connection/pool.ts';

/** Beside the lock of migrations: "weir" in ASCII, and the first of its kind. */
const LOCK = `pg_try_advisory_xact_lock(x'77656972'::int, 1)`;
/** Everybody waits behind a lock that is waited for. And a partition is never read as a whole: indexes tell. */
const SETTINGS = `SET LOCAL lock_timeout = '300ms'; SET LOCAL enable_seqscan = off`;
/** Deleted in one transaction. */
const MAX_ROWS = 5_000;
const REMEMBERED = '90 days';

/**
 * Does some of it in one transaction, a matter of seconds; resolves to how many tables and rows that was, 0 when nothing
 * was left or another process is at it. Throws `PostgresFailure`.
 */
export const createTableUpkeep = (db: Database) => (): Promise<number> =>
  answerOf(
    db.transaction(async (tx) => {
      if (!(await ask<boolean>(tx, `SELECT ${LOCK} AS answer`))) return 0;
      await tx.execute(sql.raw(SETTINGS));
      return (
        (await addPartitionsAhead(tx)) ||
        (await dropExpired(tx)) ||
        (await deleteExpired(tx)) ||
        (await forgetBatches(tx))
      );
    }),
  );

/** The one value of a statement's answer. */
async function ask<T>(tx: Transaction, statement: string): Promise<T | null> {
  const { rows } = await plainAnswerOf(tx.execute<{ answer: T }>(sql.raw(statement)));
  return rows[0]?.answer ?? null;
}

/** For this month and the next two: how many were missing. */
async function addPartitionsAhead(tx: Transaction): Promise<number> {
  const added = await ask<number>(
    tx,
    `SELECT count(analytics.add_partition(date_trunc('month', now(), 'UTC') + ahead * interval '32 days'))::int AS answer
     FROM generate_series(0, 2) AS ahead`,
  );
  return added ?? 0;
}

/** A partition of an earlier month in which every row has expired goes as a whole: 1, or 0 where there is none. */
async function dropExpired(tx: Transaction): Promise<number> {
  for (const name of (await ask<string[]>(tx, PARTITIONS_BEFORE)) ?? []) {
    if ((await ask<boolean>(tx, isGone(name))) && (await dropIfGone(tx, name))) return 1;
  }
  return 0;
}

/** False when it is in use, or a row has arrived late. */
async function dropIfGone(tx: Transaction, name: string): Promise<boolean> {
  try {
    return await tx.transaction(async (nested) => {
      // Rows that arrive late wait, and are looked at or find another partition.
      await nested.execute(sql.raw(`LOCK TABLE ${name} IN SHARE MODE`));
      if (!(await ask<boolean>(nested, isGone(name)))) return false;
      await nested.execute(sql.raw(`DROP TABLE ${name}`));
      return true;
    });
  } catch (error) {
    if (postgresFailureOf(error).isUnavailable) return false;
    throw error;
  }
}

/** Whether all its rows have expired; or, as vacuum has made of it, there is none. */
const isGone = (name: string) => `
  SELECT NOT EXISTS (SELECT FROM ${name} WHERE expires_at IS NULL)
    AND coalesce((SELECT max(expires_at) FROM ${name}) <= now(), pg_relation_size('${name}') = 0) AS answer`;

const PARTITIONS_BEFORE = `
  SELECT array_agg(format('%I.%I', nspname, relname) ORDER BY relname) AS answer
  FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace
  WHERE inhparent = 'analytics.events_raw'::regclass AND relkind = 'r'
  AND relname ~ '^events_raw_[0-9]{4}_[0-9]{2}$' AND relname < 'events_raw_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')`;

async function deleteExpired(tx: Transaction): Promise<number> {
  const name = await ask<string>(
    tx,
    `SELECT tableoid::regclass::text AS answer FROM analytics.events_raw WHERE expires_at <= now() LIMIT 1`,
  );
  if (name === null) return 0;
  const deleted = `WITH deleted AS (
      DELETE FROM ${name} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${name} WHERE expires_at <= now() ORDER BY expires_at LIMIT ${MAX_ROWS}))
      RETURNING 1)
    SELECT count(*)::int AS answer FROM deleted`;
  return (await ask<number>(tx, deleted)) ?? 0;
}

async function forgetBatches(tx: Transaction): Promise<number> {
  const forgotten = `WITH gone AS (
      DELETE FROM analytics.event_batches WHERE id IN (
        SELECT id FROM analytics.event_batches WHERE stored_at < now() - interval '${REMEMBERED}'
        ORDER BY stored_at LIMIT ${MAX_ROWS})
      RETURNING events, copies
    ), summed AS (
      SELECT count(*)::int AS batches, coalesce(sum(events), 0) AS events, coalesce(sum(copies), 0) AS copies FROM gone
    ), noted AS (
      UPDATE analytics.forgotten_batches AS known SET batches = known.batches + summed.batches,
        events = known.events + summed.events, copies = known.copies + summed.copies
      FROM summed WHERE summed.batches > 0
    )
    SELECT batches AS answer FROM summed`;
  return (await ask<number>(tx, forgotten)) ?? 0;
}
