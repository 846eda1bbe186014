/** Columns of promoted properties: which there are, how many rows have them, and changes of the tables of events. */
import type { ClickHouseClient } from '@clickhouse/client';
import { askOf } from '../connection/ask.ts';
import { readLayout } from '../connection/layout.ts';
import { quoted } from '../connection/quoting.ts';
import { changeSchema } from '../migrations/change-schema.ts';
import { EVENTS, NEW_KEY, REBUILT } from '../migrations/event-tables.ts';
import { statementFor } from '../migrations/layout-statements.ts';
import {
  type FoundProperties,
  type PromotedProperty,
  changesTo,
  columnOf,
  foundIn,
} from '../migrations/promoted-properties.ts';
import { differingViews, readStoredColumns, showProperties } from '../migrations/property-views.ts';

/** None where the table is missing, too. Throws what the driver throws. */
export const readProperties = async (client: ClickHouseClient, database: string): Promise<FoundProperties> =>
  foundIn(await readStoredColumns(askOf(client, database)));

/**
 * Gives the table of events, and the one that a rebuild has beside it, the columns of exactly these properties. No row is
 * rewritten, except to remove columns. Under the migration lock; may be repeated. Throws what the driver throws.
 */
export async function setProperties(
  client: ClickHouseClient,
  database: string,
  wanted: readonly PromotedProperty[],
  { cluster = null }: { readonly cluster?: string | null } = {},
): Promise<void> {
  const ask = askOf(client, database);
  const layout = await readLayout(ask, { database, cluster });
  const names = wanted.map(({ name }) => name);
  const { promoted } = await readProperties(client, database);
  // A view may not name a column that the table does not have: it is shown later than it is added, and dropped later than it is shown.
  await showProperties(
    client,
    { database, layout },
    promoted.map(({ name }) => name).filter((name) => names.includes(name)),
  );
  for (const { name } of promoted.filter((property) => !names.includes(property.name))) await endFilling(name);
  for (const table of [EVENTS, REBUILT]) {
    const columns = await readStoredColumns(ask, table);
    const changes = columns.length === 0 ? null : changesTo(columns, wanted);
    const alter = `ALTER TABLE ${quoted(database)}.${table} ${changes}`;
    if (changes !== null) await changeSchema(client, statementFor(layout, alter), layout);
  }
  await showProperties(client, { database, layout }, names);

  /** What would fill a column that goes. */
  async function endFilling(name: string) {
    const filling = `database = {database:String} AND table IN ('${EVENTS}', '${REBUILT}') AND NOT is_done AND ${FILLS}`;
    const params = { database, column: quoted(columnOf(name)) };
    const open = await ask(`SELECT 1 FROM system.mutations WHERE ${filling}`, params);
    if (open.length > 0) await client.command({ query: `KILL MUTATION WHERE ${filling}`, query_params: params });
  }
}

/** The condition on a mutation that it fills the column `{column:String}`, which is quoted. */
export const FILLS = `position(command, concat('MATERIALIZE COLUMN ', {column:String})) > 0`;

/** `rows`: of the table as they lie there, copies included. `filled`: those that have the column, by its property. */
type Filled = { readonly rows: number; readonly filled: ReadonlyMap<string, number> };

/** Of the table that stays, where the table of events is rebuilt. Throws what the driver throws. */
async function measureFilled(client: ClickHouseClient, database: string): Promise<Filled> {
  const ask = askOf(client, database);
  const found = await ask<{ column: string; rows: string }>(
    `SELECT column, toString(sum(rows)) AS rows FROM system.parts_columns
     WHERE active AND database = {database:String} AND table = {table:String} AND (column = 'project_id' OR startsWith(column, {prefix:String}))
     GROUP BY column`,
    { table: await lastingTable(client, database), prefix: columnOf('') },
  );
  const counts = new Map(found.map(({ column, rows }) => [column, Number(rows)]));
  const rows = counts.get('project_id') ?? 0;
  counts.delete('project_id');
  return { rows, filled: new Map([...counts].map(([column, count]) => [column.slice(columnOf('').length), count])) };
}

/** `rows`: of the table; `stored`: those that have the column. */
export type DescribedProperty = PromotedProperty & {
  readonly column: string;
  readonly rows: number;
  readonly stored: number;
  /** Somebody has changed the column. */
  readonly isAltered: boolean;
};

export type DescribedProperties = {
  readonly properties: readonly DescribedProperty[];
  /** Columns named like properties that are not Weir's. */
  readonly foreign: readonly string[];
  /** Views that do not show all of the promoted properties, and which those are. */
  readonly hidden: readonly { readonly view: string; readonly hidden: readonly string[] }[];
};

/** Throws what the driver throws. */
export async function describeProperties(client: ClickHouseClient, database: string): Promise<DescribedProperties> {
  const { promoted, altered, foreign } = await readProperties(client, database);
  // Without any, no right to look at columns of parts is needed.
  if (promoted.length === 0) return { properties: [], foreign, hidden: [] };
  const { rows, filled } = await measureFilled(client, database);
  const properties = promoted.map((property) => ({
    ...property,
    column: columnOf(property.name),
    rows,
    stored: filled.get(property.name) ?? 0,
    isAltered: altered.includes(property.name),
  }));
  const views = await differingViews(askOf(client, database), database);
  return { properties, foreign, hidden: views.filter(({ hidden }) => hidden.length > 0) };
}

/** The table whose rows are kept: while a rebuild copies, the one that it copies into. */
export async function lastingTable(client: ClickHouseClient, database: string): Promise<string> {
  const tables = await askOf(client, database)<{ name: string; key: string }>(
    'SELECT name, sorting_key AS key FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}',
    { names: [EVENTS, REBUILT] },
  );
  return tables.find(({ key }) => key === NEW_KEY)?.name ?? EVENTS;
}
