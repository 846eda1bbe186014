/** What compares tables with each other has to see them as of one time. A replica fetches each by itself, sooner or later. */
import type { ClickHouseClient } from '@clickhouse/client';
import { askOf } from '../connection/ask.ts';
import { type Place, readLayout } from '../connection/layout.ts';
import { quoted } from '../connection/quoting.ts';

/** Those that the counted copies are found from, and kept in. */
const TABLES = ['events_raw_v1', 'event_counts_hourly', 'event_copies'] as const;
const PATIENCE_S = 30;

/**
 * Resolves when this server has all that any replica had taken of these tables; at once where it is the only one. Throws
 * `LayoutRefused`, and what the driver throws: also when it takes too long, as while a server is away that alone has some
 * of it.
 */
export async function catchUp(client: ClickHouseClient, place: Place): Promise<void> {
  const { kind } = await readLayout(askOf(client, place.database), place);
  if (kind !== 'cluster' && kind !== 'replicated database') return;
  for (const table of TABLES) {
    await client.command({
      query: `SYSTEM SYNC REPLICA ${quoted(place.database)}.${table} LIGHTWEIGHT`,
      clickhouse_settings: { receive_timeout: PATIENCE_S, wait_end_of_query: 1 },
    });
  }
}
