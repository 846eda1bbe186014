import type { Command } from 'commander';
import { createLog } from '../log.ts';
import { CommandFailure, printJson, type Cli } from './cli.ts';
import { findClickHouse, findPostgres } from './stores.ts';

export function addMigrate(program: Command, cli: Cli): void {
  program
    .command('migrate')
    .description("bring both stores' tables up to date; safe to run twice, and by several at once")
    .option('--json', 'print the outcome as JSON')
    .addHelpText(
      'after',
      `
\`weir serve\` does the same when it starts; this is for deployments that change schemas first.

Examples:
  weir migrate
  DATABASE_URL=postgres://… CLICKHOUSE_URL=http://… weir migrate --json`,
    )
    .action(async (options: { json?: boolean }) => {
      const config = cli.config();
      const postgres = findPostgres(config);
      const clickhouse = findClickHouse(config);
      const { migrateStores } = await import('../migrate.ts');
      throw new CommandFailure(
        `${postgres.from} ${clickhouse.from} ${typeof migrateStores} ${options.json} ${typeof createLog} ${typeof printJson}`,
      );
    });
}
