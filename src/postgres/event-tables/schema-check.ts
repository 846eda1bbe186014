/**
 * Compares what Postgres has with what the migrations of events say. An operator may have restored part of a backup, or
 * changed a table by hand.
 */
import type { Pool } from 'pg';
import type { SchemaDrift } from '../../pipeline/storage-port.ts';
import { plainAnswerOf } from '../connection/errors.ts';
import { EVENT_MIGRATIONS, readMigrations } from '../migrations/migrations.ts';

/** What a statement of the migrations creates. Names are as in the schema `analytics`, others with their schema. */
type Expected = { readonly kind: 'relation' | 'function'; readonly name: string; readonly create: string };

type Column = { readonly name: string; readonly definition: string; readonly type: string };

/** Everything that differs; empty when all is well. What was added is left alone. Throws `PostgresFailure`. */
export async function checkEventTables(pool: Pool): Promise<SchemaDrift[]> {
  const expected = readExpected();
  const names = (kind: Expected['kind']) => expected.filter((one) => one.kind === kind).map(({ name }) => name);
  const { rows } = await plainAnswerOf(
    pool.query<{ relations: string[]; functions: string[]; columns: [string, string, string][] }>(READ_ACTUAL, [
      names('relation'),
      names('function'),
    ]),
  );
  const { relations, functions, columns } = rows[0]!;
  const there = { relation: new Set(relations), function: new Set(functions) };
  const missing = expected.filter(({ kind, name }) => !there[kind].has(name));
  const drifts = missing.map(({ name, create }) => ({ table: name, problem: 'is missing', remedy: create }));
  const tables = expected.filter(({ kind, name }) => kind === 'relation' && there.relation.has(name));
  const drifted = tables.flatMap(({ name, create }) => columnDrifts(name, columnsOf(create), columns));
  // The order in which the remedies work: an index needs its columns, and a view, a function or a partition the table.
  const [first, later] = [true, false].map((is) => drifts.filter(({ remedy }) => isTable(remedy) === is));
  return [...first!, ...drifted, ...later!, ...(await partitionDrifts(pool))];
}

const isTable = (create: string) => create.startsWith('CREATE TABLE');

/** Partitions without the index that tells copies, indexes that are not whole, and months without a partition. */
async function partitionDrifts(pool: Pool): Promise<SchemaDrift[]> {
  const { rows } = await plainAnswerOf(
    pool.query<{ name: string; once: boolean; invalid: string[]; is_current: boolean }>(READ_PARTITIONS),
  );
  const drifts = rows.flatMap(({ name, once, invalid }): SchemaDrift[] => [
    ...(once
      ? []
      : [
          {
            table: name,
            problem: 'does not recognise copies of events: it has no unique index for them',
            remedy: `CREATE UNIQUE INDEX ON ${name} (project_id, event_id, event)`,
          },
        ]),
    ...invalid.map((index) => ({
      table: name,
      problem: `has an index that is not whole: ${index}`,
      remedy: `REINDEX INDEX ${index}`,
    })),
  ]);
  if (rows.some((row) => row.is_current)) return drifts;
  const remedy = 'SELECT analytics.add_partition(now())';
  return [...drifts, { table: 'analytics.events_raw', problem: 'has no partition for this month', remedy }];
}

const READ_ACTUAL = `
  SELECT ARRAY(SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL) AS relations,
    ARRAY(SELECT name FROM unnest($2::text[]) AS name WHERE to_regproc(name) IS NOT NULL) AS functions,
    coalesce((SELECT json_agg(json_build_array(name, attname, format_type(atttypid, atttypmod)))
      FROM unnest($1::text[]) AS name JOIN pg_attribute ON attrelid = to_regclass(name) AND attnum > 0
        AND NOT attisdropped), '[]') AS columns`;

const READ_PARTITIONS = `
  SELECT format('%I.%I', nspname, relname) AS name,
    EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique AND indisvalid AND indpred IS NULL
      AND (SELECT array_agg(attname::text ORDER BY place) FROM unnest(indkey) WITH ORDINALITY AS keys (attribute, place)
        JOIN pg_attribute ON attrelid = c.oid AND attnum = attribute) = '{project_id,event_id,event}') AS once,
    ARRAY(SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = c.oid AND NOT indisvalid) AS invalid,
    relname = 'events_raw_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') AS is_current
  FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n ON n.oid = relnamespace
  WHERE inhparent = to_regclass('analytics.events_raw')`;

function columnDrifts(
  table: string,
  columns: readonly Column[],
  actual: readonly (readonly [table: string, column: string, type: string])[],
): SchemaDrift[] {
  return columns.flatMap(({ name, definition, type }) => {
    const found = actual.find(([of, column]) => of === table && column === name)?.[2];
    if (found === undefined) {
      const remedy = `ALTER TABLE ${table} ADD COLUMN "${name}" ${withDefault(definition, type)}`;
      return [{ table, problem: `has no column ${name}`, remedy }];
    }
    if (found === spelledOut(type)) return [];
    const remedy = `ALTER TABLE ${table} ALTER COLUMN "${name}" TYPE ${type}`;
    return [{ table, problem: `has the column ${name} as ${found}, not ${type}`, remedy }];
  });
}

/** What a column must not lack, the rows that are there get, so that it can be added. */
function withDefault(definition: string, type: string): string {
  const isFilled = !definition.includes('NOT NULL') || /DEFAULT|PRIMARY KEY/.test(definition);
  return isFilled ? definition : `${definition} DEFAULT ${EMPTY[type.replace(/\(.*/, '')] ?? "''"}`;
}

const EMPTY: Readonly<Record<string, string>> = {
  uuid: `'00000000-0000-0000-0000-000000000000'`,
  timestamptz: `'epoch'`,
  boolean: 'false',
  integer: '0',
  bigint: '0',
  json: `'{}'`,
  'text[]': `'{}'`,
};

/** As Postgres writes the type. */
const spelledOut = (type: string) => type.replace(/^timestamptz(\(\d\))?$/, 'timestamp$1 with time zone');

/** Of what was created again later, the last word counts. */
function readExpected(): Expected[] {
  const statements = readMigrations(EVENT_MIGRATIONS).flatMap((migration) => migration.statements);
  const expected = statements.flatMap((statement): Expected[] => {
    const create = statement.replaceAll(/^\s*--.*\n/gm, '').trim();
    const table = /^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?([\w.]+)/.exec(create)?.[1];
    if (table !== undefined) return [{ kind: 'relation', name: table, create }];
    const index = /^CREATE (?:UNIQUE )?INDEX (\w+) ON analytics\./.exec(create)?.[1];
    if (index !== undefined) return [{ kind: 'relation', name: `analytics.${index}`, create }];
    const routine = /^CREATE (?:OR REPLACE )?FUNCTION ([\w.]+)/.exec(create)?.[1];
    return routine === undefined ? [] : [{ kind: 'function', name: routine, create }];
  });
  return [...new Map(expected.map((one) => [one.name, one])).values()];
}

/** Relies on how the migrations are written: one column a line, indented by two, its name in lower case. */
function columnsOf(create: string): readonly Column[] {
  if (!isTable(create)) return [];
  return [...create.matchAll(/^ {2}"?([a-z]\w*)"? ([^\n]*?),?$/gm)].map(([, name = '', definition = '']) => ({
    name,
    definition,
    type: definition.split(/ (?:NOT NULL|DEFAULT|PRIMARY KEY)\b/)[0] ?? '',
  }));
}
