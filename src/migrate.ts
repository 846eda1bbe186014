import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { migrateClickHouse } from './clickhouse/migrate.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { migratePostgres, withMigrationLock } from './postgres/migrate.ts';

/** The names of what was applied; empty when all was there. */
export type AppliedMigrations = { readonly postgres: readonly string[]; readonly clickhouse: readonly string[] };

/**
 * Brings the tables of both stores up to date. May be called by any number of
 * processes at once: they take turns, by a lock in Postgres, and the later ones
 * find nothing left to do. Throws when a store is away, or when somebody else
 * has held the lock for too long.
 */
export function migrateStores(
  {
    postgres,
    clickhouse,
    database,
    clock = systemClock,
    onPostgresReady = () => {},
  }: {
    postgres: Pool;
    clickhouse: ClickHouseClient;
    database: string;
    clock?: Clock;
    /** Postgres is up to date, whatever becomes of ClickHouse: tokens can be looked up and dead letters kept. */
    onPostgresReady?: () => void;
  },
  log: Log,
): Promise<AppliedMigrations> {
  return withMigrationLock(postgres, clock, async (client) => {
    const postgresApplied = await migratePostgres(client);
    onPostgresReady();
    const applied = { postgres: postgresApplied, clickhouse: await migrateClickHouse(clickhouse, database) };
    if (applied.postgres.length + applied.clickhouse.length > 0) log.info(applied, 'migrations applied');
    return applied;
  });
}
