/**
 * The views that show promoted properties: those that show `properties`. Migrations know nothing of them, so they
 * are added to the statement that creates a view: when it is applied, and when the view has others than the table.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { type Ask, askOf } from '../connection/ask.ts';
import type { Layout } from '../connection/layout.ts';
import { quoted } from '../connection/quoting.ts';
import { changeSchema } from './change-schema.ts';
import { EVENTS } from './event-tables.ts';
import { statementFor } from './layout-statements.ts';
import { type Migration, readMigrations } from './migrate.ts';
import { type StoredColumn, columnOf, foundIn } from './promoted-properties.ts';
import { splitStatements } from './statements.ts';

const VIEW = /^CREATE OR REPLACE VIEW ([\w.]+) AS/;
/** `properties` in a list of columns, and as a column with the name under which it is shown. */
const LISTED = /(?<=, )properties(?=, )/g;
const SHOWN = /^( +)((?:\w+\.)?)properties AS (\w+)(,?)$/m;

/**
 * A statement that creates a view, with the promoted properties beside `properties`: as `data.plan` where that is shown as
 * `data`. Any other statement as it is.
 */
export function withProperties(create: string, names: readonly string[]): string {
  if (!VIEW.test(create)) return create;
  const columns = names.map((name) => quoted(columnOf(name)));
  return create
    .replaceAll(LISTED, () => ['properties', ...columns].join(', '))
    .replace(SHOWN, (line, indent: string, of: string, as: string, comma: string) => {
      const shown = names.map((name, index) => `${indent}${of}${columns[index]} AS ${quoted(`${as}.${name}`)}`);
      return `${[line.slice(0, line.length - comma.length), ...shown].join(',\n')}${comma}`;
    });
}

/** A view as its migration creates it. `as`: what it shows `properties` as. */
type PropertyView = { readonly view: string; readonly as: string; readonly create: string };

/** The views of these migrations that show `properties`; of each, the statement that comes last. */
export function propertyViewsOf(migrations: readonly Migration[]): PropertyView[] {
  const views = migrations
    .flatMap(({ text }) => splitStatements(text))
    .flatMap((create) => {
      const view = VIEW.exec(create)?.[1];
      return view === undefined ? [] : [{ view, as: SHOWN.exec(create)?.[3] ?? null, create }];
    });
  const last = [...new Map(views.map((view) => [view.view, view])).values()];
  return last.flatMap(({ as, ...view }) => (as === null ? [] : [{ ...view, as }]));
}

export type DifferingView = {
  readonly view: string;
  /** Promoted ones that it does not show, and those that it shows and that are not promoted: such a view cannot be read. */
  readonly hidden: readonly string[];
  readonly without: readonly string[];
  readonly statement: string;
};

/** The columns of the table of events, or of one that stands in for it. Throws what the driver throws. */
export const readStoredColumns = (ask: Ask, table: string = EVENTS): Promise<StoredColumn[]> =>
  ask<StoredColumn>(
    `SELECT name, type, default_kind AS kind, default_expression AS expression, comment FROM system.columns
     WHERE database = {database:String} AND table = {table:String} ORDER BY position`,
    { table },
  );

/**
 * The views of this database that show other properties than `names`, or than the table has where no names are given.
 * Throws what the driver throws.
 */
export async function differingViews(ask: Ask, database: string, names?: readonly string[]): Promise<DifferingView[]> {
  const wanted = names ?? foundIn(await readStoredColumns(ask)).promoted.map(({ name }) => name);
  const found = await ask<FoundView>(
    `SELECT if(database = {database:String}, table, concat(database, '.', table)) AS view, groupArray(name) AS columns
     FROM system.columns WHERE database IN ({database:String}, 'monitor') AND table = 'events' GROUP BY view`,
  );
  const showsSome = found.some(({ columns }) => columns.some((column) => column.includes('.')));
  if (wanted.length === 0 && !showsSome) return [];
  const definitions = await ask<{ view: string; definition: string }>(
    `SELECT if(database = {database:String}, name, concat(database, '.', name)) AS view, as_select AS definition
     FROM system.tables WHERE engine = 'View' AND database IN ({database:String}, 'monitor') AND name = 'events'`,
  );
  // The one in `monitor` shows the events of the database that was migrated last.
  const own = new Set(definitions.filter(({ definition }) => isOver(database, definition)).map(({ view }) => view));
  return propertyViewsOf(await appliedMigrations(ask)).flatMap(({ view, as, create }) => {
    const columns = own.has(view) ? found.find((candidate) => candidate.view === view)?.columns : undefined;
    if (!columns) return [];
    const shown = columns.flatMap((column) => (column.startsWith(`${as}.`) ? [column.slice(as.length + 1)] : []));
    const hidden = wanted.filter((name) => !shown.includes(name)).map(columnOf);
    const without = shown.filter((name) => !wanted.includes(name)).map(columnOf);
    if (hidden.length + without.length === 0) return [];
    return [{ view, hidden, without, statement: withProperties(create, wanted) }];
  });
}

type FoundView = { readonly view: string; readonly columns: readonly string[] };

const isOver = (database: string, definition: string) =>
  definition.includes(`${database}.${EVENTS}`) || definition.includes(`${quoted(database)}.${EVENTS}`);

/** In the order in which they were applied. */
async function appliedMigrations(ask: Ask): Promise<Migration[]> {
  const applied = await ask<{ name: string }>(
    'SELECT name FROM {database:Identifier}.schema_migrations ORDER BY applied_at, name',
  );
  const known = new Map(readMigrations().map((migration) => [migration.name, migration]));
  return applied.flatMap(({ name }) => known.get(name) ?? []);
}

/**
 * Has the views show the promoted properties, or `names` of them. Under the migration lock: `client` speaks of `database`
 * by default. Throws what the driver throws.
 */
export async function showProperties(
  client: ClickHouseClient,
  { database, layout }: { readonly database: string; readonly layout: Layout },
  names?: readonly string[],
): Promise<void> {
  for (const { statement } of await differingViews(askOf(client, database), database, names)) {
    await changeSchema(client, statementFor(layout, statement), layout);
  }
}
