/** Checks Postgres itself for the command line. */
import type { Pool } from 'pg';
import { plainAnswerOf } from '../connection/errors.ts';
import { findMigrationsTable } from '../migrations/migrations.ts';

export type PostgresFacts = { readonly version: string; readonly nowMs: number; readonly appliedMigrations: number };

/**
 * Throws `SchemaMissing`, and `PostgresFailure` with the server's words: the statements hold nothing that a client
 * sent.
 */
export async function askPostgres(pool: Pool): Promise<PostgresFacts> {
  const { rows } = await plainAnswerOf(
    pool.query<{ version: string; now_ms: string }>(
      `SELECT current_setting('server_version') AS version,
              extract(epoch FROM clock_timestamp()) * 1000 AS now_ms`,
    ),
  );
  const { version, now_ms: nowMs } = rows[0]!;
  return { version, nowMs: Number(nowMs), appliedMigrations: await countMigrations(pool) };
}

async function countMigrations(pool: Pool): Promise<number> {
  const { table, exists } = await findMigrationsTable(pool);
  if (!exists) return 0;
  const { rows } = await plainAnswerOf(pool.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${table}`));
  return rows[0]!.count;
}
