/** What Weir's user may not do in Postgres although Weir needs it: for `weir doctor`. */
import type { Pool } from 'pg';
import { getTableName } from '../connection/drizzle.ts';
import { plainAnswerOf } from '../connection/errors.ts';
import {
  apiTokens,
  consoleLinks,
  consoleSessions,
  failedEvents,
  failedEventsAudit,
  failedEventsAuditLetters,
  operators,
  projects,
  rejectedEvents,
  settings,
} from '../connection/schema.ts';

export const TABLES = [
  apiTokens,
  consoleLinks,
  consoleSessions,
  failedEvents,
  failedEventsAudit,
  failedEventsAuditLetters,
  operators,
  projects,
  rejectedEvents,
  settings,
].map(getTableName);

/**
 * The statements that grant the user what it lacks, each with its full stop; empty where it has everything or nothing
 * is migrated yet. They find the tables even where the user may not look into their schema. `createsTables`: for the
 * ballast. Throws `PostgresFailure`.
 */
export async function findMissingGrants(
  pool: Pick<Pool, 'query'>,
  { createsTables }: { createsTables: boolean },
): Promise<string[]> {
  const answer = pool.query<{ grant: string }>({ text: MISSING, values: [TABLES, createsTables] });
  const { rows } = await plainAnswerOf(answer);
  return rows.map(({ grant }) => grant);
}

/** By the schema in the search path that has the tables, and where its migrations are recorded. */
const MISSING = `
  WITH path AS (
    SELECT ordinality AS place, CASE part WHEN '$user' THEN current_user ELSE part END AS name
    FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS parts (raw, ordinality),
      trim(BOTH ' "' FROM raw) AS part
  ), home AS (
    SELECT n.oid, n.nspname FROM path
    JOIN pg_namespace n ON n.nspname = path.name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'failed_events_audit'
    ORDER BY place LIMIT 1
  ), wanted AS (
    SELECT 1 AS place, n.oid AS schema, NULL::oid AS relation, 'USAGE' AS "right"
    FROM pg_namespace n, home WHERE n.oid = home.oid OR (home.nspname = 'public' AND n.nspname = 'drizzle')
    UNION ALL
    SELECT 2, oid, NULL, 'CREATE' FROM home WHERE $2
    UNION ALL
    SELECT 3, n.oid, c.oid, 'SELECT' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, home
    WHERE c.relname = '__drizzle_migrations' AND n.nspname = CASE home.nspname WHEN 'public' THEN 'drizzle' ELSE home.nspname END
    UNION ALL
    SELECT 4, home.oid, c.oid, "right" FROM home JOIN pg_class c ON c.relnamespace = home.oid AND c.relname = ANY ($1),
      unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS "right"
  ), missing AS (
    SELECT place, "right", quote_ident(nspname) AS schema, CASE WHEN relation IS NULL THEN NULL ELSE quote_ident(relname) END AS relation
    FROM wanted JOIN pg_namespace n ON n.oid = wanted.schema LEFT JOIN pg_class c ON c.oid = relation
    WHERE NOT CASE WHEN relation IS NULL THEN has_schema_privilege(wanted.schema, "right")
      ELSE has_table_privilege(relation, "right") END
  )
  SELECT format('GRANT %s ON %s TO %I;', string_agg(DISTINCT "right", ', ' ORDER BY "right"),
    CASE WHEN relation IS NULL THEN 'SCHEMA ' || schema ELSE schema || '.' || relation END, current_user) AS grant
  FROM missing GROUP BY place, schema, relation ORDER BY place, schema, relation`;
