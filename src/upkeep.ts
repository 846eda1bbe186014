/** What a running Weir does beside the flow of events: its tables, and the switches of its operators. */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { checkSchema } from './clickhouse/schema-check.ts';
import type { Clock } from './clock.ts';
import type { SchemaFacts } from './http/health.ts';
import type { Log } from './log.ts';
import { migrateStores } from './migrate.ts';
import { backoffMs } from './pipeline/backoff.ts';
import { failureOf } from './pipeline/outcome.ts';
import type { Positions, Switches } from './postgres/switches.ts';

const MIGRATION_RETRY = { firstMs: 250, maxMs: 5_000 };
/** A switch must have reached every process after five seconds. */
const SWITCHES_MS = 2_000;

export type SchemaKeeper = {
  facts(): SchemaFacts;
  /** Resolves when Postgres is migrated. */
  readonly postgresReady: Promise<void>;
  /** Migrates both stores as soon as they are there; resolves when that is done or `stop` aborts. */
  run(stop: AbortSignal): Promise<void>;
};

type SchemaDeps = {
  readonly postgres: Pool;
  readonly clickhouse: ClickHouseClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

/** Whoever of several processes comes first does the work; the others find it done. */
export function createSchemaKeeper(deps: SchemaDeps, { database }: { database: string }): SchemaKeeper {
  const { clickhouse, clock, random, log } = deps;
  const postgresReady = Promise.withResolvers<void>();
  let facts: SchemaFacts = { postgresReady: false, clickhouseReady: false, drift: [] };

  return { facts: () => facts, postgresReady: postgresReady.promise, run };

  async function run(stop: AbortSignal) {
    for (let attempt = 1; !stop.aborted; attempt++) {
      const error = await failureOf(migrateOnce());
      if (error === null) return;
      log.warn({ err: error, attempt }, 'stores are not migrated yet');
      await clock.sleep(backoffMs(attempt, MIGRATION_RETRY, random), stop);
    }
  }

  async function migrateOnce() {
    await migrateStores({ ...deps, database, onPostgresReady }, log);
    const drift = await checkSchema(clickhouse, database);
    for (const { table, problem, remedy } of drift) log.warn({ table, problem, remedy }, 'schema differs');
    facts = {
      postgresReady: true,
      clickhouseReady: true,
      drift: drift.map(({ table, problem, remedy }) => `${table}: ${problem}; run: ${remedy}`),
    };
  }

  function onPostgresReady() {
    facts = { ...facts, postgresReady: true };
    postgresReady.resolve();
  }
}

/** Tells `onRead` where the switches stand, until `stop` aborts. While Postgres is away they stay as they were. */
export async function watchSwitches(
  { switches, clock, onRead }: { switches: Switches; clock: Clock; onRead: (positions: Positions) => void },
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    // A read that fails changes nothing; the store's heartbeat has said why.
    await failureOf(switches.read().then(onRead));
    await clock.sleep(SWITCHES_MS, stop);
  }
}
