/** The statements of the migrations, as tables of several servers need them. Those of one server are as they are written. */
import type { Layout } from '../connection/layout.ts';
import { literal } from '../connection/quoting.ts';
import { NEW_KEY, OLD_KEY } from './event-tables.ts';

/** How long replicas remember an insert: as many inserts as one server does, or a week. */
const REMEMBERED_S = 7 * 24 * 60 * 60;

const WINDOW = /\bnon_replicated_deduplication_window = (\d+)/;
const ENGINE = /\bENGINE = (\w*MergeTree)\b/;
const NAMED =
  /^(?:CREATE (?:OR REPLACE )?(?:TABLE|MATERIALIZED VIEW|VIEW|DATABASE) (?:IF NOT EXISTS )?|ALTER TABLE )(?:`(?:[^`\\]|\\.)*`|[\w.])+/;

/** With the settings by which tables of several servers remember inserts, in place of those of one server. */
export const withSharedWindow = (statement: string): string =>
  statement.replace(
    WINDOW,
    (_, inserts: string) =>
      `replicated_deduplication_window = ${inserts}, replicated_deduplication_window_seconds = ${REMEMBERED_S}`,
  );

/**
 * A statement of a migration for this layout: its tables replicated, with the windows in which they recognise repeated
 * inserts, and carried out on every server. The path of a replica is the server's default one (`default_replica_path`).
 */
export function statementFor(layout: Layout, statement: string): string {
  if (layout.kind === 'single' || layout.kind === 'unnamed') return statement;
  // Shared tables are not rebuilt: they have the key from the start.
  const shared = withSharedWindow(statement).replace(`ORDER BY (${OLD_KEY})`, () => `ORDER BY (${NEW_KEY})`);
  // ClickHouse Cloud makes every table a shared one.
  if (layout.kind === 'cloud') return shared;
  const replicated = shared.replace(ENGINE, (_, engine: string) => `ENGINE = Replicated${engine}`);
  if (layout.kind !== 'cluster') return replicated;
  return replicated.replace(NAMED, (head) => `${head} ON CLUSTER ${literal(layout.cluster)}`);
}
