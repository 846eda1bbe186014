import type { ClickHouseClient } from '@clickhouse/client';

export type ClickHouseFacts = {
  readonly version: string;
  readonly nowMs: number;
  readonly disks: readonly { readonly name: string; readonly freeBytes: number; readonly totalBytes: number }[];
};

const UNKNOWN_DATABASE = '81';

type DiskRow = { name: string; free: string; total: string };

/** What the command line asks of ClickHouse itself. Throws what the driver throws. */
export async function askClickHouse(client: ClickHouseClient): Promise<ClickHouseFacts> {
  const [server] = await rowsOf<{ version: string; now_ms: string }>(
    client,
    'SELECT version() AS version, toString(toUnixTimestamp64Milli(now64(3))) AS now_ms',
  );
  return { version: server!.version, nowMs: Number(server!.now_ms), disks: await disksOf(client) };
}

/** Throws unless ClickHouse answers and takes our credentials. The database may still be missing. */
export async function knock(client: ClickHouseClient): Promise<void> {
  const answer = await client.ping({ select: true });
  if (!answer.success && (answer.error as { code?: unknown }).code !== UNKNOWN_DATABASE) throw answer.error;
}

async function disksOf(client: ClickHouseClient): Promise<ClickHouseFacts['disks']> {
  const rows = await rowsOf<DiskRow>(
    client,
    // Object storage has no end worth watching.
    "SELECT name, toString(free_space) AS free, toString(total_space) AS total FROM system.disks WHERE type = 'Local'",
  );
  return rows.map(({ name, free, total }) => ({ name, freeBytes: Number(free), totalBytes: Number(total) }));
}

async function rowsOf<T>(client: ClickHouseClient, query: string): Promise<T[]> {
  const result = await client.query({ query, format: 'JSONEachRow' });
  return result.json<T>();
}

/** What went wrong and what to do, without the server's text. */
export function explainFailure(error: unknown): string {
  const given = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  const code = typeof given === 'string' || typeof given === 'number' ? String(given) : '';
  switch (code) {
    case '60':
    case UNKNOWN_DATABASE:
      return 'The ClickHouse schema is missing: run `weir migrate`';
    case '516':
    case '194':
    case '192':
      return 'ClickHouse refused the user or the password: check both';
    case '497':
      return 'The ClickHouse user lacks a right it needs: grant it its database and system.disks';
    default:
      return `ClickHouse cannot be reached or failed${code === '' ? '' : ` (${code})`}: check that it runs and that the address is right`;
  }
}
