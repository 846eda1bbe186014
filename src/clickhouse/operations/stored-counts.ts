import type { ClickHouseClient } from '@clickhouse/client';
import type { StoredCounts } from '../../pipeline/operator-port.ts';

/**
 * Counts everything, or one project. Reads the whole table. Events may land meanwhile, so the hourly counts are read
 * before the rows and after them: between those two lies what they said at the moment of the rows, and `counted` is the
 * one of these numbers that is nearest to the rows. Throws what the driver throws.
 */
export async function countStored(client: ClickHouseClient, projectId: string | null): Promise<StoredCounts> {
  const where = projectId === null ? '' : 'WHERE project_id = {project:UUID}';
  const read = async (columns: string): Promise<Readonly<Record<string, string>>> => {
    const query_params = projectId === null ? {} : { project: projectId };
    const answer = await client.query({ query: `SELECT ${columns}`, query_params, format: 'JSONEachRow' });
    return (await answer.json<Record<string, string>>())[0]!;
  };
  const countHours = async () =>
    Number((await read(`toString(sum(events)) AS events FROM event_counts_hourly ${where}`))['events']);

  const before = await countHours();
  const counts = await read(
    `toString((SELECT count() FROM events_raw_v1 ${where})) AS rows,
     toString((SELECT count() FROM events_raw_v1 FINAL ${where})) AS distinct_rows`,
  );
  const after = await countHours();
  const distinctRows = Number(counts['distinct_rows']);
  return {
    rows: Number(counts['rows']),
    distinctRows,
    counted: Math.max(before, Math.min(after, distinctRows)),
    // Every row is counted when it lands, copies included.
    landed: after,
  };
}
