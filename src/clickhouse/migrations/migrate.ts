import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { quoted } from '../connection/quoting.ts';
import { splitStatements } from './statements.ts';

const DIRECTORY = join(import.meta.dirname, '../../../clickhouse-migrations');

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
  adapted: (statement: string) => string = (statement) => statement,
): Promise<string[]> {
  await prepare(client, database);
  const applied = await readApplied(client);
  const missing = migrations.filter(({ name, text }) => !isApplied(applied, name, text));
  for (const { name, text } of missing) {
    for (const statement of splitStatements(text)) await run(client, adapted(statement));
    await record(client, name, text);
  }
  return missing.map(({ name }) => name);
}

async function prepare(client: ClickHouseClient, database: string): Promise<void> {
  // In the way of the client's own database, which does not exist yet: the first one named counts.
  const elsewhere = { database: 'default' } as ClickHouseSettings;
  await run(client, `CREATE DATABASE IF NOT EXISTS ${quoted(database)}`, elsewhere);
  await run(
    client,
    `CREATE TABLE IF NOT EXISTS schema_migrations (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
     ENGINE = MergeTree ORDER BY (name) COMMENT 'Which files of clickhouse-migrations were applied, with their SHA-256.'`,
  );
}

async function readApplied(client: ClickHouseClient): Promise<ReadonlyMap<string, string>> {
  const answer = await client.query({ query: 'SELECT name, checksum FROM schema_migrations', format: 'JSONEachRow' });
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

async function run(client: ClickHouseClient, query: string, settings: ClickHouseSettings = {}): Promise<void> {
  // On a cluster behind one address the statement is complete when it answers.
  await client.command({ query, clickhouse_settings: { wait_end_of_query: 1, ...settings } });
}
