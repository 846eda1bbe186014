import type { Pool } from 'pg';
import { systemClock } from '../runtime/clock.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import type { EventSchema } from '../pipeline/storage-port.ts';
import { PostgresFailure } from '../postgres/connection/errors.ts';
import { keepingLock, MigrationLocked, migratePostgres, withMigrationLock } from '../postgres/migrations/migrate.ts';
import { SchemaMissing } from '../postgres/connection/errors.ts';
import { explainFailure as explainPostgres } from '../postgres/connection/connection-errors.ts';

/** The names of the applied migrations, those of the tables of events apart; empty when nothing was left to do. */
export type AppliedMigrations = { readonly postgres: readonly string[]; readonly events: readonly string[] };

/**
 * Brings the tables of both stores up to date. Any number of processes may call it at once: they take turns by a lock
 * in Postgres, and the later ones find nothing left to do. Throws when a store is down, or when another process has
 * held the lock for too long.
 */
export async function migrateStores(
  {
    postgres,
    events,
    clock = systemClock,
    onPostgresReady = () => {},
  }: {
    postgres: Pool;
    events: EventSchema;
    clock?: Clock;
    /**
     * Called once Postgres is up to date, before the tables of events are: from then on tokens can be looked up and dead
     * letters kept.
     */
    onPostgresReady?: () => void;
  },
  log: Log,
): Promise<AppliedMigrations> {
  const postgresApplied = await withMigrationLock(postgres, clock, migratePostgres);
  onPostgresReady();
  const eventsApplied = await withMigrationLock(postgres, clock, (client) =>
    keepingLock(client, clock, events.migrate),
  );
  const applied = { postgres: postgresApplied, events: eventsApplied };
  if (applied.postgres.length + applied.events.length > 0) log.info(applied, 'migrations applied');
  return applied;
}

/** Why `migrateStores` threw, in a sentence for an operator, without its full stop and without event data. */
export function explainMigrationFailure(error: unknown, events: EventSchema): string {
  if (error instanceof MigrationLocked) return error.message;
  if (error instanceof PostgresFailure || error instanceof SchemaMissing) return explainPostgres(error);
  return events.explain(error);
}
