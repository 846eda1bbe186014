/**
 * How Weir's tables are kept: on one server, or by replicas that share them. It decides how statements are written, and
 * where it is known what the table has (decision 57).
 */
import type { Ask } from './ask.ts';
import { literal } from './quoting.ts';

export type Layout =
  | { readonly kind: 'single' }
  /** Statements name the cluster, and every server of it carries them out. */
  | { readonly kind: 'cluster'; readonly cluster: string }
  /** The database carries each statement to all of its replicas. `cluster`: the name under which ClickHouse knows them. */
  | { readonly kind: 'replicated database'; readonly cluster: string }
  | { readonly kind: 'cloud' }
  /** Tables that somebody has made replicated, without a word on which servers. */
  | { readonly kind: 'unnamed' };

/** The tables cannot be kept as the settings say. The message says what to do. */
export class LayoutRefused extends Error {
  override readonly name = 'LayoutRefused';
}

/** What ClickHouse says; empty where there is no such thing yet. */
export type LayoutFacts = {
  readonly databaseEngine: string;
  readonly tableEngine: string;
  readonly isCloud: boolean;
};

const isShared = (engine: string) => engine.startsWith('Replicated') || engine.startsWith('Shared');
const OPERATIONS = 'see "Several ClickHouse servers" in docs/OPERATIONS.md';

/** `cluster`: the setting; null where it is empty. Throws `LayoutRefused`. */
export function layoutOf(facts: LayoutFacts, { database, cluster }: Place): Layout {
  const { databaseEngine, tableEngine, isCloud } = facts;
  if (isCloud || tableEngine.startsWith('Shared')) {
    if (cluster !== null)
      throw new LayoutRefused('CLICKHOUSE_CLUSTER is set, and ClickHouse Cloud needs none: leave it empty');
    return { kind: 'cloud' };
  }
  const isPlain = tableEngine !== '' && !isShared(tableEngine);
  if (databaseEngine === 'Replicated' && !isPlain) {
    if (cluster === null) return { kind: 'replicated database', cluster: database };
    throw new LayoutRefused(
      `CLICKHOUSE_CLUSTER is set, and the database ${database} has the engine Replicated, which carries statements to its replicas by itself: leave CLICKHOUSE_CLUSTER empty`,
    );
  }
  if (cluster !== null && isPlain) {
    throw new LayoutRefused(
      `CLICKHOUSE_CLUSTER is ${cluster}, and the tables in ${database} are those of one server (events_raw_v1 has the engine ${tableEngine}), which Weir does not change by itself: set CLICKHOUSE_DATABASE to a new database and bring the events over, or leave CLICKHOUSE_CLUSTER empty; ${OPERATIONS}`,
    );
  }
  if (cluster !== null) return { kind: 'cluster', cluster };
  return isShared(tableEngine) ? { kind: 'unnamed' } : { kind: 'single' };
}

export type Place = { readonly database: string; readonly cluster: string | null };

/** Throws `LayoutRefused`, and what the driver throws. */
export async function readLayout(ask: Ask, place: Place): Promise<Layout> {
  return layoutOf(await readLayoutFacts(ask, place.database), place);
}

/** There is none, or not for this user: whatever comes next says so. */
const NO_SUCH_DATABASE: ReadonlySet<unknown> = new Set(['81', '497']);

/**
 * `definition`: of the table of events, from its engine on. Of a table of one server no more is asked than every user of
 * Weir's may read. Throws what `ask` throws.
 */
export async function readLayoutFacts(
  ask: Ask,
  database: string,
): Promise<LayoutFacts & { readonly definition: string }> {
  const params = { database };
  const [found] = await ask<{ tableEngine: string; definition: string; cloud: string }>(
    `SELECT any(engine) AS tableEngine, any(engine_full) AS definition,
       (SELECT any(value) FROM system.settings WHERE name = 'cloud_mode') AS cloud
     FROM system.tables WHERE database = {database:String} AND name = 'events_raw_v1'`,
    params,
  );
  const { tableEngine, definition, cloud } = found!;
  const isOpen = tableEngine === '' || tableEngine.startsWith('Replicated');
  return { tableEngine, definition, isCloud: cloud === '1', databaseEngine: isOpen ? await engineOfDatabase() : '' };

  async function engineOfDatabase(): Promise<string> {
    try {
      const [shown] = await ask<{ statement: string }>('SHOW CREATE DATABASE {database:Identifier}', params);
      return /\bENGINE = (\w+)/.exec(shown?.statement ?? '')?.[1] ?? '';
    } catch (error) {
      if (NO_SUCH_DATABASE.has((error as { code?: unknown }).code)) return '';
      throw error;
    }
  }
}

/** The name under which a query reaches every replica; null where there are no others, or they are not known. */
export function replicasIn(layout: Layout): string | null {
  switch (layout.kind) {
    case 'cluster':
    case 'replicated database':
      return layout.cluster;
    case 'cloud':
      return 'default';
    case 'single':
    case 'unnamed':
      return null;
  }
}

/** A table as all replicas have it, each row as often as there are replicas with it; without a name, as this server has it. */
export const onReplicas = (replicas: string | null, table: string): string =>
  replicas === null ? table : `clusterAllReplicas(${literal(replicas)}, ${table})`;

/** For a query over all replicas: one that is away is left out. */
export const LEAVING_OUT_ABSENT = { skip_unavailable_shards: 1 } as const;
