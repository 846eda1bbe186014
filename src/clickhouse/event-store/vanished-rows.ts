/**
 * Rows that ClickHouse takes for stored and does not have. An insert writes its
 * deduplication token before its part gets its name, so a ClickHouse that is
 * killed between the two remembers a part that never was: the same batch, sent
 * again, is taken for a copy, and dropped. (`MergeTreeSink::commitPart` adds to
 * the deduplication log and then renames; seen with 26.7 by killing it at the
 * rename.) Materialized views have got the batch by then, when it was sent again.
 *
 * So the rows are put where no view sees them: into a table of their own, whose
 * parts are then attached to the events.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { idsOf } from '../../event/rows.ts';
import type { BatchId } from '../../pipeline/batch.ts';

export type VanishedRowsDeps = {
  /** Runs a statement that answers nothing, with rows as its data. Throws `InsertFailure`. */
  readonly run: (statement: string, rows: readonly Buffer[]) => Promise<void>;
  /** The rows of a query. Throws `InsertFailure`. */
  readonly ask: <Row>(query: string, params: Record<string, unknown>) => Promise<Row[]>;
};

/** In the names of the tables that rows are put back by way of. */
const OWN = '_put_back_';

type Target = { readonly database: string; readonly table: string; readonly columns: readonly string[] };

/** Those of the rows that have ids and are not stored. `stored`: whether each one is. */
export function vanishedOf(rows: readonly Buffer[], stored: readonly boolean[]): Buffer[] {
  return rows.filter((row, index) => !stored[index] && idsOf(row) !== null);
}

/**
 * Puts the rows of the batch into the table, past its views. What was put back by
 * an earlier call that did not come to its end has to be left out by the caller.
 * Throws `InsertFailure`; then some of them may be in the table.
 */
export async function putBack(
  rows: readonly Buffer[],
  id: BatchId,
  { database, table, columns }: Target,
  { run, ask }: VanishedRowsDeps,
): Promise<void> {
  const name = `${table}${OWN}${id.replaceAll('-', '')}`;
  const own = `${database}.${name}`;
  await run(`DROP TABLE IF EXISTS ${own} SYNC`, []);
  const [found] = await ask<{ engine: string }>(
    'SELECT engine_full AS engine FROM system.tables WHERE database = {database:String} AND name = {table:String}',
    { database, table },
  );
  await run(`CREATE TABLE ${own} AS ${database}.${table}${engineOfOne(found?.engine ?? '')}`, []);
  await run(`INSERT INTO ${own} (${columns.join(', ')}) FORMAT JSONEachRow`, rows);
  const partitions = await ask<{ partition_id: string }>(
    'SELECT DISTINCT partition_id FROM system.parts WHERE active AND database = {database:String} AND table = {name:String}',
    { database, name },
  );
  for (const { partition_id } of partitions) {
    await run(`ALTER TABLE ${database}.${table} ATTACH PARTITION ID '${partition_id}' FROM ${own}`, []);
  }
  await run(`DROP TABLE ${own} SYNC`, []);
}

/** What is only on its way is of this server alone; a replicated table has one path in the keeper. Empty for other engines. */
function engineOfOne(engine: string): string {
  const plain = REPLICATED.exec(engine);
  return plain === null ? '' : ` ENGINE = ${plain[1]!}(${engine.slice(plain[0].length)}`;
}

const TEXT = String.raw`'(?:[^'\\]|\\.)*'`;
const REPLICATED = new RegExp(`^Replicated(\\w*MergeTree)\\((?:${TEXT}, ${TEXT}(?:, )?)?`);

/**
 * Drops the tables that were left when putting back was cut short: they hold copies of events, which nobody would
 * erase. One that changed within `olderThanS` seconds may be in use. Throws what the driver throws.
 */
export async function dropAbandoned(
  client: ClickHouseClient,
  { database, table, olderThanS }: Pick<Target, 'database' | 'table'> & { readonly olderThanS: number },
): Promise<void> {
  const found = await client.query({
    query: `SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {start:String})
      AND metadata_modification_time < now() - {olderThanS:UInt32}`,
    query_params: { database, start: `${table}${OWN}`, olderThanS },
    format: 'JSONEachRow',
  });
  for (const { name } of await found.json<{ name: string }>()) {
    await client.command({ query: `DROP TABLE IF EXISTS ${database}.${name} SYNC` });
  }
}
