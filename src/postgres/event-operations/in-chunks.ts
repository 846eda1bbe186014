/** Changes of many rows in short statements: none holds locks for long, and whatever ends one leaves whole chunks. */
import type { Pool } from 'pg';
import { plainAnswerOf } from '../connection/errors.ts';

/** Rows of one statement: a fraction of a second. */
const CHUNK = 5_000;

/** The partitions of the events, as they are named in statements, oldest first. Throws `PostgresFailure`. */
export async function partitionsOf(pool: Pool): Promise<string[]> {
  const { rows } = await plainAnswerOf(
    pool.query<{ name: string }>(
      `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_inherits AS i
       JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
       WHERE i.inhparent = 'analytics.events_raw'::regclass ORDER BY 1`,
    ),
  );
  return rows.map(({ name }) => name);
}

/**
 * Runs `statement` until it changes nothing more. It is given a condition on `ctid` for at most a chunk of the rows of
 * `table` that satisfy `where`. Throws `PostgresFailure`.
 */
export async function changeInChunks(
  pool: Pool,
  { table, where, statement }: { table: string; where: string; statement: (isChosen: string) => string },
  params: readonly unknown[],
  onChunk: (rows: number) => Promise<void> | void,
): Promise<number> {
  const isChosen = `ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE ${where} LIMIT ${CHUNK}))`;
  let changed = 0;
  for (;;) {
    const { rowCount } = await plainAnswerOf(pool.query(statement(isChosen), [...params]));
    if (rowCount === null || rowCount === 0) return changed;
    changed += rowCount;
    await onChunk(rowCount);
  }
}
