import type { Command } from 'commander';
import type { ClickHouseClient } from '@clickhouse/client';
import { CommandFailure, type Cli } from './cli.ts';
import { findClickHouse } from './stores.ts';
import { createTable } from './table.ts';

/** Rows that decide the column widths: more than fit on a screen. */
const SAMPLE_ROWS = 1_000;

export function addQuery(program: Command, cli: Cli): void {
  program
    .command('query')
    .description('run one read-only SQL statement on ClickHouse, in the configured database')
    .argument('<sql>', 'the statement, without FORMAT; "-" reads it from stdin')
    .option('--json', 'print one JSON object per line')
    .addHelpText(
      'after',
      `
Examples:
  weir query "SELECT event, count() FROM events GROUP BY event ORDER BY 2 DESC"
  weir query --json "SELECT * FROM events LIMIT 10"
  weir query - < report.sql`,
    )
    .action(async (argument: string, options: { json?: boolean }) => {
      const sql = argument === '-' ? await cli.input.readAll() : argument;
      const found = findClickHouse(cli.config());
      const { createClickHouse } = await import('../clickhouse/connection/client.ts');
      const client = createClickHouse(found);
      try {
        await (options.json ? printNdjson(client, sql, cli) : printTable(client, sql, cli));
      } catch (error) {
        throw await explained(error, found.from);
      } finally {
        await client.close();
      }
    });
}

async function printNdjson(client: ClickHouseClient, sql: string, { io }: Cli): Promise<void> {
  const { queryNdjson } = await import('../clickhouse/operations/operator-query.ts');
  for await (const lines of await queryNdjson(client, sql)) io.stdout(`${lines.join('\n')}\n`);
}

/** The first rows decide the widths; later ones are printed as they arrive. */
async function printTable(client: ClickHouseClient, sql: string, { io }: Cli): Promise<void> {
  const { queryTable } = await import('../clickhouse/operations/operator-query.ts');
  const { columns, rows } = await queryTable(client, sql);
  if (columns.length === 0) return;
  const described = columns.map(({ name, type }) => ({ name, isNumeric: isNumeric(type) }));
  const sample: (readonly string[])[] = [];
  let line: ((cells: readonly string[]) => string) | null = null;
  for await (const group of rows) {
    if (line !== null) io.stdout(group.map(line).join(''));
    else if (sample.push(...group) >= SAMPLE_ROWS) line = begin();
  }
  if (line === null) begin();

  function begin() {
    const table = createTable(described, sample);
    io.stdout([table.header(), ...sample.map(table.line)].join(''));
    return table.line;
  }
}

function isNumeric(type: string): boolean {
  return /^(Nullable\(|LowCardinality\()*(U?Int|Float|Decimal)/.test(type);
}

async function explained(error: unknown, from: string): Promise<unknown> {
  const { QueryRefused, QueryUnanswered } = await import('../clickhouse/operations/operator-query.ts');
  if (error instanceof QueryRefused) return new CommandFailure(error.message, { cause: error });
  if (!(error instanceof QueryUnanswered)) return error;
  return new CommandFailure(`${error.message}: check that it runs and that the address is right (from ${from}).`, {
    cause: error,
  });
}
