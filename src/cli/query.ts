import type { Command } from 'commander';
import { type EventOperations, QueryRefused, QueryUnanswered } from '../pipeline/operator-port.ts';
import { CommandFailure, type Cli } from './cli.ts';
import { eventStoreOf, findClickHouse, findPostgres, withEvents } from './stores.ts';
import { createTable } from './table.ts';

/** Rows that decide the column widths: more than fit on a screen. */
const SAMPLE_ROWS = 1_000;

export function addQuery(program: Command, cli: Cli): void {
  program
    .command('query')
    .description('run one read-only SQL statement where the events are stored: on ClickHouse, or on Postgres')
    .argument('<sql>', 'the statement, without FORMAT; "-" reads it from stdin')
    .option('--json', 'print one JSON object per line')
    .addHelpText(
      'after',
      `
In ClickHouse it runs in the configured database, in Postgres with the schema "analytics" first.

Examples:
  weir query "SELECT event, count() FROM events GROUP BY event ORDER BY 2 DESC"
  weir query "SELECT event, count(*) FROM events GROUP BY event ORDER BY 2 DESC"   (Postgres)
  weir query --json "SELECT * FROM events LIMIT 10"
  weir query - < report.sql`,
    )
    .action(async (argument: string, options: { json?: boolean }) => {
      const sql = argument === '-' ? await cli.input.readAll() : argument;
      if (sql.trim() === '') throw new CommandFailure('The query is empty.');
      await withEvents(cli, async (events) => {
        try {
          await (options.json ? printNdjson(events, sql, cli) : printTable(events, sql, cli));
        } catch (error) {
          throw explained(error, cli);
        }
      });
    });
}

async function printNdjson(events: EventOperations, sql: string, { io }: Cli): Promise<void> {
  for await (const lines of await events.queryNdjson(sql)) io.stdout(`${lines.join('\n')}\n`);
}

/** The first rows decide the widths; later ones are printed as they arrive. */
async function printTable(events: EventOperations, sql: string, { io }: Cli): Promise<void> {
  const { columns, rows } = await events.queryTable(sql);
  if (columns.length === 0) return;
  const sample: (readonly string[])[] = [];
  let line: ((cells: readonly string[]) => string) | null = null;
  for await (const group of rows) {
    if (line !== null) io.stdout(group.map(line).join(''));
    else if (sample.push(...group) >= SAMPLE_ROWS) line = begin();
  }
  if (line === null) begin();

  function begin() {
    const table = createTable(columns, sample);
    io.stdout([table.header(), ...sample.map(table.line)].join(''));
    return table.line;
  }
}

function explained(error: unknown, { config }: Cli): unknown {
  if (error instanceof QueryRefused) return new CommandFailure(error.message, { cause: error });
  if (!(error instanceof QueryUnanswered)) return error;
  const { from } = eventStoreOf(config()) === 'Postgres' ? findPostgres(config()) : findClickHouse(config());
  return new CommandFailure(`${error.message}: check that it runs and that the address is right (from ${from}).`, {
    cause: error,
  });
}
