/** Questions the command line asks of Postgres itself, and its failures in words for an operator. */
import { readFileSync } from 'node:fs';
import type { Pool } from 'pg';
import { postgresFailureOf } from './errors.ts';

export type PostgresFacts = { readonly version: string; readonly nowMs: number; readonly appliedMigrations: number };

/** Throws what the driver throws. */
export async function askPostgres(pool: Pool): Promise<PostgresFacts> {
  const { rows } = await pool.query<{ version: string; now_ms: string; migrations: string | null }>(
    `SELECT current_setting('server_version') AS version,
            extract(epoch FROM clock_timestamp()) * 1000 AS now_ms,
            to_regclass('drizzle.__drizzle_migrations')::text AS migrations`,
  );
  const { version, now_ms: nowMs, migrations } = rows[0]!;
  return { version, nowMs: Number(nowMs), appliedMigrations: migrations === null ? 0 : await countMigrations(pool) };
}

async function countMigrations(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM drizzle.__drizzle_migrations',
  );
  return rows[0]!.count;
}

/** The migrations this version comes with. */
export function countKnownMigrations(): number {
  const journal = readFileSync(new URL('../../drizzle/meta/_journal.json', import.meta.url), 'utf8');
  return (JSON.parse(journal) as { entries: unknown[] }).entries.length;
}

/** Failures in words for an operator, by the driver's code. The driver's own text may hold values. */
export function explainFailure(error: unknown): string {
  const { code } = postgresFailureOf(error);
  switch (code) {
    case null:
      return 'Postgres does not answer: check that it runs and that the address is right';
    case 'ECONNREFUSED':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
      return `Postgres cannot be reached (${code}): check that it runs and that the address is right`;
    case '28P01':
    case '28000':
      return 'Postgres refused the user or the password: check both';
    case '3D000':
      return 'Postgres has no such database: create it, or correct the name';
    case '42P01':
    case '42703':
      return 'The Postgres schema is missing or old: run `weir migrate`';
    case '42501':
      return 'The Postgres user lacks a right it needs: grant it the tables of Weir';
    default:
      return `Postgres failed (${code}): look the code up among the error codes of Postgres`;
  }
}
