/** What a rebuild asks of ClickHouse: which tables there are, how far it came, what has to end first, and whether it may begin. */
import type { Ask } from '../connection/ask.ts';
import { quoted } from '../connection/quoting.ts';
import { type Chunk, type Cursor, conditionOf, endOfHour, partitionsLeft } from './chunks.ts';
import { EVENTS, MIRROR, MISSING, PROGRESS, REBUILT, RETIRED } from './event-tables.ts';
import type { EventTable, Phase, ProgressRow, Situation } from './rebuild-state.ts';

/** Throws what the driver throws. */
export async function readSituation(ask: Ask): Promise<Situation> {
  const found = await ask<EventTable & { name: string }>(
    `SELECT name, toString(uuid) AS uuid, engine, sorting_key AS sortingKey, primary_key AS primaryKey,
       substring(create_table_query, position(create_table_query, '(')) AS create, engine_full AS engineFull
     FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}`,
    { names: [EVENTS, REBUILT, RETIRED, MIRROR, PROGRESS, MISSING] },
  );
  const named = (name: string) => found.find((table) => table.name === name) ?? null;
  const hasProgress = named(PROGRESS) !== null;
  return {
    events: named(EVENTS),
    rebuilt: named(REBUILT),
    retired: named(RETIRED),
    hasMirror: named(MIRROR) !== null,
    hasRemains: hasProgress || named(MISSING) !== null,
    progress: hasProgress ? await readProgress(ask) : null,
  };
}

type WrittenProgress = {
  phase: Phase;
  ended: number;
  partition: string;
  project: string;
  event: string;
  until: string;
  rows: string;
  total: string;
  isStart: number;
  hasKey: number;
};

async function readProgress(ask: Ask): Promise<ProgressRow | null> {
  const [last] = await ask<WrittenProgress>(
    `SELECT phase, ended, partition, toString(project_id) AS project, hex(event) AS event, toString(until_ms) AS until,
       toString(rows) AS rows, toString(total) AS total, partition = '' AS isStart, has_key AS hasKey
     FROM {database:Identifier}.${PROGRESS} ORDER BY step DESC LIMIT 1`,
  );
  if (last === undefined) return null;
  const { phase, partition, project, event } = last;
  const key = last.hasKey === 1 ? { project, eventHex: event, untilMs: Number(last.until) } : null;
  return {
    phase,
    isEnded: last.ended === 1,
    cursor: last.isStart === 1 ? null : { partition, key },
    rows: Number(last.rows),
    total: Number(last.total),
  };
}

/** Rows as they lie there, copies included. */
export async function countParts(ask: Ask, table: string): Promise<{ rows: number; bytes: number; disks: string[] }> {
  const [sum] = await ask<{ rows: string; bytes: string; disks: string[] }>(
    `SELECT toString(sum(rows)) AS rows, toString(sum(bytes_on_disk)) AS bytes, groupUniqArray(disk_name) AS disks
     FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}`,
    { table },
  );
  return { rows: Number(sum!.rows), bytes: Number(sum!.bytes), disks: sum!.disks };
}

export async function freeBytes(ask: Ask, disks: readonly string[]): Promise<number> {
  const [sum] = await ask<{ free: string }>(
    'SELECT toString(sum(free_space)) AS free FROM system.disks WHERE has({disks:Array(String)}, name)',
    { disks },
  );
  return Number(sum!.free);
}

const GIB = 1024 ** 3;
/** What ClickHouse's disk keeps free while rows are copied: inserts and merges go on. */
const RESERVE_BYTES = GIB;
/** Of the size of the table: what the second copy takes, also before it is merged. */
const SHARE = 1.25;

