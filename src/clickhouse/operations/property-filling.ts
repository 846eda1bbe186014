/**
 * Stores a promoted property for the rows that were there before. Until then ClickHouse computes it from `properties` when
 * it is asked for, so answers are the same and only slower. The server does it by itself, a partition at a time; whoever
 * waits for it may stop waiting, and call again.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { askOf } from '../connection/ask.ts';
import { quoted } from '../connection/quoting.ts';
import { columnOf } from '../migrations/promoted-properties.ts';
import { MutationFailed } from './mutation.ts';
import { FILLS, lastingTable } from './property-columns.ts';

const POLL_MS = 250;
/** Of one partition: an insert that began before the column was there may leave a part without it. */
const MAX_ROUNDS = 5;

/** `rows`: of the table; `filled`: those that have the column. */
export type FillingProgress = { readonly rows: number; readonly filled: number };

type State = FillingProgress & { readonly table: string; readonly lacking: readonly string[] };

/**
 * Resolves when every row has the column, or when rows without it keep coming (`filled` is less than `rows` then). The
 * newest month comes first. Throws `MutationFailed`, and what the driver throws: also when the column is gone.
 */
export async function fillProperty(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { database, name }: { database: string; name: string },
  onProgress: (progress: FillingProgress) => void = () => {},
): Promise<FillingProgress> {
  const ask = askOf(client, database);
  const column = columnOf(name);
  const rounds = new Map<string, number>();
  for (;;) {
    await filledMeanwhile();
    const { rows, filled, table, lacking } = await look();
    const next = lacking.find((partition) => (rounds.get(partition) ?? 0) < MAX_ROUNDS);
    if (next === undefined) return { rows, filled };
    rounds.set(next, (rounds.get(next) ?? 0) + 1);
    await client.command({
      query: `ALTER TABLE ${quoted(database)}.${table} MATERIALIZE COLUMN ${quoted(column)} IN PARTITION ID '${next}'`,
      clickhouse_settings: { mutations_sync: '0', wait_end_of_query: 1 },
    });
  }

  /** Whoever began it. */
  async function filledMeanwhile() {
    for (;;) {
      const open = await ask<{ reason: string }>(
        `SELECT latest_fail_reason AS reason FROM system.mutations
         WHERE database = {database:String} AND table = {table:String} AND NOT is_done AND ${FILLS}`,
        { table: await lastingTable(client, database), column: quoted(column) },
      );
      if (open.length === 0) return;
      const reason = open.find((mutation) => mutation.reason !== '')?.reason;
      if (reason !== undefined) {
        throw new MutationFailed(`store ${column} for older events`, /^Code: (\d+)/.exec(reason)?.[1] ?? 'unknown');
      }
      onProgress(await look());
      await clock.sleep(POLL_MS);
    }
  }

  async function look(): Promise<State> {
    const table = await lastingTable(client, database);
    const [found] = await ask<{ rows: string; filled: string; lacking: string[] }>(
      `SELECT toString(sum(part_rows)) AS rows, toString(sumIf(part_rows, has_column)) AS filled,
         arrayReverseSort(groupUniqArrayIf(partition, NOT has_column)) AS lacking
       FROM (
         SELECT any(partition_id) AS partition, any(rows) AS part_rows, countIf(column = {column:String}) > 0 AS has_column
         FROM system.parts_columns
         WHERE active AND database = {database:String} AND table = {table:String} AND column IN ('project_id', {column:String})
         GROUP BY name
       )`,
      { table, column },
    );
    return { rows: Number(found!.rows), filled: Number(found!.filled), table, lacking: found!.lacking };
  }
}
