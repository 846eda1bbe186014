/**
 * The migrations of this version and the tables that record the applied ones: drizzle's, in its own schema beside
 * `public`. Where Weir's tables are in another schema, or will be because the search path begins with it, these are
 * there too, so that several installations may share a database.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientBase, Pool } from 'pg';
import { readMigrationFiles } from '../connection/drizzle.ts';
import { plainAnswerOf, SchemaMissing } from '../connection/errors.ts';
import { fileOfRoot } from '../../runtime/own-files.ts';

/** Migrations that are applied and recorded together. */
export type MigrationSet = {
  readonly directory: string;
  /** The name of the table that records them. */
  readonly recordedIn: string;
};

const DIRECTORY = fileOfRoot('drizzle');

/** Dead letters, projects, tokens, switches: every Weir has them. */
export const CONTROL_MIGRATIONS: MigrationSet = { directory: DIRECTORY, recordedIn: '__drizzle_migrations' };

/** The event store on Postgres: only a Weir that keeps its events there has it. */
export const EVENT_MIGRATIONS: MigrationSet = {
  directory: join(DIRECTORY, 'events'),
  recordedIn: '__drizzle_migrations_events',
};

export type Migration = {
  readonly name: string;
  /** Epoch milliseconds; by these drizzle knows which were applied. */
  readonly when: number;
  readonly hash: string;
  readonly statements: readonly string[];
};

/** Every migration of this version by name, in order. */
export function readJournal({ directory } = CONTROL_MIGRATIONS): readonly {
  readonly tag: string;
  readonly when: number;
}[] {
  const journal = readFileSync(join(directory, 'meta/_journal.json'), 'utf8');
  return (JSON.parse(journal) as { entries: { tag: string; when: number }[] }).entries;
}

/** The same with their statements. */
export function readMigrations(set = CONTROL_MIGRATIONS): Migration[] {
  const files = readMigrationFiles({ migrationsFolder: set.directory });
  return readJournal(set).map(({ tag, when }, place) => {
    const { sql, hash } = files[place]!;
    return { name: tag, when, hash, statements: sql };
  });
}

export type MigrationsTable = {
  readonly schema: string;
  /** Schema and name, quoted. */
  readonly table: string;
  readonly exists: boolean;
};

/** Throws `SchemaMissing` and `PostgresFailure`. */
export async function findMigrationsTable(
  connection: Pool | ClientBase,
  { recordedIn } = CONTROL_MIGRATIONS,
): Promise<MigrationsTable> {
  const { rows } = await plainAnswerOf(
    (connection as Pool).query<{ schema: string | null; table: string; exists: boolean }>(
      `
      WITH found AS (SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
          WHERE relname = 'failed_events_audit' AND pg_table_is_visible(pg_class.oid)),
        place AS (SELECT coalesce((SELECT nspname FROM found), current_schema()) AS schema),
        home AS (SELECT CASE schema WHEN 'public' THEN 'drizzle' ELSE schema END AS schema FROM place)
      SELECT schema, quote_ident(schema) || '.' || $1 AS table,
        EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
          WHERE nspname = schema AND relname = $1) AS exists
      FROM home`,
      [recordedIn],
    ),
  );
  const { schema, table, exists } = rows[0]!;
  if (schema === null) throw new SchemaMissing();
  return { schema, table, exists };
}
