import type { ClickHouseClient } from '@clickhouse/client';
import type { StoredCounts } from '../../pipeline/operator-port.ts';

/** Counts everything, or one project. Reads the whole table. Throws what the driver throws. */
export async function countStored(client: ClickHouseClient, projectId: string | null): Promise<StoredCounts> {
  const where = projectId === null ? '' : 'WHERE project_id = {project:UUID}';
  const answer = await client.query({
    query: `SELECT
        toString((SELECT count() FROM events_raw_v1 ${where})) AS rows,
        toString((SELECT count() FROM events_raw_v1 FINAL ${where})) AS distinct_rows,
        toString((SELECT sum(events) FROM event_counts_hourly ${where})) AS landed`,
    query_params: projectId === null ? {} : { project: projectId },
    format: 'JSONEachRow',
  });
  const [counts] = await answer.json<{ rows: string; distinct_rows: string; landed: string | null }>();
  // Every row is counted when it lands, copies included.
  const landed = Number(counts!.landed ?? 0);
  return { rows: Number(counts!.rows), distinctRows: Number(counts!.distinct_rows), counted: landed, landed };
}
