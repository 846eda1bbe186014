/** What stands in the way of tables that several servers share. */
import type { Ask } from '../connection/ask.ts';
import { type Layout, LayoutRefused, replicasIn } from '../connection/layout.ts';
import { literal } from '../connection/quoting.ts';

/** What a path may be made of beside these, the server sees to itself. */
const BUILT_IN = new Set(['uuid', 'database', 'table']);
const NO_RIGHT = '497';

/** Why tables cannot be made or kept in this layout, each with what to do; empty when nothing is in the way. Throws what the driver throws. */
export async function obstaclesTo(ask: Ask, layout: Layout): Promise<string[]> {
  if (layout.kind !== 'cluster' && layout.kind !== 'replicated database') return [];
  const macros = await readMacros(ask);
  const missing = [...(await missingMacros(ask, macros)), ...(await clusterObstacles(ask, layout, macros))];
  return missing.length > 0
    ? missing
    : [...(await reachObstacles(ask, layout)), ...(await serviceObstacles(ask, layout))];
}

/** Throws `LayoutRefused` with all of them. */
export async function refuseObstacles(ask: Ask, layout: Layout): Promise<void> {
  const obstacles = await obstaclesTo(ask, layout);
  if (obstacles.length > 0) throw new LayoutRefused(obstacles.join('; '));
}

async function readMacros(ask: Ask): Promise<ReadonlyMap<string, string>> {
  const rows = await ask<{ macro: string; substitution: string }>('SELECT macro, substitution FROM system.macros');
  return new Map(rows.map(({ macro, substitution }) => [macro, substitution]));
}

async function missingMacros(ask: Ask, macros: ReadonlyMap<string, string>): Promise<string[]> {
  const settings = await ask<{ value: string }>(
    "SELECT value FROM system.server_settings WHERE name IN ('default_replica_path', 'default_replica_name')",
  );
  const named = settings.flatMap(({ value }) => [...value.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!));
  return [...new Set(named)]
    .filter((name) => !BUILT_IN.has(name) && !macros.has(name))
    .map(
      (name) =>
        `the server has no macro {${name}}, of which the paths of replicated tables are made: give each server its own in <macros> of its configuration`,
    );
}

async function clusterObstacles(ask: Ask, layout: Layout, macros: ReadonlyMap<string, string>): Promise<string[]> {
  if (layout.kind !== 'cluster') return [];
  const cluster = layout.cluster.replaceAll(/\{(\w+)\}/g, (whole, name: string) => macros.get(name) ?? whole);
  const [found] = await ask<{ servers: string; shards: string; names: string[] }>(
    `SELECT toString(countIf(cluster = {cluster:String})) AS servers, toString(uniqExactIf(shard_num, cluster = {cluster:String})) AS shards,
       groupUniqArray(20)(cluster) AS names FROM system.clusters`,
    { cluster },
  );
  const { servers, shards, names } = found!;
  if (servers === '0') {
    const known = names.length === 0 ? 'none' : names.sort().join(', ');
    return [`the server knows no cluster ${cluster} (CLICKHOUSE_CLUSTER); it knows ${known}`];
  }
  if (shards === '1') return [];
  return [
    `the cluster ${cluster} has ${shards} shards, and Weir keeps all events on one: name a cluster of one shard in CLICKHOUSE_CLUSTER`,
  ];
}

/** By the other replicas Weir finds out what a replica may not have yet. */
async function reachObstacles(ask: Ask, layout: Layout): Promise<string[]> {
  try {
    await ask(
      `SELECT 1 FROM clusterAllReplicas(${literal(replicasIn(layout)!)}, system.one) SETTINGS skip_unavailable_shards = 1`,
    );
    return [];
  } catch (error) {
    if ((error as { code?: unknown }).code !== NO_RIGHT) throw error;
    return ['the user may not ask the other replicas: grant it REMOTE and CREATE TEMPORARY TABLE'];
  }
}

/** A database of its own, which a statement on this server would make on this server alone. */
async function serviceObstacles(ask: Ask, layout: Layout): Promise<string[]> {
  if (layout.kind !== 'replicated database') return [];
  const found = await ask<{ engine: string }>("SELECT engine FROM system.databases WHERE name = 'monitor'");
  if (found[0]?.engine === 'Replicated') return [];
  const problem = found.length === 0 ? 'there is no database monitor' : 'the database monitor is that of one server';
  return [
    `${problem}: make one on each server, with CREATE DATABASE monitor ENGINE = Replicated('/clickhouse/databases/monitor', '{shard}', '{replica}')`,
  ];
}
