import type { Command } from 'commander';
import { printJson, type Cli } from '../cli.ts';
import { withPostgres } from '../stores.ts';
import { counted, printable } from '../../operations/wording.ts';
import { parseCount, parseId } from './selection.ts';

const SHOWN = 10;

export function addShow(dlq: Command, cli: Cli): void {
  dlq
    .command('show')
    .description('show one dead letter and its rows, with the values of the events hidden')
    .argument('<id>', 'the id of the letter', parseId)
    .option('--rows <count>', 'the maximum number of rows to show', parseCount, SHOWN)
    .option('--unsafe', 'also show the values, which may include personal data')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Without --unsafe, only the names and types of the fields of events are shown. Each row has the number
by which \`weir dlq replay --only\` knows it.

Examples:
  weir dlq show 0198c0de-0000-7000-8000-000000000000
  weir dlq show 0198c0de-0000-7000-8000-000000000000 --rows 1 --unsafe`,
    )
    .action(async (id: string, options: { rows: number; unsafe?: boolean; json?: boolean }) => {
      const { showDeadLetter, numbered } = await import('../../operations/show-dead-letter.ts');
      const { letter, isReadable, rows, more } = await withPostgres(cli, (db) =>
        showDeadLetter(db, { id, maxRows: options.rows, isUnsafe: options.unsafe ?? false }),
      );
      if (options.json) return printJson(cli.io, { ...letter, isReadable, rows: rows.map(numbered), more });
      for (const [name, value] of Object.entries(letter)) {
        const text = value instanceof Date ? value.toISOString() : Array.isArray(value) ? value.join(' ') : value;
        cli.io.stdout(`${name.padEnd(18)}${printable(String(text ?? '-'))}\n`);
      }
      cli.io.stdout('\n');
      if (!isReadable) cli.io.stderr('The payload is damaged: its rows cannot be read.\n');
      const width = String(rows.length).length;
      for (const [place, row] of rows.entries())
        cli.io.stdout(`${String(place + 1).padStart(width)}  ${printable(row)}\n`);
      if (more > 0) cli.io.stderr(`… and ${counted(more, 'more row')}: --rows shows them.\n`);
    });
}
