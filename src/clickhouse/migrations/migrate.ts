import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { askOf } from '../connection/ask.ts';
import { fileOfRoot } from '../../runtime/own-files.ts';
import { LEAVING_OUT_ABSENT, type Layout, LayoutRefused, onReplicas, replicasIn } from '../connection/layout.ts';
import { quoted } from '../connection/quoting.ts';
import { changeSchema } from './change-schema.ts';
import { statementFor } from './layout-statements.ts';
import { splitStatements } from './statements.ts';

const DIRECTORY = fileOfRoot('clickhouse-migrations');

/** A migration that was applied has another text now. */
export class MigrationChanged extends Error {
  override readonly name = 'MigrationChanged';
}

export type Migration = { readonly name: string; readonly text: string };

/** The first line of a migration that relies on the sorting key that a rebuild gives to the table of events. */
const AFTER_REBUILD = '-- weir: after the rebuild of events_raw_v1\n';

/** Whether a migration has to wait until the table of events is rebuilt. No other one may rely on it. */
export const isAfterRebuild = ({ text }: Migration): boolean => text.startsWith(AFTER_REBUILD);

/** Every migration of this version, in the order in which an empty database gets them: those that wait for a rebuild come last. */
export function readMigrations(directory = DIRECTORY): Migration[] {
  const all = readdirSync(directory)
    .filter((file) => /^\d{4}_\w+\.sql$/.test(file))
    .sort()
    .map((file) => ({ name: file.slice(0, -'.sql'.length), text: readFileSync(join(directory, file), 'utf8') }));
  return [...all.filter((migration) => !isAfterRebuild(migration)), ...all.filter(isAfterRebuild)];
}

/**
 * Creates the database and applies what is missing; answers the names of what
 * it applied. Statements may be repeated harmlessly, since ClickHouse cannot
 * roll back a file that failed half way. Not for two at a time: `migrateStores`
 * holds the lock. `adapted`: a statement as this database needs it.
 */
export async function migrateClickHouse(
  client: ClickHouseClient,
  database: string,
  migrations: readonly Migration[] = readMigrations(),
  {
    layout = { kind: 'single' },
    adapted = (statement) => statement,
  }: { readonly layout?: Layout; readonly adapted?: (statement: string) => string } = {},
): Promise<string[]> {
  await prepare(client, database, layout);
  const applied = await readApplied(client, database, layout);
  const missing = migrations.filter(({ name, text }) => !isApplied(applied, name, text));
  if (missing.length > 0 && layout.kind === 'unnamed') {
    throw new LayoutRefused(
      'the tables are replicated, and nothing says on which servers: set CLICKHOUSE_CLUSTER to the name of their cluster, so that the changes of this version reach all of them',
    );
  }
  for (const { name, text } of missing) {
    for (const statement of splitStatements(text))
      await changeSchema(client, statementFor(layout, adapted(statement)), layout);
    await record(client, name, text);
  }
  return missing.map(({ name }) => name);
}

async function prepare(client: ClickHouseClient, database: string, layout: Layout): Promise<void> {
  // No start waits for all servers of a cluster without a reason.
  if (layout.kind !== 'single' && (await isPrepared(client, database))) return;
  // In the way of the client's own database, which does not exist yet: the first one named counts.
  const elsewhere = { database: 'default' } as ClickHouseSettings;
  const create = `CREATE DATABASE IF NOT EXISTS ${quoted(database)}`;
  await changeSchema(client, statementFor(layout, create), layout, elsewhere);
  const table = `CREATE TABLE IF NOT EXISTS schema_migrations (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
     ENGINE = MergeTree ORDER BY (name) COMMENT 'Which files of clickhouse-migrations were applied, with their SHA-256.'`;
  await changeSchema(client, statementFor(layout, table), layout);
}

async function isPrepared(client: ClickHouseClient, database: string): Promise<boolean> {
  const found = await askOf(
    client,
    database,
  )("SELECT name FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'");
  return found.length > 0;
}

/** A replica may not have yet what another one has written down. */
async function readApplied(
  client: ClickHouseClient,
  database: string,
  layout: Layout,
): Promise<ReadonlyMap<string, string>> {
  const replicas = replicasIn(layout);
  const from = replicas === null ? 'schema_migrations' : onReplicas(replicas, `${quoted(database)}.schema_migrations`);
  const answer = await client.query({
    query: `SELECT name, checksum FROM ${from}`,
    format: 'JSONEachRow',
    ...(replicas !== null && { clickhouse_settings: LEAVING_OUT_ABSENT }),
  });
  const rows = await answer.json<{ name: string; checksum: string }>();
  return new Map(rows.map(({ name, checksum }) => [name, checksum]));
}

function isApplied(applied: ReadonlyMap<string, string>, name: string, text: string): boolean {
  const checksum = applied.get(name);
  if (checksum === undefined) return false;
  if (checksum === hash('sha256', text)) return true;
  throw new MigrationChanged(
    `the ClickHouse migration ${name} was changed after it was applied; restore its text and put the change into a new file`,
  );
}

async function record(client: ClickHouseClient, name: string, text: string): Promise<void> {
  await client.command({
    query: 'INSERT INTO schema_migrations (name, checksum) SELECT {name:String}, {checksum:String}',
    query_params: { name, checksum: hash('sha256', text) },
  });
}
