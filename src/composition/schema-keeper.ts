/** Brings the tables of both stores up to date, and checks from time to time that they still are. */
import type { Pool } from 'pg';
import type { Clock } from '../runtime/clock.ts';
import type { SchemaFacts } from '../http/health/health-snapshot.ts';
import type { Log } from '../log/log.ts';
import { migrateStores, explainMigrationFailure } from './migrate-stores.ts';
import { createTableRebuild } from './table-rebuild.ts';
import { backoffMs } from '../pipeline/backoff.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EventSchema } from '../pipeline/storage-port.ts';

const MIGRATION_RETRY = { firstMs: 250, maxMs: 5_000 };
/** Only a person changes a table, and a person can wait a little for a repair to be noticed. */
const LOOK_MS = 5 * 60_000;

export type SchemaKeeper = {
  facts(): SchemaFacts;
  /** Resolves when Postgres is migrated. */
  readonly postgresReady: Promise<void>;
  /**
   * Until `stop` aborts: checks the tables every few minutes, since an operator may change or repair them, and rebuilds
   * a large table that this version needs in another form.
   */
  watch(stop: AbortSignal): Promise<void>;
  /** Migrates both stores as soon as they answer; resolves when that is done or `stop` aborts. */
  run(stop: AbortSignal): Promise<void>;
};

type SchemaDeps = {
  readonly postgres: Pool;
  readonly events: EventSchema;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
};

/** The first of several processes does the work; the others find it done. */
export function createSchemaKeeper(
  deps: SchemaDeps,
  { isRebuildPostponed = false }: { readonly isRebuildPostponed?: boolean } = {},
): SchemaKeeper {
  const { events, clock, random, log } = deps;
  const postgresReady = Promise.withResolvers<void>();
  const rebuilding = createTableRebuild(deps, { isPostponed: isRebuildPostponed });
  let facts: Omit<SchemaFacts, 'rebuild'> = { postgresReady: false, eventsReady: false, problem: null, drift: [] };

  return { facts: () => ({ ...facts, rebuild: rebuilding.state() }), postgresReady: postgresReady.promise, run, watch };

  async function run(stop: AbortSignal) {
    for (let attempt = 1; !stop.aborted; attempt++) {
      const error = await failureOf(migrateOnce());
      if (error === null) return;
      facts = { ...facts, problem: explainMigrationFailure(error, events) };
      log.warn({ err: error, attempt }, 'stores are not migrated yet');
      await clock.sleep(backoffMs(attempt, MIGRATION_RETRY, random), stop);
    }
  }

  async function migrateOnce() {
    await migrateStores({ ...deps, onPostgresReady }, log);
    await compare();
  }

  async function watch(stop: AbortSignal) {
    await Promise.all([watchTables(stop), rebuilding.run(stop)]);
  }

  async function watchTables(stop: AbortSignal) {
    while (!stop.aborted) {
      await clock.sleep(LOOK_MS, stop);
      // A failed comparison changes nothing; the store's heartbeat reports the reason.
      if (!stop.aborted) await failureOf(compare());
    }
  }

  async function compare() {
    const found = await events.check();
    const drift = found.map(({ table, problem, remedy }) => `${table}: ${problem}; run: ${remedy}`);
    for (const [index, { table, problem, remedy }] of found.entries()) {
      if (!facts.drift.includes(drift[index]!)) log.warn({ table, problem, remedy }, 'schema differs');
    }
    if (facts.drift.length > 0 && drift.length === 0) log.info({}, 'schema is as it should be');
    facts = { postgresReady: true, eventsReady: true, problem: null, drift };
  }

  function onPostgresReady() {
    facts = { ...facts, postgresReady: true };
    postgresReady.resolve();
  }
}
