/**
 * What the table of events remembers of inserts: which batches it would recognise, by how many and how old the inserts
 * are that followed. Several servers may share the table; each of them takes inserts, and may not have yet what another
 * one took.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { InsertMemory } from '../../pipeline/ports.ts';
import {
  LEAVING_OUT_ABSENT,
  type Layout,
  type LayoutFacts,
  layoutOf,
  onReplicas,
  readLayoutFacts,
  replicasIn,
} from '../connection/layout.ts';
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
    const facts = await readLayoutFacts((query, params = {}) => ask(query, params, signal), database);
    const kept = await keptBy(facts, signal);
    if (facts.tableEngine !== '') known = { kept, at };
    return kept;
  }

  async function keptBy(facts: LayoutFacts & { definition: string }, signal?: AbortSignal): Promise<Kept> {
    const { tableEngine, databaseEngine, isCloud, definition } = facts;
    // That the settings do not fit the table is said elsewhere: here counts what it is.
    const isOpen = tableEngine === '' || tableEngine.startsWith('Replicated');
    const isNamed = isOpen && !isCloud && databaseEngine !== 'Replicated';
    const layout = layoutOf(facts, { database, cluster: isNamed ? cluster : null });
    if (tableEngine === '') return { layout, memory: AS_CREATED };
    const written = (name: string) => {
      const value = new RegExp(`\\b${name} = (\\d+)`).exec(definition)?.[1];
      return value === undefined ? null : Number(value);
    };
    if (layout.kind === 'single') {
      return { layout, memory: { ...AS_CREATED, inserts: written('non_replicated_deduplication_window') ?? 0 } };
    }
    const [inserts, seconds] = [written(WINDOW), written(`${WINDOW}_seconds`)];
    const otherwise = inserts === null || seconds === null ? await defaults(signal) : LEAST;
    const memory = { inserts: inserts ?? otherwise.inserts, forMs: (seconds ?? otherwise.seconds) * 1_000 };
    return { layout, memory };
  }

  async function defaults(signal?: AbortSignal): Promise<SharedWindow> {
    try {
      const rows = await ask<{ name: string; value: string }>(
        SHARED_DEFAULTS,
        { names: [WINDOW, `${WINDOW}_seconds`] },
        signal,
      );
      const value = (name: string) => Number(rows.find((row) => row.name === name)?.value ?? 0);
      return { inserts: value(WINDOW), seconds: value(`${WINDOW}_seconds`) };
    } catch {
      // Weir's user may not ask. Then it is asked for rows more often than would be necessary.
      return LEAST;
    }
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

/** Of a table that is not there now, and of one server's as Weir makes it. */
const AS_CREATED: InsertMemory = { inserts: 10_000, forMs: Infinity };
/** What old versions of ClickHouse, and its cloud, remember at the least. */
const LEAST: SharedWindow = { inserts: 100, seconds: 3_600 };

type SharedWindow = { readonly inserts: number; readonly seconds: number };

/** What holds for replicated tables that say nothing themselves. */
const WINDOW = 'replicated_deduplication_window';
const SHARED_DEFAULTS =
  'SELECT name, value FROM system.replicated_merge_tree_settings WHERE name IN {names:Array(String)}';
