import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { ClickHouseError } from '@clickhouse/client';
import { QueryRefused, QueryUnanswered, type TabularResult } from '../../pipeline/operator-port.ts';
import { NotClickHouse } from '../connection/verified-answers.ts';
import { unpromotedSentence } from '../reading/reader-errors.ts';

// A person's query may only read, and stops when the person leaves. Stored data is changed by Weir or with ClickHouse's
// own client. Numbers are printed as they are.
const SETTINGS: ClickHouseSettings = {
  readonly: '2',
  cancel_http_readonly_queries_on_client_close: 1,
  output_format_json_quote_64bit_integers: 0,
};

const NUMERIC = /^(Nullable\(|LowCardinality\()*(U?Int|Float|Decimal)/;

/** Runs a query for a table on a screen. Buffers no more of the answer than arrives at once. */
export async function queryTable(client: ClickHouseClient, sql: string): Promise<TabularResult> {
  const groups = (await linesOf(client, sql, 'TabSeparatedWithNamesAndTypes'))[Symbol.asyncIterator]();
  const [names, types, ...begun] = await atLeast(2, groups);
  if (names === undefined || types === undefined) return { columns: [], rows: rows(groups, []) };
  const typeOf = cellsOf(types);
  return {
    columns: cellsOf(names).map((name, index) => ({ name, isNumeric: NUMERIC.test(typeOf[index]!) })),
    rows: rows(groups, begun),
  };
}

/** Runs a query and yields its rows as lines of JSON, in groups. */
export function queryNdjson(client: ClickHouseClient, sql: string): Promise<AsyncIterable<readonly string[]>> {
  return linesOf(client, sql, 'JSONEachRow');
}

async function linesOf(
  client: ClickHouseClient,
  sql: string,
  format: 'TabSeparatedWithNamesAndTypes' | 'JSONEachRow',
): Promise<AsyncIterable<readonly string[]>> {
  // On a line of its own, so that it works behind any statement: `SHOW TABLES`, a trailing comment, a semicolon.
  const query = sql.replace(/[;\s]+$/, '');
  try {
    const result = await client.query({ query, format, clickhouse_settings: SETTINGS });
    return explained(result.stream());
  } catch (error) {
    throw explain(error);
  }
}

async function* explained(groups: AsyncIterable<readonly { text: string }[]>): AsyncGenerator<readonly string[]> {
  try {
    for await (const group of groups) yield group.map(({ text }) => text);
  } catch (error) {
    throw explain(error);
  }
}

function explain(error: unknown): Error {
  if (error instanceof ClickHouseError) {
    const sentence = unpromotedSentence(error.message) ?? error.message;
    return new QueryRefused(`ClickHouse refused the query (code ${error.code}, ${error.type}): ${sentence}`, {
      cause: error,
    });
  }
  if (error instanceof NotClickHouse) return new QueryUnanswered(error.message, { cause: error });
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return new QueryUnanswered(`ClickHouse did not answer${typeof code === 'string' ? ` (${code})` : ''}`, {
    cause: error,
  });
}

/** Reads this many lines, or all; the heading may arrive apart from the rest. */
async function atLeast(count: number, groups: AsyncIterator<readonly string[]>): Promise<readonly string[]> {
  const lines: string[] = [];
  while (lines.length < count) {
    const group = await groups.next();
    if (group.done) break;
    lines.push(...group.value);
  }
  return lines;
}

async function* rows(groups: AsyncIterator<readonly string[]>, begun: readonly string[]) {
  if (begun.length > 0) yield begun.map(cellsOf);
  for (;;) {
    const group = await groups.next();
    if (group.done) return;
    yield group.value.map(cellsOf);
  }
}

function cellsOf(line: string): string[] {
  return line.split('\t');
}
