import type { Command } from 'commander';
import type { ClickHouseClient } from '@clickhouse/client';
import { CommandFailure, type Cli } from './cli.ts';
import { findClickHouse } from './stores.ts';
import { createTable } from './table.ts';

export function addQuery(program: Command, cli: Cli): void {
  program
    .command('query')
    .description('run one reading SQL statement on ClickHouse, in the configured database')
    .argument('<sql>', 'the statement, without FORMAT; "-" reads it from stdin')
    .option('--json', 'print one JSON object a line')
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
      const { createClickHouse } = await import('../clickhouse/client.ts');
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
  const { queryNdjson } = await import('../clickhouse/query.ts');
  for await (const lines of await queryNdjson(client, sql)) io.stdout(`${lines.join('\n')}\n`);
}

/** The first group of rows decides the widths; what comes later is printed as it arrives. */
async function printTable(client: ClickHouseClient, sql: string, { io }: Cli): Promise<void> {
  const { queryTable } = await import('../clickhouse/query.ts');
  const { columns, rows } = await queryTable(client, sql);
  if (columns.length === 0) return;
  const described = columns.map(({ name, type }) => ({
    name,
    isNumeric: /^(Nullable\()?(U?Int|Float|Decimal)/.test(type),
  }));
  let table = null;
  for await (const group of rows) {
    if (table === null) {
      table = createTable(described, group);
      io.stdout(table.header());
    }
    const { line } = table;
    io.stdout(group.map((cells) => line(cells)).join(''));
  }
  if (table === null) io.stdout(createTable(described, []).header());
}

async function explained(error: unknown, from: string): Promise<unknown> {
  const { QueryRefused, QueryUnanswered } = await import('../clickhouse/query.ts');
  if (error instanceof QueryRefused) return new CommandFailure(error.message, { cause: error });
  if (!(error instanceof QueryUnanswered)) return error;
  return new CommandFailure(`${error.message}: check that it runs and that the address is right (from ${from}).`, {
    cause: error,
  });
}
