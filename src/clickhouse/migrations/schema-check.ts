/**
 * Compares what ClickHouse has with what the migrations say. An operator may have
 * restored a backup without settings, or changed a table by hand.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { SchemaDrift } from '../../pipeline/storage-port.ts';
import type { Layout } from '../connection/layout.ts';
import { statementFor, withSharedWindow } from './layout-statements.ts';
import { readMigrations } from './migrate.ts';
import { splitStatements } from './statements.ts';

/** A relation as its CREATE statement has it; views have no columns here. */
type Expected = {
  readonly name: string;
  readonly create: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly definition: string }[];
  readonly hasWindow: boolean;
};

type Actual = { readonly columns: ReadonlyMap<string, string>; readonly engine: string };

const SHARED_OFF = /\breplicated_deduplication_window(?:_seconds)? = 0\b/;
const WINDOW = /non_replicated_deduplication_window = (\d+)/;

/** Everything that differs in `database`; empty when all is well. Extra tables and columns are left alone. */
export async function checkSchema(
  client: ClickHouseClient,
  database: string,
  layout: Layout = { kind: 'single' },
): Promise<SchemaDrift[]> {
  const actual = await readActual(client, database);
  return readExpected().flatMap((expected) => {
    const found = actual.get(expected.name);
    if (!found) {
      const remedy = `USE ${database}; ${statementFor(layout, expected.create)}`;
      return [{ table: expected.name, problem: 'is missing', remedy }];
    }
    const drift = [...columnDrifts(database, expected, found), ...windowDrifts(database, expected, found)];
    return drift.map((difference) => ({ ...difference, remedy: statementFor(layout, difference.remedy) }));
  });
}

function columnDrifts(database: string, { name: table, columns }: Expected, found: Actual): SchemaDrift[] {
  const alter = `ALTER TABLE ${database}.${table}`;
  return columns.flatMap(({ name, type, definition }, index) => {
    const actualType = found.columns.get(name);
    if (actualType === type) return [];
    const before = columns[index - 1]?.name;
    const place = before === undefined ? 'FIRST' : `AFTER ${before}`;
    if (actualType === undefined) {
      return [
        { table, problem: `has no column ${name}`, remedy: `${alter} ADD COLUMN ${name} ${definition} ${place}` },
      ];
    }
    const problem = `has the column ${name} as ${actualType}, not ${type}`;
    return [{ table, problem, remedy: `${alter} MODIFY COLUMN ${name} ${definition}` }];
  });
}

function windowDrifts(
  database: string,
  { name: table, hasWindow, create }: Expected,
  { engine }: Actual,
): SchemaDrift[] {
  if (!hasWindow || !engine.includes('MergeTree')) return [];
  // Replicated tables keep another window, which is on by default.
  const isShared = /^(Replicated|Shared)/.test(engine);
  const window = WINDOW.exec(create)?.[0] ?? '';
  if (isShared ? !SHARED_OFF.test(engine) : Number(WINDOW.exec(engine)?.[1] ?? 0) > 0) return [];
  return [
    {
      table,
      problem: 'does not recognise repeated inserts: a retry may store events twice',
      remedy: `ALTER TABLE ${database}.${table} MODIFY SETTING ${isShared ? withSharedWindow(window) : window}`,
    },
  ];
}

async function readActual(client: ClickHouseClient, database: string): Promise<ReadonlyMap<string, Actual>> {
  const rows = await client.query({
    // The client's own database may be the one that is missing: the first one named counts.
    clickhouse_settings: { database: 'default' },
    query: `SELECT name, engine_full AS engine,
              (SELECT groupArray((table, name, type)) FROM system.columns WHERE database = {database:String}) AS columns
            FROM system.tables WHERE database = {database:String}`,
    query_params: { database },
    format: 'JSONEachRow',
  });
  const tables = await rows.json<{ name: string; engine: string; columns: [string, string, string][] }>();
  return new Map(
    tables.map(({ name, engine, columns }) => {
      const own = columns.filter(([table]) => table === name);
      return [name, { engine, columns: new Map(own.map(([, column, type]) => [column, type])) }];
    }),
  );
}

/** Of what was created again later, the last word counts. Relations of other databases (`monitor.events`) are for convenience and not checked. */
function readExpected(): Expected[] {
  const statements = readMigrations().flatMap(({ text }) => splitStatements(text));
  const expected = statements.flatMap((create): Expected[] => {
    const name = /^CREATE (?:OR REPLACE )?(?:TABLE|MATERIALIZED VIEW|VIEW) (?:IF NOT EXISTS )?(\w+)\s/.exec(
      create,
    )?.[1];
    if (name === undefined) return [];
    const isTable = create.startsWith('CREATE TABLE');
    return [
      {
        name,
        create,
        columns: isTable ? withAdded(columnsOf(create), name, statements) : [],
        hasWindow: WINDOW.test(create),
      },
    ];
  });
  return [...new Map(expected.map((relation) => [relation.name, relation])).values()];
}

/** The columns of a table with those that were added later, on one line each, where they are stored. */
function withAdded(columns: Expected['columns'], table: string, statements: readonly string[]): Expected['columns'] {
  return statements
    .filter((statement) => statement.startsWith(`ALTER TABLE ${table}\n`))
    .flatMap((statement) => [...statement.matchAll(ADDED)])
    .reduce((all, [, name = '', definition = '', before = '']) => {
      const place = all.findIndex((column) => column.name === before) + 1;
      return all.toSpliced(place, 0, { name, definition, type: typeOf(definition) });
    }, columns);
}

const ADDED = /^ {4}ADD COLUMN IF NOT EXISTS (\w+) ([^\n]+) AFTER (\w+),?$/gm;

/** Relies on how the migrations are written: one column a line, indented by four. */
function columnsOf(create: string): Expected['columns'] {
  return [...create.matchAll(/^ {4}([a-z]\w*) +([^\n]*?),?$/gm)].map(([, name = '', definition = '']) => ({
    name,
    definition,
    type: typeOf(definition),
  }));
}

const typeOf = (definition: string) => definition.split(/ (?:CODEC|COMMENT|DEFAULT|MATERIALIZED)\b/)[0] ?? '';
