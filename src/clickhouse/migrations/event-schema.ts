import type { ClickHouseClient } from '@clickhouse/client';
import type { EventSchema, TableRebuild } from '../../pipeline/storage-port.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { EVENTS } from './event-tables.ts';
import { type Migration, isAfterRebuild, migrateClickHouse, MigrationChanged, readMigrations } from './migrate.ts';
import { createRebuild } from './rebuild.ts';
import { askOf, countParts } from './rebuild-reading.ts';
import { checkSchema } from './schema-check.ts';

/** All steps of a rebuild in which there is nothing to copy, and some that are taken again. */
const MAX_STEPS = 40;

/** Weir's tables in one database of ClickHouse. */
export function createEventSchema(client: ClickHouseClient, database: string): EventSchema {
  const rebuild = createRebuild(client, database);
  return { migrate, check: () => checkSchema(client, database), rebuild, explain };

  async function migrate() {
    const migrations = readMigrations();
    const applied = await apply(migrations.filter((migration) => !isAfterRebuild(migration)));
    // A table without rows is rebuilt in a moment; any other one in the background.
    if ((await countParts(askOf(client, database), EVENTS)).rows === 0) await finish(rebuild);
    const { state } = await rebuild.read();
    return state.kind === 'done' ? [...applied, ...(await apply(migrations.filter(isAfterRebuild)))] : applied;
  }

  function apply(migrations: readonly Migration[]) {
    return migrateClickHouse(client, database, migrations);
  }
}

async function finish(rebuild: TableRebuild): Promise<void> {
  for (let taken = 0; taken < MAX_STEPS; taken += 1) {
    const { next } = await rebuild.read();
    if (next === 'none') return;
    const state = await rebuild.take(next);
    // Somebody is writing already.
    if (state.kind === 'running' && state.waitsFor !== null) return;
  }
}

const explain = (error: unknown): string => (error instanceof MigrationChanged ? error.message : explainFailure(error));
