import type { Command } from 'commander';
import { jsonOrText } from '../../operations/hidden-values.ts';
import { printJson, type Cli } from '../cli.ts';
import { idsShownBy } from '../dlq/selection.ts';
import { withPostgres } from '../stores.ts';
import { printable } from '../../operations/wording.ts';

export function addShow(rejected: Command, cli: Cli): void {
  rejected
    .command('show')
    .description('show one rejected event, with its values hidden')
    .argument('<id>', 'the id, from `weir rejected ls`', idsShownBy('weir rejected ls').one)
    .option('--unsafe', 'also show the values, which may include personal data')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Without --unsafe, only the names and types of the fields of the event are shown. Tokens are never kept.

Examples:
  weir rejected show 0198c0de-0000-7000-8000-000000000000
  weir rejected show 0198c0de-0000-7000-8000-000000000000 --unsafe --json`,
    )
    .action(async (id: string, options: { unsafe?: boolean; json?: boolean }) => {
      const shown = await withPostgres(cli, async (db) => {
        const { showRejected } = await import('../../operations/show-rejected.ts');
        return showRejected(db, { id, isUnsafe: options.unsafe ?? false });
      });
      if (options.json) return printJson(cli.io, { ...shown, event: jsonOrText(shown.event) });
      const { event, ...entry } = shown;
      for (const [name, value] of Object.entries(entry)) {
        const text = value instanceof Date ? value.toISOString() : String(value);
        cli.io.stdout(`${name.padEnd(12)}${printable(text)}\n`);
      }
      cli.io.stdout(`\n${printable(event)}\n`);
    });
}