/** Why the rebuild cannot begin; null when it can. */
export async function obstacleOf(ask: Ask, { engine, uuid }: EventTable): Promise<string | null> {
  if (engine !== 'ReplacingMergeTree') {
    return `its engine is ${engine}: tables that several servers share are rebuilt by hand (docs/OPERATIONS.md)`;
  }
  const [database] = await ask<{ statement: string }>('SHOW CREATE DATABASE {database:Identifier}');
  if (uuid === '00000000-0000-0000-0000-000000000000' || !/ENGINE = Atomic\b/.test(database?.statement ?? '')) {
    return 'its database does not have the engine Atomic: tables cannot change places in it';
  }
  const { rows, bytes, disks } = await countParts(ask, EVENTS);
  if (rows === 0) return null;
  const free = await freeBytes(ask, disks);
  const needed = bytes * SHARE + RESERVE_BYTES;
  if (free >= needed) return null;
  return `a second copy needs ${gib(needed)} on ClickHouse's disk, and ${gib(free)} are free: make room, and it begins`;
}

/** Whether others have filled the disk meanwhile. */
export async function whyToPause(ask: Ask): Promise<string | null> {
  const { disks } = await countParts(ask, REBUILT);
  if (disks.length === 0) return null;
  const free = await freeBytes(ask, disks);
  return free < RESERVE_BYTES ? `room on ClickHouse's disk, of which ${gib(free)} are free` : null;
}

const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GiB`;

/** Changes of rows that ClickHouse has not finished: what is copied meanwhile would be as it was before. */
export async function openMutations(ask: Ask, table: string): Promise<number> {
  const [open] = await ask<{ n: string }>(
    `SELECT toString(count()) AS n FROM system.mutations
     WHERE database = {database:String} AND table = {table:String} AND NOT is_done`,
    { table },
  );
  return Number(open!.n);
}

/**
 * Inserts and changes that were begun before a moment, and still run: they may hold the table as it was then. The
 * moment is that of `what`; a second is added, since the time of a table has no smaller unit.
 */
export async function olderStatements(ask: Ask, what: 'mirror' | 'exchange'): Promise<number> {
  const moment =
    what === 'mirror'
      ? `(SELECT toDateTime64(metadata_modification_time, 3, 'UTC') FROM system.tables WHERE database = {database:String} AND name = '${MIRROR}')`
      : `(SELECT max(at) FROM {database:Identifier}.${PROGRESS} WHERE phase = 'settle' AND partition = '')`;
  const [older] = await ask<{ n: string }>(
    `SELECT toString(count()) AS n FROM system.processes
     WHERE query_kind IN ('Insert', 'AsyncInsertFlush', 'Alter') AND query_id != queryID()
       AND now64(3, 'UTC') - toIntervalMillisecond(toInt64(elapsed * 1000)) < ${moment} + INTERVAL 1 SECOND`,
  );
  return Number(older!.n);
}

/** The next rows behind the cursor, about so many; null at the end. */
export async function findChunk(
  ask: Ask,
  database: string,
  { table, cursor, rows: wanted }: { readonly table: string; readonly cursor: Cursor | null; readonly rows: number },
): Promise<{ readonly chunk: Chunk; readonly rows: number } | null> {
  const partitions = await ask<{ id: string }>(
    'SELECT DISTINCT partition_id AS id FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}',
    { table },
  );
  const ids = partitions.map(({ id }) => id);
  for (const rest of partitionsLeft(ids, cursor)) {
    const { sql, params } = conditionOf(rest);
    const [found] = await ask<{ rows: string; project: string; event: string; at: string }>(
      `SELECT toString(n) AS rows, toString(last.1) AS project, hex(last.2) AS event, toString(toUnixTimestamp64Milli(last.3)) AS at
       FROM (SELECT count() AS n, max((project_id, toString(event), timestamp)) AS last FROM (
         SELECT project_id, event, timestamp FROM ${quoted(database)}.${table} WHERE ${sql}
         ORDER BY project_id, event, timestamp LIMIT {size:UInt64}))`,
      { ...params, size: String(wanted) },
    );
    const rows = Number(found?.rows ?? 0);
    if (rows === 0) continue;
    const { project, event, at } = found!;
    const upTo = rows < wanted ? null : { project, eventHex: event, untilMs: endOfHour(Number(at)) };
    return { chunk: { ...rest, upTo }, rows };
  }
  return null;
}
