/**
 * What the table of events remembers of inserts: which batches it would recognise, by how many and how old the inserts
 * are that followed. Several servers may share the table; each of them takes inserts, and may not have yet what another
 * one took.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { InsertMemory } from '../../pipeline/ports.ts';
import { LEAVING_OUT_ABSENT, type Layout, layoutOf, onReplicas, replicasIn } from '../connection/layout.ts';
import { EVENTS } from '../migrations/event-tables.ts';

/** The caller counts time by another clock than ClickHouse's. */
const CLOCK_MARGIN_MS = 60_000;
/** A person changes the tables, or nobody. */
const KNOWN_MS = 60_000;

/** The rows of a query. Throws `InsertFailure`. */
type Ask = <Row>(
  query: string,
  params: Record<string, unknown>,
  signal?: AbortSignal,
  settings?: typeof LEAVING_OUT_ABSENT,
) => Promise<Row[]>;

type Kept = { readonly layout: Layout; readonly memory: InsertMemory };

export type KeptInserts = {
  layout(signal?: AbortSignal): Promise<Layout>;
  memory(signal?: AbortSignal): Promise<InsertMemory>;
  count(ageMs: number, signal?: AbortSignal): Promise<number>;
};

export function createKeptInserts(
  { ask, clock }: { ask: Ask; clock: Pick<Clock, 'elapsed'> },
  { database, cluster }: { database: string; cluster: string | null },
): KeptInserts {
  let known: { kept: Kept; at: number } | null = null;

  return {
    layout: async (signal) => (await read(signal)).layout,
    memory: async (signal) => (await read(signal)).memory,
    count,
  };

  async function read(signal?: AbortSignal): Promise<Kept> {
    if (known && clock.elapsed() - known.at < KNOWN_MS) return known.kept;
    const at = clock.elapsed();
    const [found] = await ask<Facts>(FACTS, { database }, signal);
    const kept = keptBy(found!, { database, cluster });
    if (found!.tableEngine !== '') known = { kept, at };
    return kept;
  }

  /**
   * Parts are numbered by one counter, one number an insert: of the whole table, or of each partition where servers
   * share it. A part that was written before the age began and was not merged since says how far it was then. Merges
   * leave no such part of a small table: then all its inserts count, provided that the table itself is that old. A table
   * that was restored from a backup is not: it counts anew, and remembers nothing of before.
   */
  async function count(ageMs: number, signal?: AbortSignal): Promise<number> {
    const layout = await read(signal).then((kept) => kept.layout);
    const isOfOneServer = layout.kind === 'single';
    const replicas = replicasIn(layout);
    const [counted] = await ask<{ total: string; before: string; older: string; tables: string }>(
      isOfOneServer ? COUNT : countPerPartition(replicas),
      { database, seconds: Math.ceil((ageMs + CLOCK_MARGIN_MS) / 1_000) },
      signal,
      ...(replicas === null ? [] : [LEAVING_OUT_ABSENT]),
    );
    const { total, before, older, tables } = counted!;
    if (older !== '0') return Number(total) - Number(before);
    return tables === '0' ? Infinity : Number(total);
  }
}

const COUNT = `SELECT toString(max(max_block_number)) AS total,
         toString(maxIf(max_block_number, modification_time < now() - {seconds:UInt32})) AS before,
         toString(countIf(modification_time < now() - {seconds:UInt32})) AS older,
         toString((SELECT count() FROM system.tables WHERE database = {database:String} AND name = '${EVENTS}'
           AND metadata_modification_time < now() - {seconds:UInt32})) AS tables
       FROM system.parts WHERE database = {database:String} AND table = '${EVENTS}'`;

/** An insert whose rows lie in two partitions counts twice, and is remembered twice. */
const countPerPartition = (replicas: string | null) =>
  `SELECT toString(sum(reached)) AS total, toString(sum(reached_then)) AS before, toString(sum(old_parts)) AS older,
     toString((SELECT count() FROM ${onReplicas(replicas, 'system.tables')} WHERE database = {database:String} AND name = '${EVENTS}'
       AND metadata_modification_time < now() - {seconds:UInt32})) AS tables
   FROM (
     SELECT max(max_block_number) + 1 AS reached, countIf(modification_time < now() - {seconds:UInt32}) AS old_parts,
       if(old_parts = 0, 0, maxIf(max_block_number, modification_time < now() - {seconds:UInt32}) + 1) AS reached_then
     FROM ${onReplicas(replicas, 'system.parts')} WHERE database = {database:String} AND table = '${EVENTS}' GROUP BY partition_id
   )`;

/** Of a table that is not there now. */
const AS_CREATED: InsertMemory = { inserts: 10_000, forMs: Infinity };

/** Of the server's settings, what holds where the table says nothing. */
type Facts = {
  readonly databaseEngine: string;
  readonly tableEngine: string;
  readonly definition: string;
  readonly cloud: string;
  readonly ownInserts: string;
  readonly inserts: string;
  readonly seconds: string;
};

const FACTS = `SELECT
    (SELECT any(engine) FROM system.databases WHERE name = {database:String}) AS databaseEngine,
    (SELECT any(engine) FROM system.tables WHERE database = {database:String} AND name = '${EVENTS}') AS tableEngine,
    (SELECT any(engine_full) FROM system.tables WHERE database = {database:String} AND name = '${EVENTS}') AS definition,
    (SELECT any(value) FROM system.settings WHERE name = 'cloud_mode') AS cloud,
    (SELECT any(value) FROM system.merge_tree_settings WHERE name = 'non_replicated_deduplication_window') AS ownInserts,
    (SELECT any(value) FROM system.replicated_merge_tree_settings WHERE name = 'replicated_deduplication_window') AS inserts,
    (SELECT any(value) FROM system.replicated_merge_tree_settings WHERE name = 'replicated_deduplication_window_seconds') AS seconds`;

function keptBy(facts: Facts, { database, cluster }: { database: string; cluster: string | null }): Kept {
  const { databaseEngine, tableEngine, definition, cloud } = facts;
  const found = { databaseEngine, tableEngine, isCloud: cloud === '1' };
  // That the settings do not fit the table is said elsewhere: here counts what it is.
  const isPlain = tableEngine !== '' && !/^(Replicated|Shared)/.test(tableEngine);
  const fitting = isPlain || found.isCloud || databaseEngine === 'Replicated' ? null : cluster;
  const layout = layoutOf(found, { database, cluster: fitting });
  const setting = (name: string, fallback: string) =>
    Number(new RegExp(`\\b${name} = (\\d+)`).exec(definition)?.[1] ?? fallback);
  if (tableEngine === '') return { layout, memory: AS_CREATED };
  if (layout.kind === 'single') {
    const inserts = setting('non_replicated_deduplication_window', facts.ownInserts);
    return { layout, memory: { inserts, forMs: Infinity } };
  }
  const inserts = setting('replicated_deduplication_window', facts.inserts);
  const seconds = setting('replicated_deduplication_window_seconds', facts.seconds);
  return { layout, memory: { inserts, forMs: seconds * 1_000 } };
}
