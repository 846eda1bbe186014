import type { Command } from 'commander';
import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import { createLog } from '../log/log.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import type { EventSchema } from '../pipeline/storage-port.ts';
import { createProgress } from './progress.ts';
import { eventStoreOf, findClickHouse, findPostgres, openPostgresEventsOf } from './stores.ts';
import { describeRebuild } from '../operations/rebuild-text.ts';

export function addMigrate(program: Command, cli: Cli): void {
  program
    .command('migrate')
    .description("bring the stores' tables up to date; safe to run twice, and by several at once")
    .option('--rebuild', 'also rebuild large tables now, and wait until that is done')
    .option('--json', 'print what was applied as JSON')
    .addHelpText(
      'after',
      `
\`weir serve\` does the same when it starts; this command is for deployments that change schemas first.

\`weir serve\` rebuilds a table that is too large to be changed at once in the background; this command
shows the progress. With --rebuild it rebuilds the table itself. Weir accepts events meanwhile, and
after an interruption the next run continues.

Examples:
  weir migrate
  weir migrate --rebuild
  DATABASE_URL=postgres://… CLICKHOUSE_URL=http://… weir migrate --json`,
    )
    .action(async (options: Options) => {
      const { applied, rebuild, store } = await migrateFound(cli, options);
      // Both are migrations of Postgres where that stores the events.
      const listed =
        store === 'Postgres'
          ? { postgres: [...applied.postgres, ...applied.events] }
          : { postgres: applied.postgres, clickhouse: applied.events };
      if (options.json) return printJson(cli.io, { ...listed, rebuild });
      const names = [
        ...applied.postgres.map((name) => `Postgres ${name}\n`),
        ...applied.events.map((name) => `${store} ${name}\n`),
      ];
      cli.io.stdout(names.join(''));
      cli.io.stderr(names.length === 0 ? 'All tables are up to date.\n' : `${names.length} migrations applied.\n`);
      if (rebuild.kind !== 'done') cli.io.stderr(`${describeRebuild(rebuild)}\n`);
      if (options.rebuild && rebuild.kind === 'blocked') cli.exitWith(1);
    });
}

type Options = { readonly rebuild?: boolean; readonly json?: boolean };

async function migrateFound(cli: Cli, { rebuild = false }: Options) {
  const { clock, config } = cli;
  const settings = config();
  const postgres = findPostgres(settings);
  const store = eventStoreOf(settings);
  const [{ createPostgres }, { migrateStores, explainMigrationFailure }, { finishRebuild }] = await Promise.all([
    import('../postgres/connection/pool.ts'),
    import('../composition/migrate-stores.ts'),
    import('../composition/table-rebuild.ts'),
  ]);
  const log = createLog('silent');
  const { pool } = createPostgres({ url: postgres.url, maxConnections: 2 }, log);
  const { schema: events, reach, close } = await openSchema(cli, settings);
  try {
    await reachPostgres(pool, postgres.from);
    await reach();
    const applied = await migrateStores({ postgres: pool, events, clock }, log);
    const say = createProgress(cli);
    const state = rebuild
      ? await finishRebuild({ postgres: pool, events, clock }, (now) => say(() => describeRebuild(now)))
      : (await events.rebuild.read()).state;
    return { applied, rebuild: state, store };
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw new CommandFailure(`${explainMigrationFailure(error, events)}.`, { cause: error });
  } finally {
    await Promise.all([pool.end(), close()]);
  }
}

async function reachPostgres(pool: Pool, from: string): Promise<void> {
  const { explainFailure } = await import('../postgres/connection/connection-errors.ts');
  await pool.query('SELECT 1').catch((error: unknown) => {
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  });
}

/** `reach` throws `CommandFailure` unless the store of the events answers. */
type OpenedSchema = { readonly schema: EventSchema; reach(): Promise<void>; close(): Promise<void> };

async function openSchema(cli: Cli, settings: Config): Promise<OpenedSchema> {
  if (eventStoreOf(settings) === 'Postgres') {
    const { schema, close } = await openPostgresEventsOf(cli);
    return { schema, reach: () => Promise.resolve(), close };
  }
  const [{ createClickHouse }, { createEventSchema }, { checkConnectivity }, { explainFailure }] = await Promise.all([
    import('../clickhouse/connection/client.ts'),
    import('../clickhouse/migrations/event-schema.ts'),
    import('../clickhouse/operations/connectivity-check.ts'),
    import('../clickhouse/connection/connection-errors.ts'),
  ]);
  const found = findClickHouse(settings);
  const client = createClickHouse(found);
  return {
    schema: createEventSchema(client, found.database, { cluster: settings.clickhouse.cluster }),
    reach: () =>
      checkConnectivity(client).catch((error: unknown) => {
        throw new CommandFailure(`${explainFailure(error)} (from ${found.from}).`, { cause: error });
      }),
    close: () => client.close(),
  };
}
