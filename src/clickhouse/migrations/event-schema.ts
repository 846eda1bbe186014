import type { ClickHouseClient } from '@clickhouse/client';
import type { EventSchema, TableRebuild } from '../../pipeline/storage-port.ts';
import { askOf } from '../connection/ask.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { type Layout, LayoutRefused, readLayout } from '../connection/layout.ts';
import { EVENTS } from './event-tables.ts';
import { refuseObstacles } from './layout-obstacles.ts';
import { statementFor } from './layout-statements.ts';
import { type Migration, isAfterRebuild, migrateClickHouse, MigrationChanged, readMigrations } from './migrate.ts';
import { foundIn } from './promoted-properties.ts';
import { differingViews, readStoredColumns, showProperties, withProperties } from './property-views.ts';
import { createRebuild } from './rebuild.ts';
import { countParts } from './rebuild-reading.ts';
import { checkSchema } from './schema-check.ts';

/** All steps of a rebuild in which there is nothing to copy, and some that are taken again. */
const MAX_STEPS = 40;

/** Weir's tables in one database of ClickHouse. `cluster`: the servers that share them, as the setting names them. */
export function createEventSchema(
  client: ClickHouseClient,
  database: string,
  { cluster = null }: { readonly cluster?: string | null } = {},
): EventSchema {
  const rebuild = createRebuild(client, database);
  const ask = askOf(client, database);
  return { migrate, check, rebuild, explain };

  async function migrate() {
    const migrations = readMigrations();
    const layout = await readLayout(ask, { database, cluster });
    await refuseObstacles(ask, layout);
    const applied = await apply(
      layout,
      migrations.filter((migration) => !isAfterRebuild(migration)),
    );
    // A table without rows is rebuilt in a moment; any other one in the background.
    if ((await countParts(ask, EVENTS)).rows === 0) await finish(rebuild);
    const { state } = await rebuild.read();
    const last = state.kind === 'done' ? await apply(layout, migrations.filter(isAfterRebuild)) : [];
    // A backup may bring back a table that has others than the views show.
    await showProperties(client, { database, layout });
    return [...applied, ...last];
  }

  async function check() {
    const layout = await readLayout(ask, { database, cluster });
    const drift = await checkSchema(client, database, layout);
    // A table or view that is missing is reported already.
    if (drift.length > 0) return drift;
    // One that shows less than it could works: that is how it looks for a moment while a property is promoted or demoted.
    const broken = (await differingViews(ask, database)).filter(({ without }) => without.length > 0);
    return broken.map(({ view, without, statement }) => ({
      table: view,
      problem: `cannot be read: it shows ${without.join(', ')}, which ${EVENTS} does not have`,
      remedy: `USE ${database}; ${statementFor(layout, statement)}`,
    }));
  }

  /** A migration knows nothing of promoted properties; what shows them does so at every moment. */
  async function apply(layout: Layout, migrations: readonly Migration[]) {
    const { promoted } = foundIn(await readStoredColumns(ask));
    const names = promoted.map(({ name }) => name);
    const adapted = (statement: string) => withProperties(statement, names);
    return migrateClickHouse(client, database, migrations, { layout, adapted });
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

const explain = (error: unknown): string =>
  error instanceof MigrationChanged || error instanceof LayoutRefused ? error.message : explainFailure(error);
