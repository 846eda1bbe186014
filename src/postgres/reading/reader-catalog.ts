/** What a project can query, as `GET …/schema` lists it. Throws what the driver throws. */
import type { Pool } from 'pg';
import type { TableDescription } from '../../pipeline/read-ports.ts';
import { READABLE_TABLES } from './reader-tables.ts';

const MAX_EVENT_NAMES = 1_000;

type Described = { readonly table: string; readonly name: string; readonly type: string; readonly comment: string };

export async function describeTables(pool: Pool): Promise<TableDescription[]> {
  const { rows } = await pool.query<Described>(COLUMNS);
  const columns = Map.groupBy(rows, ({ table }) => table);
  return READABLE_TABLES.filter(({ name }) => columns.has(name)).map(({ name: table, comment }) => ({
    name: table,
    comment,
    columns: columns.get(table)!.map(({ name, type, comment: about }) => ({ name, type, comment: about })),
  }));
}

const COLUMNS = `
  SELECT CASE nspname WHEN 'analytics' THEN relname ELSE nspname || '.' || relname END AS table, attname AS name,
    CASE WHEN t.typcategory = 'A' THEN e.typname || '[]' ELSE t.typname END AS type,
    coalesce(col_description(c.oid, attnum), '') AS comment
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
  JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  JOIN pg_type AS t ON t.oid = atttypid LEFT JOIN pg_type AS e ON e.oid = t.typelem
  WHERE nspname IN ('analytics', 'monitor') ORDER BY nspname, relname, attnum`;

/** The most frequent first. */
export async function eventNames(pool: Pool, projectId: string): Promise<string[]> {
  const { rows } = await pool.query<{ event: string }>(
    `SELECT event FROM analytics.event_counts_hourly WHERE project_id = $1
     GROUP BY event ORDER BY sum(events) DESC, event COLLATE "C" LIMIT ${MAX_EVENT_NAMES}`,
    [projectId],
  );
  return rows.map(({ event }) => event);
}
