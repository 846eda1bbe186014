import type { ClickHouseClient } from '@clickhouse/client';
import type { EventSchema, TableRebuild } from '../../pipeline/storage-port.ts';
import { askOf } from '../connection/ask.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { EVENTS } from './event-tables.ts';
import { type Migration, isAfterRebuild, migrateClickHouse, MigrationChanged, readMigrations } from './migrate.ts';
import { foundIn } from './promoted-properties.ts';
import { differingViews, readStoredColumns, showProperties, withProperties } from './property-views.ts';
import { createRebuild } from './rebuild.ts';
import { countParts } from './rebuild-reading.ts';
import { checkSchema } from './schema-check.ts';

/** All steps of a rebuild in which there is nothing to copy, and some that are taken again. */
const MAX_STEPS = 40;

/** Weir's tables in one database of ClickHouse. */
export function createEventSchema(client: ClickHouseClient, database: string): EventSchema {
  const rebuild = createRebuild(client, database);
  return { migrate, check, rebuild, explain };

  async function migrate() {
    const migrations = readMigrations();
    const applied = await apply(migrations.filter((migration) => !isAfterRebuild(migration)));
    // A table without rows is rebuilt in a moment; any other one in the background.
    if ((await countParts(askOf(client, database), EVENTS)).rows === 0) await finish(rebuild);
    const { state } = await rebuild.read();
    const last = state.kind === 'done' ? await apply(migrations.filter(isAfterRebuild)) : [];
    // A backup may bring back a table that has others than the views show.
    await showProperties(client, database);
    return [...applied, ...last];
  }

  async function check() {
    const drift = await checkSchema(client, database);
    // A table or view that is missing is reported already.
    if (drift.length > 0) return drift;
    // One that shows less than it could works: that is how it looks for a moment while a property is promoted or demoted.
    const broken = (await differingViews(askOf(client, database), database)).filter(
      ({ without }) => without.length > 0,
    );
    return broken.map(({ view, without, statement }) => ({
      table: view,
      problem: `cannot be read: it shows ${without.join(', ')}, which ${EVENTS} does not have`,
      remedy: `USE ${database}; ${statement}`,
    }));
  }

  /** A migration knows nothing of promoted properties; what shows them does so at every moment. */
  async function apply(migrations: readonly Migration[]) {
    const { promoted } = foundIn(await readStoredColumns(askOf(client, database)));
    const names = promoted.map(({ name }) => name);
    return migrateClickHouse(client, database, migrations, (statement) => withProperties(statement, names));
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
