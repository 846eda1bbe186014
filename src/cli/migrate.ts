import type { Command } from 'commander';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import { createLog } from '../log.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { findClickHouse, findPostgres } from './stores.ts';

export function addMigrate(program: Command, cli: Cli): void {
  program
    .command('migrate')
    .description("bring both stores' tables up to date; safe to run twice, and by several at once")
    .option('--json', 'print what was applied as JSON')
    .addHelpText(
      'after',
      `
\`weir serve\` does the same when it starts; this is for deployments that change schemas first.

Examples:
  weir migrate
  DATABASE_URL=postgres://… CLICKHOUSE_URL=http://… weir migrate --json`,
    )
    .action(async (options: { json?: boolean }) => {
      const applied = await migrateFound(cli);
      if (options.json) return printJson(cli.io, applied);
      const names = [
        ...applied.postgres.map((name) => `Postgres ${name}\n`),
        ...applied.clickhouse.map((name) => `ClickHouse ${name}\n`),
      ];
      cli.io.stdout(names.join(''));
      cli.io.stderr(names.length === 0 ? 'Both stores are up to date.\n' : `${names.length} migrations applied.\n`);
    });
}

async function migrateFound({ clock, config }: Cli) {
  const settings = config();
  const at = { postgres: findPostgres(settings), clickhouse: findClickHouse(settings) };
  const [{ createPostgres }, { createClickHouse }, { migrateStores }] = await Promise.all([
    import('../postgres/pool.ts'),
    import('../clickhouse/client.ts'),
    import('../migrate.ts'),
  ]);
  const log = createLog('silent');
  const { pool } = createPostgres({ url: at.postgres.url, maxConnections: 2 }, log);
  const clickhouse = createClickHouse(at.clickhouse);
  try {
    await reachPostgres(pool, at.postgres.from);
    await reachClickHouse(clickhouse, at.clickhouse.from);
    return await migrateStores({ postgres: pool, clickhouse, database: at.clickhouse.database, clock }, log);
  } finally {
    await Promise.all([pool.end(), clickhouse.close()]);
  }
}

async function reachPostgres(pool: Pool, from: string): Promise<void> {
  const { explainFailure } = await import('../postgres/reach.ts');
  await pool.query('SELECT 1').catch((error: unknown) => {
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  });
}

async function reachClickHouse(client: ClickHouseClient, from: string): Promise<void> {
  const { explainFailure, knock } = await import('../clickhouse/reach.ts');
  await knock(client).catch((error: unknown) => {
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  });
}
