/** Copies rows of a chunk from the one table of events to the other, or only those that are missing there. */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { askOf } from '../connection/ask.ts';
import { quoted } from '../connection/quoting.ts';
import { type Chunk, conditionOf } from './chunks.ts';
import { COPYING, EVENTS, MISSING, REBUILT } from './event-tables.ts';

/** Gentle: inserts and questions of others come first. */
const COPY_SETTINGS = {
  // As they are stored: what is computed from a row may be computed otherwise today.
  insert_allow_materialized_columns: 1,
  // Rows that are there twice collapse; ClickHouse's memory of inserts is for those of the write path.
  insert_deduplicate: 0,
  max_partitions_per_insert_block: '0',
  max_threads: 1,
  max_insert_threads: '1',
  min_insert_block_size_rows: '250000',
  min_insert_block_size_bytes: String(64 * 1024 * 1024),
  max_execution_time: 0,
  wait_end_of_query: 1,
  log_comment: COPYING,
  // Keeps the connection from looking idle.
  send_progress_in_http_headers: 1,
  http_headers_progress_interval_ms: '5000',
} as const satisfies ClickHouseSettings;

/** An event under the new key, in a form of fixed size: grouping by the four columns takes three times as long. */
const KEY = 'event_id, sipHash64(project_id, event, toStartOfHour(timestamp))';

/** Into the new table, before the two change places. */
export const BEFORE = { from: EVENTS, into: REBUILT } as const;
/** Afterwards: the names are the other way round. */
export const AFTER = { from: REBUILT, into: EVENTS } as const;
type Direction = typeof BEFORE | typeof AFTER;

export type Copied = { readonly elapsedMs: number };

export type RowCopy = {
  /** All rows of the chunk that have not expired. May be repeated. Throws what the driver throws. */
  all(chunk: Chunk): Promise<Copied>;
  /** Those that are in the one table and not, or only as an earlier copy, in the other. */
  missing(chunk: Chunk, direction: Direction): Promise<Copied>;
};

export function createRowCopy(client: ClickHouseClient, database: string): RowCopy {
  const ask = askOf(client, database);
  return { all, missing };

  async function all(chunk: Chunk) {
    const { sql, params } = conditionOf(chunk);
    return insertInto(REBUILT, `FROM ${of(EVENTS)} WHERE ${sql} AND expires_at > now()`, params);
  }

  async function missing(chunk: Chunk, { from, into }: Direction) {
    const { sql, params } = conditionOf(chunk);
    const keys = `SELECT ${KEY} FROM (
        SELECT project_id, event, timestamp, event_id, received_at, 1 AS is_here FROM ${of(from)} WHERE ${sql} AND expires_at > now()
        UNION ALL
        SELECT project_id, event, timestamp, event_id, received_at, 0 AS is_here FROM ${of(into)} WHERE ${sql}
      ) GROUP BY ${KEY}
      HAVING countIf(is_here = 1) > 0 AND (countIf(is_here = 0) = 0 OR maxIf(received_at, is_here = 1) > maxIf(received_at, is_here = 0))`;
    const counted = await client.query({
      query: `SELECT toString(count()) AS events FROM (${keys})`,
      query_params: params,
      format: 'JSON',
      clickhouse_settings: {
        log_comment: COPYING,
        send_progress_in_http_headers: 1,
        http_headers_progress_interval_ms: '5000',
        max_threads: 1,
        max_execution_time: 0,
      },
    });
    const { data, statistics } = await counted.json<{ events: string }>();
    const elapsedMs = (statistics?.elapsed ?? 0) * 1_000;
    if (data[0]!.events === '0') return { elapsedMs };
    const rows = `FROM ${of(from)} WHERE ${sql} AND expires_at > now() AND (${KEY}) IN (${keys})`;
    const copied = into === REBUILT ? await insertInto(REBUILT, rows, params) : await attach(rows, params);
    return { elapsedMs: elapsedMs + copied.elapsedMs };
  }

  /** Into the table that inserts go to: by attaching, since its views have seen these rows and must not count them again. */
  async function attach(rows: string, params: Record<string, unknown>): Promise<Copied> {
    await run(`DROP TABLE IF EXISTS ${of(MISSING)} SYNC`);
    await run(`CREATE TABLE ${of(MISSING)} AS ${of(EVENTS)}`);
    const copied = await insertInto(MISSING, rows, params);
    const partitions = await ask<{ id: string }>(
      'SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}',
      { table: MISSING },
    );
    for (const { id } of partitions) {
      await run(`ALTER TABLE ${of(EVENTS)} ATTACH PARTITION ID '${id}' FROM ${of(MISSING)}`);
    }
    await run(`DROP TABLE ${of(MISSING)} SYNC`);
    return copied;
  }

  async function insertInto(table: string, rows: string, params: Record<string, unknown>): Promise<Copied> {
    const columns = await storedColumns();
    const { summary } = await client.command({
      query: `INSERT INTO ${of(table)} (${columns}) SELECT ${columns} ${rows}`,
      query_params: params,
      clickhouse_settings: COPY_SETTINGS,
    });
    return { elapsedMs: Number(summary?.elapsed_ns ?? 0) / 1e6 };
  }

  /** Of both tables: they are alike, or the events have more by now. */
  async function storedColumns(): Promise<string> {
    const columns = await ask<{ name: string }>(
      `SELECT name FROM system.columns WHERE database = {database:String} AND table IN {tables:Array(String)}
       AND default_kind IN ('', 'DEFAULT', 'MATERIALIZED') GROUP BY name HAVING count() = 2 ORDER BY min(position)`,
      { tables: [EVENTS, REBUILT] },
    );
    return columns.map(({ name }) => quoted(name)).join(', ');
  }

  async function run(query: string): Promise<void> {
    await client.command({ query, clickhouse_settings: { wait_end_of_query: 1 } });
  }

  function of(table: string) {
    return `${quoted(database)}.${table}`;
  }
}
