import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Layout } from '../connection/layout.ts';

/** A replica was not there to carry a change out. It does when it is back. */
const UNFINISHED = '341';
/** How long one is waited for that does not answer. */
const ABSENT_S = 10;

/** Carries out a statement that changes tables, on all replicas that are there. Throws what the driver throws. */
export async function changeSchema(
  client: ClickHouseClient,
  query: string,
  layout: Layout,
  settings: ClickHouseSettings = {},
): Promise<void> {
  const ofLayout = settingsOf(layout);
  try {
    // On a cluster behind one address the statement is complete when it answers.
    await client.command({ query, clickhouse_settings: { wait_end_of_query: 1, ...ofLayout, ...settings } });
  } catch (error) {
    if (ofLayout === NONE || (error as { code?: unknown }).code !== UNFINISHED) throw error;
  }
}

const NONE: ClickHouseSettings = {};
/** What follows relies on the change, on whichever replica. */
const EVERYWHERE = {
  alter_sync: '2',
  replication_wait_for_inactive_replica_timeout: String(ABSENT_S),
  // The driver's type lacks this one.
  distributed_ddl_output_mode: 'throw_only_active',
} as unknown as ClickHouseSettings;

const settingsOf = ({ kind }: Layout): ClickHouseSettings =>
  kind === 'cluster' || kind === 'replicated database' ? EVERYWHERE : NONE;
