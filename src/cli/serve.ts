import type { Command } from 'commander';
import type { Cli } from './cli.ts';

export function addServe(program: Command, { io, config, exitWith, releaseSignals }: Cli): void {
  program
    .command('serve')
    .description('accept events until SIGTERM or SIGINT, then save everything and stop')
    .addHelpText(
      'after',
      `
Without DATABASE_URL or CLICKHOUSE_URL, Weir starts the missing store itself, with its data in
WEIR_DATA_DIR. That is meant for trying Weir out, and refused when NODE_ENV is production.

Examples:
  weir serve
  PORT=9000 WEIR_DATA_DIR=/var/lib/weir weir serve
  DATABASE_URL=postgres://… CLICKHOUSE_URL=http://… NODE_ENV=production weir serve`,
    )
    .action(async () => {
      const settings = config();
      const { serve } = await import('../service/serve.ts');
      exitWith(await serve(settings, { io, releaseSignals }));
    });
}
