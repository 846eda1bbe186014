/** How the tables are kept, for whoever looks after them. */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import type { InsertMemory } from '../../pipeline/ports.ts';
import { askOf } from '../connection/ask.ts';
import {
  type Layout,
  LayoutRefused,
  type Place,
  onReplicas,
  readLayout,
  readLayoutFacts,
  replicasIn,
} from '../connection/layout.ts';
import { createEventStore } from '../event-store/event-store.ts';
import { obstaclesTo } from '../migrations/layout-obstacles.ts';

export type DescribedLayout = {
  /** null where the settings do not fit the tables. */
  readonly layout: Layout | null;
  /** Tables of one server in a database that carries statements to its replicas. */
  readonly isApart: boolean;
  readonly memory: InsertMemory;
  /** Servers that answer, of those that share the tables. */
  readonly servers: { readonly answering: number; readonly named: number } | null;
  /** What is wrong, each with what to do. */
  readonly problems: readonly string[];
};

/** Throws what the driver throws. */
export async function describeLayout(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  place: Place,
): Promise<DescribedLayout> {
  const ask = askOf(client, place.database);
  const { readMemory } = createEventStore({ client, clock }, { ...place, timeoutMs: 10_000 });
  const memory = await readMemory();
  try {
    const layout = await readLayout(ask, place);
    const problems = await obstaclesTo(ask, layout);
    const isApart = layout.kind === 'single' && (await isInReplicatedDatabase());
    return { layout, isApart, memory, problems, servers: problems.length > 0 ? null : await serversOf(layout) };
  } catch (error) {
    if (!(error instanceof LayoutRefused)) throw error;
    return { layout: null, isApart: false, memory, servers: null, problems: [error.message] };
  }

  async function isInReplicatedDatabase(): Promise<boolean> {
    const { tableEngine } = await readLayoutFacts(ask, place.database);
    if (tableEngine === '') return false;
    const [shown] = await ask<{ statement: string }>('SHOW CREATE DATABASE {database:Identifier}');
    return /\bENGINE = Replicated\b/.test(shown?.statement ?? '');
  }

  async function serversOf(layout: Layout): Promise<DescribedLayout['servers']> {
    const replicas = replicasIn(layout);
    if (replicas === null || layout.kind === 'cloud') return null;
    const [answering] = await ask<{ n: string }>(
      `SELECT toString(count()) AS n FROM ${onReplicas(replicas, 'system.one')} SETTINGS skip_unavailable_shards = 1`,
    );
    const [named] = await ask<{ n: string }>(
      `SELECT toString(count()) AS n FROM system.clusters
       WHERE cluster = {cluster:String}
         OR cluster IN (SELECT substitution FROM system.macros WHERE concat('{', macro, '}') = {cluster:String})`,
      { cluster: replicas },
    );
    return { answering: Number(answering!.n), named: Number(named!.n) };
  }
}
