import type { ClickHouseClient } from '@clickhouse/client';

/** Counts of what ClickHouse holds, for comparison. */
export type StoredCounts = {
  /** Rows as stored; copies of an event disappear when parts are merged. */
  readonly rows: number;
  /** Rows without those copies. */
  readonly distinctRows: number;
  /** The sum of the hourly counts: every row that ever landed, copies included. */
  readonly landed: number;
};

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
  return {
    rows: Number(counts!.rows),
    distinctRows: Number(counts!.distinct_rows),
    landed: Number(counts!.landed ?? 0),
  };
}
