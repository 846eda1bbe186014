import type { Command } from 'commander';
import { envExample } from '../config/example.ts';
import { printJson, type Cli } from './cli.ts';
import { textTable } from './table.ts';

export function addConfig(program: Command, { io, config }: Cli): void {
  program
    .command('config')
    .description('print the effective value of every setting and its source; secrets are redacted')
    .option('--json', 'print one JSON array')
    .option('--example', 'print a commented .env with every setting and its default instead')
    .addHelpText(
      'after',
      `
Settings come from the environment, then from the TOML file (WEIR_CONFIG, or weir.toml
in the current directory), then from the defaults. All problems are listed at once.

Examples:
  weir config
  weir config --json
  weir config --example > .env`,
    )
    .action((options: { json?: boolean; example?: boolean }) => {
      if (options.example) return io.stdout(envExample());
      const { effective } = config();
      if (options.json) return printJson(io, effective);
      io.stdout(
        textTable(
          ['SETTING', 'VALUE', 'SOURCE'],
          effective.map(({ name, value, source }) => [name, value, source]),
        ),
      );
    });
}
