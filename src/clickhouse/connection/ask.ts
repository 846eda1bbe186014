import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';

/** The rows of a query. Throws what the driver throws. */
export async function ask<Row>(
  client: ClickHouseClient,
  query: string,
  query_params: Record<string, unknown> = {},
  clickhouse_settings: ClickHouseSettings = {},
): Promise<Row[]> {
  const answer = await client.query({ query, query_params, format: 'JSONEachRow', clickhouse_settings });
  return answer.json<Row>();
}

export type Ask = <Row>(query: string, params?: Record<string, unknown>) => Promise<Row[]>;

/** Asks about `database`, the parameter of that name, which may not exist yet. Throws what the driver throws. */
export const askOf =
  (client: ClickHouseClient, database: string): Ask =>
  (query, params = {}) =>
    // The first database named counts, before the client's own.
    ask(client, query, { database, ...params }, { database: 'default' });
