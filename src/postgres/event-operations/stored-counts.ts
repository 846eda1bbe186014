import type { Pool } from 'pg';
import type { StoredCounts } from '../../pipeline/operator-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';

/** Of batches that are remembered, and of those that are not any more. */
const COPIES = `(SELECT coalesce(sum(copies), 0) FROM analytics.event_batches) +
  (SELECT coalesce(sum(copies), 0) FROM analytics.forgotten_batches)`;

/**
 * Counts everything, or one project. Reads the whole table. Copies of events are counted when their batch is, so only
 * of all projects together. Throws `PostgresFailure`.
 */
export async function countStored(pool: Pool, projectId: string | null): Promise<StoredCounts> {
  const where = projectId === null ? '' : 'WHERE project_id = $1';
  const copies = projectId === null ? COPIES : '0';
  const { rows } = await plainAnswerOf(
    // One statement, so that an insert in between is in all of them or in none.
    pool.query<Record<'rows' | 'counted' | 'copies', string>>(
      `SELECT (SELECT count(*) FROM analytics.events_raw ${where}) AS rows,
         (SELECT coalesce(sum(events), 0) FROM analytics.event_counts_hourly ${where}) AS counted, ${copies} AS copies`,
      projectId === null ? [] : [projectId],
    ),
  );
  const found = rows[0]!;
  const counted = Number(found.counted);
  return {
    rows: Number(found.rows),
    distinctRows: Number(found.rows),
    counted,
    landed: counted + Number(found.copies),
  };
}
