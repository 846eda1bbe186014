import type { ClickHouseClient } from '@clickhouse/client';
import { ask } from '../connection/ask.ts';

export type ClickHouseFacts = {
  readonly version: string;
  readonly nowMs: number;
  readonly disks: readonly { readonly name: string; readonly freeBytes: number; readonly totalBytes: number }[];
};

const UNKNOWN_DATABASE = '81';

type DiskRow = { name: string; free: string; total: string };

/** ClickHouse's own facts for the command line. Throws what the driver throws. */
export async function askClickHouse(client: ClickHouseClient): Promise<ClickHouseFacts> {
  const [server] = await ask<{ version: string; now_ms: string }>(
    client,
    'SELECT version() AS version, toString(toUnixTimestamp64Milli(now64(3))) AS now_ms',
  );
  return { version: server!.version, nowMs: Number(server!.now_ms), disks: await disksOf(client) };
}

/** Throws unless ClickHouse answers and accepts the credentials. The database may still be missing. */
export async function checkConnectivity(client: ClickHouseClient): Promise<void> {
  const answer = await client.ping({ select: true });
  if (!answer.success && (answer.error as { code?: unknown }).code !== UNKNOWN_DATABASE) throw answer.error;
}

async function disksOf(client: ClickHouseClient): Promise<ClickHouseFacts['disks']> {
  const rows = await ask<DiskRow>(
    client,
    // Object storage has no capacity limit to watch.
    "SELECT name, toString(free_space) AS free, toString(total_space) AS total FROM system.disks WHERE type = 'Local'",
  );
  return rows.map(({ name, free, total }) => ({ name, freeBytes: Number(free), totalBytes: Number(total) }));
}
