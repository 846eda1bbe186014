/** A person's statement on Postgres: it may only read, and its rows are fetched as they are printed. */
import type { Pool, PoolClient, QueryArrayConfig } from 'pg';
import { QueryRefused, QueryUnanswered, type TabularResult } from '../../pipeline/operator-port.ts';
import { explainFailure } from '../connection/connection-errors.ts';
import { isSqlState, postgresFailureOf } from '../connection/errors.ts';

/** Rows fetched at a time. */
const GROUP = 1_000;
/** What has no cursor, and few rows. */
const WITHOUT_CURSOR = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*(?:explain|show)\b/is;
/** Of integers, floating and decimal numbers. */
const NUMERIC_TYPES: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 1700]);
const BEGIN = [
  'BEGIN READ ONLY',
  'SET LOCAL search_path = analytics, public, pg_catalog',
  "SET LOCAL TimeZone = 'UTC'",
  'SET LOCAL idle_in_transaction_session_timeout = 0',
].join('; ');

type Fetched = { readonly columns: TabularResult['columns']; readonly rows: readonly (readonly (string | null)[])[] };

/** Runs a query for a table on a screen. Throws `QueryRefused`, `QueryUnanswered`. */
export async function queryTable(pool: Pool, sql: string): Promise<TabularResult> {
  const groups = fetchAll(pool, statementIn(sql));
  const first = await groups.next();
  if (first.done) return { columns: [], rows: none() };
  return { columns: first.value.columns, rows: rowsOf(first.value) };

  async function* rowsOf({ rows }: Fetched) {
    yield rows.map(cellsOf);
    for await (const group of groups) yield group.rows.map(cellsOf);
  }
}

/** Runs a query and yields its rows as lines of JSON, in groups. Throws as `queryTable`. */
export async function queryNdjson(pool: Pool, sql: string): Promise<AsyncIterable<readonly string[]>> {
  const statement = statementIn(sql);
  if (WITHOUT_CURSOR.test(statement)) return lines(({ columns, rows }) => rows.map((row) => asJson(columns, row)));
  // The server knows how each of its types is written.
  return lines(
    ({ rows }) => rows.map(([line]) => line!),
    `SELECT row_to_json(weir_row) FROM (${statement}\n) AS weir_row`,
  );

  async function lines(linesIn: (group: Fetched) => readonly string[], text = statement) {
    const groups = fetchAll(pool, text);
    const first = await groups.next();
    return (async function* () {
      if (first.done) return;
      yield linesIn(first.value);
      for await (const group of groups) yield linesIn(group);
    })();
  }
}

const asJson = (columns: Fetched['columns'], row: readonly (string | null)[]) =>
  JSON.stringify(Object.fromEntries(columns.map(({ name }, index) => [name, row[index]])));

const cellsOf = (row: readonly (string | null)[]) => row.map((cell) => cell ?? String.raw`\N`);

const statementIn = (sql: string) => sql.replace(/[;\s]+$/, '');

async function* none() {}

/** The columns come with every group, and with an empty one. Whoever stops early ends the query. */
async function* fetchAll(pool: Pool, statement: string): AsyncGenerator<Fetched, void> {
  const client = await pool.connect().catch((error: unknown) => {
    throw explained(error);
  });
  let hasFailed = true;
  try {
    await client.query(BEGIN);
    if (WITHOUT_CURSOR.test(statement)) {
      yield await run(client, statement);
    } else {
      await run(client, `DECLARE weir_answer NO SCROLL CURSOR FOR ${statement}`);
      for (let isFirst = true; ; isFirst = false) {
        const group = await run(client, `FETCH ${GROUP} FROM weir_answer`);
        if (group.rows.length > 0 || isFirst) yield group;
        if (group.rows.length < GROUP) break;
      }
    }
    await client.query('ROLLBACK');
    hasFailed = false;
  } catch (error) {
    throw explained(error);
  } finally {
    client.release(hasFailed);
  }
}

/** By the extended protocol, which takes one statement and no second one that would end the transaction. */
async function run(client: PoolClient, text: string): Promise<Fetched> {
  const query = {
    text,
    values: [],
    rowMode: 'array',
    queryMode: 'extended',
    // Values as Postgres writes them.
    types: { getTypeParser: () => (written: string) => written },
  } as unknown as QueryArrayConfig;
  const { fields, rows } = await client.query<(string | null)[]>(query);
  return {
    columns: fields.map(({ name, dataTypeID }) => ({ name, isNumeric: NUMERIC_TYPES.has(dataTypeID) })),
    rows,
  };
}

/** The server's message is shown to the person who wrote the query. */
function explained(error: unknown): Error {
  const { code, isConnecting, isUnavailable } = postgresFailureOf(error);
  const isAnswer = isSqlState(code) && !isConnecting && (!isUnavailable || code === '25006');
  if (isAnswer) {
    const { message } = error as Error;
    return new QueryRefused(`Postgres refused the query (${code}): ${message}`, { cause: error });
  }
  return new QueryUnanswered(explainFailure(error), { cause: error });
}
