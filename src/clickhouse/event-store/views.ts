/**
 * The materialized views that an insert into Weir's tables feeds: Weir's own, as
 * the migrations made them, and those of other people, directly or behind one
 * of Weir's.
 */
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client';
import { PASSING, classOfCode } from '../connection/error-codes.ts';
import { EVENTS, MIRROR } from '../migrations/event-tables.ts';
import { readMigrations } from '../migrations/migrate.ts';
import { literal, quoted } from '../connection/quoting.ts';
import { type TableName, parseName, formatName } from '../connection/table-names.ts';

/** Of Weir's own views, by name, what they are stored in. */
export const OWN_VIEWS: ReadonlyMap<string, string> = new Map(
  readMigrations().flatMap(({ text }) =>
    [...text.matchAll(/^CREATE MATERIALIZED VIEW (?:IF NOT EXISTS )?(\w+) TO (\w+)/gm)].map(
      ([, view, target]) => [view!, target!] as const,
    ),
  ),
);

export type ForeignView = {
  readonly view: TableName;
  /** The table of Weir's, or of another foreign view, that feeds it. */
  readonly source: TableName;
  /** Null where it keeps its rows itself. */
  readonly target: TableName | null;
  readonly isTargetGone: boolean;
};

type Relation = {
  readonly database: string;
  readonly name: string;
  readonly create: string;
  readonly fed: readonly [database: string, name: string][];
};

/** Every view that inserts feed and Weir did not make. Views that refresh themselves are not fed by inserts. Throws what the driver throws. */
export async function findForeignViews(client: ClickHouseClient, database: string): Promise<ForeignView[]> {
  const answer = await client.query({
    query: `SELECT database, name, if(engine = 'MaterializedView', create_table_query, '') AS create,
              arrayZip(dependencies_database, dependencies_table) AS fed
            FROM system.tables WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema')`,
    format: 'JSONEachRow',
    // The database may not be there yet: the first one named counts.
    clickhouse_settings: { database: 'default' },
  });
  const relations = new Map(
    (await answer.json<Relation>()).map((relation) => [
      formatName({ database: relation.database, table: relation.name }),
      relation,
    ]),
  );
  const found = new Map<string, ForeignView>();
  const toVisit: TableName[] = [{ database, table: EVENTS }];
  const visited = new Set<string>();
  for (let source = toVisit.shift(); source !== undefined; source = toVisit.shift()) {
    const key = formatName(source);
    if (visited.has(key)) continue;
    visited.add(key);
    for (const [viewDatabase, viewName] of relations.get(key)?.fed ?? []) {
      const view = { database: viewDatabase, table: viewName };
      const target = targetOf(relations.get(formatName(view))?.create ?? '');
      if (target !== null) toVisit.push(target);
      if (isOwn(view, database) || isMirror(view, database)) continue;
      const isTargetGone = target !== null && !relations.has(formatName(target));
      found.set(formatName(view), { view, source, target, isTargetGone });
    }
  }
  return [...found.values()];
}

/** The same in words, as `weir doctor` shows them. Throws what the driver throws. */
export async function describeForeignViews(client: ClickHouseClient, database: string) {
  const found = await findForeignViews(client, database);
  return found.map(({ view, source, target, isTargetGone }) => ({
    view: formatName(view),
    source: formatName(source),
    missingTarget: isTargetGone && target !== null ? formatName(target) : null,
  }));
}

export const isOwn = (view: TableName, database: string): boolean =>
  view.database === database && OWN_VIEWS.has(view.table);

/**
 * The view of a rebuild. It is Weir's, and events may land without it all the same: the rebuild looks for what is
 * missing before the tables change places, and again afterwards.
 */
export const isMirror = (view: TableName, database: string): boolean =>
  view.database === database && view.table === MIRROR;

export const isOwnTarget = (target: TableName, database: string): boolean =>
  target.database === database && [...OWN_VIEWS.values()].includes(target.table);

function targetOf(create: string): TableName | null {
  const name = /^CREATE MATERIALIZED VIEW (?:`(?:[^`\\]|\\.)*`|[^\s`]|\.)+ TO ((?:`(?:[^`\\]|\\.)*`|[^\s`(])+)/.exec(
    create,
  )?.[1];
  return name === undefined ? null : parseName(name);
}

/**
 * A statement for each of Weir's views that are there, which feeds it no rows, the way an insert would feed it some.
 * Throws what the driver throws.
 */
export async function trialsOfOwnViews(client: ClickHouseClient, database: string): Promise<string[]> {
  const answer = await client.query({
    query: `SELECT views.name AS name, any(views.as_select) AS select, groupArray(columns.name) AS columns
            FROM system.tables AS views INNER JOIN system.columns AS columns
              ON columns.database = views.database AND columns.table = views.name
            WHERE views.database = {database:String} AND views.name IN {names:Array(String)} AND columns.database = {database:String}
            GROUP BY views.name`,
    query_params: { database, names: [...OWN_VIEWS.keys()] },
    format: 'JSONEachRow',
  });
  const source = literal(formatName({ database, table: EVENTS }));
  return (await answer.json<{ name: string; select: string; columns: string[] }>()).map(({ name, select, columns }) => {
    const names = columns.map(quoted).join(', ');
    const target = `${quoted(database)}.${OWN_VIEWS.get(name)!}`;
    return `INSERT INTO ${target} (${names}) SELECT ${names} FROM (${select}) SETTINGS additional_table_filters = {${source}: '0'}`;
  });
}

/**
 * What became of an insert in each of Weir's views: by name, the error code, 0
 * where it got its rows. Null where ClickHouse keeps no such log, or not for
 * Weir. Throws what the driver throws when it could not be asked.
 */
export async function readOutcomes(
  client: ClickHouseClient,
  { database, queryId }: { database: string; queryId: string },
): Promise<ReadonlyMap<string, number> | null> {
  try {
    await client.command({ query: 'SYSTEM FLUSH LOGS query_views_log' });
    const answer = await client.query({
      query: `SELECT view_name AS view, max(exception_code) AS code FROM system.query_views_log
              WHERE event_date >= yesterday() AND initial_query_id = {queryId:String} GROUP BY view_name`,
      query_params: { queryId },
      format: 'JSON',
    });
    const { data } = await answer.json<{ view: string; code: number }>();
    const own = [...OWN_VIEWS.keys()];
    return new Map(
      own.flatMap((name) => {
        const found = data.find(({ view }) => view === `${database}.${name}`);
        return found ? [[name, found.code]] : [];
      }),
    );
  } catch (error) {
    if (isRefused(error)) return null;
    throw error;
  }
}

/** There is no such table, or Weir has no right to it, or this version spells it otherwise. */
const isRefused = (error: unknown) => error instanceof ClickHouseError && !PASSING.has(classOfCode(Number(error.code)));

/** Tables behind Weir's views on which an operator has put a constraint: a trial without rows does not meet it. */
export async function findConstrained(client: ClickHouseClient, database: string): Promise<string[]> {
  const answer = await client.query({
    query: `SELECT DISTINCT table FROM system.constraints WHERE database = {database:String} AND table IN {tables:Array(String)}`,
    query_params: { database, tables: [...new Set(OWN_VIEWS.values())] },
    format: 'JSONEachRow',
  });
  return (await answer.json<{ table: string }>()).map(({ table }) => table);
}
