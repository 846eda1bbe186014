/** The table of events as operators look at it, when it does not take a row. */
import { type Pool, escapeIdentifier } from 'pg';
import { ROW_FIELDS } from '../../event/row.ts';
import type { DescribedTable, EventsOfDay } from '../../pipeline/operator-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';

const TABLE = 'analytics.events_raw';

/** Other columns have defaults, or are somebody else's. */
const CARRIED: ReadonlySet<string> = new Set(ROW_FIELDS);

const READ = `
  SELECT coalesce((SELECT json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod)) ORDER BY attnum)
      FROM pg_attribute WHERE attrelid = to_regclass('${TABLE}') AND attnum > 0 AND NOT attisdropped), '[]') AS columns,
    coalesce((SELECT json_agg(json_build_object('name', conname, 'expression', pg_get_constraintdef(oid)) ORDER BY conname)
      FROM pg_constraint WHERE conrelid = to_regclass('${TABLE}') AND contype IN ('c', 'u', 'f')), '[]') AS constraints`;

/** Throws `PostgresFailure`. */
export async function describeTable(pool: Pool): Promise<DescribedTable> {
  type Described = { columns: { name: string; type: string }[]; constraints: DescribedTable['constraints'] };
  const { rows } = await plainAnswerOf(pool.query<Described>(READ));
  const { columns, constraints } = rows[0]!;
  return {
    name: TABLE,
    columns: columns.map((column) => ({ ...column, isCarried: CARRIED.has(column.name) })),
    constraints,
    dropConstraint: (name) => `ALTER TABLE ${TABLE} DROP CONSTRAINT ${escapeIdentifier(name)}`,
    allowAbsence: (column) => `ALTER TABLE ${TABLE} ALTER COLUMN ${escapeIdentifier(column)} DROP NOT NULL`,
  };
}

/** Throws `PostgresFailure`. */
export async function countByDay(pool: Pool, projectId: string, { since }: { since: string }): Promise<EventsOfDay[]> {
  const { rows } = await plainAnswerOf(
    pool.query<{ day: string; events: string }>(
      `SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, sum(events) AS events FROM analytics.event_counts_hourly
       WHERE project_id = $1 AND hour >= $2::date::timestamp AT TIME ZONE 'UTC' GROUP BY day ORDER BY day`,
      [projectId, since],
    ),
  );
  return rows.map(({ day, events }) => ({ day, events: Number(events) }));
}
