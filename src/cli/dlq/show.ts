import type { Command } from 'commander';
import { splitRows } from '../../event/rows.ts';
import { CommandFailure, printJson, type Cli } from '../cli.ts';
import { withPostgres } from '../stores.ts';
import { printable } from '../table.ts';
import { counted } from '../words.ts';
import { unquoted } from './look.ts';
import { lookupOf, parseCount, parseId } from './selection.ts';

const SHOWN = 10;
/** What is needed to find an event elsewhere and tells nothing of a person. */
const PLAIN_FIELDS = new Set(['project_id', 'event_id', 'source', 'received_at', 'expires_at']);

export function addShow(dlq: Command, cli: Cli): void {
  dlq
    .command('show')
    .description('show one dead letter and its rows, with the values of the events hidden')
    .argument('<id>', 'the id of the letter', parseId)
    .option('--rows <count>', 'how many rows at most', parseCount, SHOWN)
    .option('--unsafe', 'show the values too: personal data may be among them')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Of the events only field names and types are shown, unless --unsafe is given.

Examples:
  weir dlq show 0198c0de-0000-7000-8000-000000000000
  weir dlq show 0198c0de-0000-7000-8000-000000000000 --rows 1 --unsafe`,
    )
    .action(async (id: string, options: { rows: number; unsafe?: boolean; json?: boolean }) => {
      const opened = await withPostgres(cli, async (db) => (await lookupOf(db)).open(id));
      if (opened === null) {
        throw new CommandFailure(
          `There is no dead letter ${id}. \`weir dlq audit --letter ${id}\` says what became of it.`,
        );
      }
      const { rows, letter } = opened;
      const all = rows === null ? [] : splitRows(rows);
      const shown = all.slice(0, options.rows).map((row) => shownRow(row, options.unsafe ?? false));
      const described = { ...letter, lastError: options.unsafe ? letter.lastError : unquoted(letter.lastError) };
      const more = all.length - shown.length;
      if (options.json) {
        return printJson(cli.io, { ...described, isReadable: rows !== null, rows: shown.map(parsed), more });
      }
      for (const [name, value] of Object.entries(described)) {
        const text = value instanceof Date ? value.toISOString() : Array.isArray(value) ? value.join(' ') : value;
        cli.io.stdout(`${name.padEnd(18)}${printable(String(text ?? '-'))}\n`);
      }
      cli.io.stdout('\n');
      if (rows === null) cli.io.stderr('The payload is damaged: its rows cannot be read.\n');
      for (const row of shown) cli.io.stdout(`${printable(row)}\n`);
      if (more > 0) cli.io.stderr(`… and ${counted(more, 'more row')}: --rows shows them.\n`);
    });
}

function shownRow(row: Buffer, isUnsafe: boolean): string {
  const text = row.toString('utf8').trimEnd();
  if (isUnsafe) return text;
  const fields = parsed(text);
  if (typeof fields !== 'object' || fields === null) return JSON.stringify(`<${row.length} bytes that are no JSON>`);
  const hidden = Object.entries(fields).map(([name, value]) => [name, PLAIN_FIELDS.has(name) ? value : typesOf(value)]);
  return JSON.stringify(Object.fromEntries(hidden));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A row that is no JSON is why it lies here, perhaps: it is shown as what it is.
    return text;
  }
}

/** The value with everything but its shape taken away. */
function typesOf(value: unknown): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(typesOf);
  if (typeof value !== 'object') return `<${typeof value}>`;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typesOf(inner)]));
}
