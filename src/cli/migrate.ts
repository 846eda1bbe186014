import type { Command } from 'commander';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { createLog } from '../log/log.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import type { RebuildState } from '../pipeline/storage-port.ts';
import { createProgress } from './progress.ts';
import { findClickHouse, findPostgres } from './stores.ts';
import { grouped } from './format.ts';

export function addMigrate(program: Command, cli: Cli): void {
  program
    .command('migrate')
    .description("bring both stores' tables up to date; safe to run twice, and by several at once")
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
      const { rebuild, ...applied } = await migrateFound(cli, options);
      if (options.json) return printJson(cli.io, { ...applied, rebuild });
      const names = [
        ...applied.postgres.map((name) => `Postgres ${name}\n`),
        ...applied.clickhouse.map((name) => `ClickHouse ${name}\n`),
      ];
      cli.io.stdout(names.join(''));
      cli.io.stderr(names.length === 0 ? 'Both stores are up to date.\n' : `${names.length} migrations applied.\n`);
      if (rebuild.kind !== 'done') cli.io.stderr(`${describeRebuild(rebuild)}\n`);
      if (options.rebuild && rebuild.kind === 'blocked') cli.exitWith(1);
    });
}

type Options = { readonly rebuild?: boolean; readonly json?: boolean };

/** A sentence for an operator; only what `weir doctor` puts behind its name when the rebuild is done. */
export function describeRebuild(state: RebuildState): string {
  if (state.kind === 'done') return 'sorted so that copies of an event collapse';
  if (state.kind === 'blocked')
    return `events_raw_v1 is sorted as in earlier versions and cannot be rebuilt: ${state.why}.`;
  const { doing, rows, total, waitsFor } = state;
  const part = total === 0 ? '' : `, ${Math.floor((100 * rows) / total)} % of ${grouped(total)} rows`;
  const waits = waitsFor === null ? '' : `; waits for ${waitsFor}`;
  return `events_raw_v1 is being rebuilt: ${doing}${part}${waits}. weir serve does so in the background, weir migrate --rebuild without pauses.`;
}

async function migrateFound(cli: Cli, { rebuild = false }: Options) {
  const { clock, config } = cli;
  const settings = config();
  const at = { postgres: findPostgres(settings), clickhouse: findClickHouse(settings) };
  const [
    { createPostgres },
    { createClickHouse },
    { createEventSchema },
    { migrateStores, explainMigrationFailure },
    { finishRebuild },
  ] = await Promise.all([
    import('../postgres/connection/pool.ts'),
    import('../clickhouse/connection/client.ts'),
    import('../clickhouse/migrations/event-schema.ts'),
    import('../composition/migrate-stores.ts'),
    import('../composition/table-rebuild.ts'),
  ]);
  const log = createLog('silent');
  const { pool } = createPostgres({ url: at.postgres.url, maxConnections: 2 }, log);
  const clickhouse = createClickHouse(at.clickhouse);
  const events = createEventSchema(clickhouse, at.clickhouse.database);
  try {
    await reachPostgres(pool, at.postgres.from);
    await reachClickHouse(clickhouse, at.clickhouse.from);
    const applied = await migrateStores({ postgres: pool, events, clock }, log);
    const say = createProgress(cli);
    const state = rebuild
      ? await finishRebuild({ postgres: pool, events, clock }, (now) => say(() => describeRebuild(now)))
      : (await events.rebuild.read()).state;
    return { ...applied, rebuild: state };
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw new CommandFailure(`${explainMigrationFailure(error, events)}.`, { cause: error });
  } finally {
    await Promise.all([pool.end(), clickhouse.close()]);
  }
}

async function reachPostgres(pool: Pool, from: string): Promise<void> {
  const { explainFailure } = await import('../postgres/connection/connection-errors.ts');
  await pool.query('SELECT 1').catch((error: unknown) => {
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  });
}

async function reachClickHouse(client: ClickHouseClient, from: string): Promise<void> {
  const [{ checkConnectivity }, { explainFailure }] = await Promise.all([
    import('../clickhouse/operations/connectivity-check.ts'),
    import('../clickhouse/connection/connection-errors.ts'),
  ]);
  await checkConnectivity(client).catch((error: unknown) => {
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  });
}
