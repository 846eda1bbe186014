/** What ClickHouse has for clients to read: its tables, what they mean, and which settings it knows. Throws what the driver throws. */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { QueryFailure, TableDescription } from '../../pipeline/read-ports.ts';
import type { Names } from './query-guard.ts';
import type { Days } from './asked-days.ts';
import { otherIndexes } from './day-index.ts';
import { SETTING_NAMES, knowsOneIndex, parseSettings, readSettings, withoutEffect } from './reader-settings.ts';
import {
  EVENTS,
  type Narrowing,
  READABLE_TABLES,
  type Relation,
  SERVICE_DATABASE,
  filtersFor,
  fullNameOf,
} from './reader-tables.ts';

const MAX_EVENT_NAMES = 1_000;
/** What a filter lists of ids, twice, is a part of the request's address, for which proxies have 8 kB and more. */
const MAX_LISTED = { ids: 32, bytes: 1_024 };

/** `known`: settings that this ClickHouse knows. `nowMs`: by its clock. */
export type Catalog = {
  readonly relations: readonly Relation[];
  readonly known: readonly string[];
  readonly nowMs: number;
  readonly events: EventTable;
};

/** `version`: another one when the table may have been changed; null while it may be changed without that. */
type EventTable = { readonly version: string | null; readonly columns: readonly string[] };

/** The days of the events that are needed, and all indexes but that of days. */
export type ByDays = { readonly days: Days; readonly otherIndexes: string };
type Needs = Omit<Narrowing, 'days'> & { readonly byDays?: ByDays | null };

export const settingsFor = (
  projectId: string,
  { relations, known }: Catalog,
  { byDays = null, ...needs }: Needs = {},
): ClickHouseSettings =>
  readSettings(
    filtersFor(projectId, relations, { ...needs, days: byDays?.days ?? null }),
    known,
    byDays?.otherIndexes ?? null,
  );

type Found = {
  readonly database: string;
  readonly name: string;
  readonly engine: string;
  readonly owned: string;
  readonly expiring: string;
  readonly names: readonly string[];
  readonly uuid: string;
  /** When it was changed, and now: in seconds. */
  readonly changed: string;
  readonly now: string;
  readonly known: readonly string[];
};

/** The time of a change has no smaller unit than a second. */
const SETTLED_AFTER_S = 2;

/** A setting that keeps projects apart is known and does nothing: as good as unknown. */
const UNSAFE: QueryFailure = {
  kind: 'unavailable',
  isForOperator: true,
  error: { store: 'clickhouse', code: 115, name: 'UNKNOWN_SETTING' },
};

export function createReaderCatalog(client: ClickHouseClient, database: string) {
  const readable = new Set(
    READABLE_TABLES.flatMap(({ name }) => (name.includes('.') ? [name] : [name, `${database}.${name}`])),
  );

  let remembered: { readonly version: string; readonly others: string | null } | null = null;

  return { read, namesOf, describe, eventNames, linkedTo, indexesBesideDays };

  /** Asked each time: it costs little, and a table that appears is never without its filter. */
  async function read(abort_signal?: AbortSignal): Promise<Catalog | QueryFailure> {
    const answer = await client.query({
      query: `SELECT tables.database AS database, tables.name AS name, engine, owned, expiring, names, toString(uuid) AS uuid,
                toString(toUnixTimestamp(metadata_modification_time)) AS changed, toString(toUnixTimestamp(now())) AS now,
                (SELECT groupArray(name) FROM system.settings WHERE name IN {settings:Array(String)} AND NOT is_obsolete) AS known
              FROM system.tables AS tables
              LEFT JOIN (
                SELECT database, table, countIf(name = 'project_id' AND type = 'UUID') AS owned,
                  countIf(name = 'expires_at' AND type LIKE 'DateTime%') AS expiring, groupArrayIf(name, table = {events:String}) AS names
                FROM system.columns WHERE database IN {databases:Array(String)} GROUP BY database, table
              ) AS columns ON columns.database = tables.database AND columns.table = tables.name
              WHERE tables.database IN {databases:Array(String)}`,
      query_params: { databases: [database, SERVICE_DATABASE], events: EVENTS, settings: SETTING_NAMES },
      format: 'JSONEachRow',
      clickhouse_settings: parseSettings(),
      ...(abort_signal && { abort_signal }),
    });
    const rows = await answer.json<Found>();
    const { known = [], now = '0' } = rows[0] ?? {};
    if (rows.length > 0 && withoutEffect(known).length > 0) return UNSAFE;
    return {
      relations: rows.map((row) => ({
        database: row.database,
        name: row.name,
        engine: row.engine,
        hasProjectId: Number(row.owned) > 0,
        hasExpiry: Number(row.expiring) > 0,
        isReadable: readable.has(`${row.database}.${row.name}`),
      })),
      known,
      nowMs: Number(now) * 1_000,
      events: eventTableOf(rows.find((row) => row.database === database && row.name === EVENTS)),
    };
  }

  /**
   * All indexes of the table of events but that of days, as a setting lists them; null when none may be used. Remembered
   * as long as the table is not changed: ClickHouse takes a few milliseconds to write its statement.
   */
  async function indexesBesideDays({ known, events: { version, columns } }: Catalog): Promise<string | null> {
    if (!knowsOneIndex(known)) return null;
    if (version !== null && remembered?.version === version) return remembered.others;
    const answer = await client.query({
      query: String.raw`SELECT extractAll(create_table_query, '\\bINDEX (\\S+ [^ ]+)') FROM system.tables
        WHERE database = {database:String} AND name = {events:String}`,
      query_params: { database, events: EVENTS },
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
    });
    const [[indexes] = [[]]] = await answer.json<[string[]]>();
    const others = otherIndexes({ indexes, columns });
    if (version !== null) remembered = { version, others };
    return others;
  }

  async function describe(abort_signal: AbortSignal): Promise<TableDescription[]> {
    const answer = await client.query({
      query: `SELECT if(database = {database:String}, table, concat(database, '.', table)), name, type, comment
              FROM system.columns WHERE database IN {databases:Array(String)} AND default_kind != 'EPHEMERAL'
              ORDER BY database, table, position`,
      query_params: { database, databases: [database, SERVICE_DATABASE] },
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
      abort_signal,
    });
    const columns = Map.groupBy(await answer.json<[string, string, string, string]>(), ([table]) => table);
    return READABLE_TABLES.filter(({ name }) => columns.has(name)).map(({ name: table, comment: about }) => ({
      name: table,
      comment: about,
      columns: columns.get(table)!.map(([, name, type, comment]) => ({ name, type, comment })),
    }));
  }

  async function eventNames(settings: ClickHouseSettings, abort_signal: AbortSignal): Promise<string[]> {
    const answer = await client.query({
      query: `SELECT event FROM event_counts_hourly GROUP BY event ORDER BY sum(events) DESC, event LIMIT ${MAX_EVENT_NAMES}`,
      format: 'JSONCompactEachRow',
      clickhouse_settings: settings,
      abort_signal,
    });
    return (await answer.json<[string]>()).map(([name]) => name);
  }

  /** The anonymous ids that are linked to a user; null when there are more than a filter should list. */
  async function linkedTo(userId: string, settings: ClickHouseSettings): Promise<string[] | null> {
    const answer = await client.query({
      query: `SELECT anonymous_id FROM identities WHERE user_id = {user:String} LIMIT ${MAX_LISTED.ids + 1}`,
      query_params: { user: userId },
      format: 'JSONCompactEachRow',
      clickhouse_settings: settings,
    });
    const ids = (await answer.json<[string]>()).map(([id]) => id);
    const isShort = encodeURIComponent(ids.join('')).length <= MAX_LISTED.bytes;
    return ids.length <= MAX_LISTED.ids && isShort ? ids : null;
  }

  function namesOf({ relations }: Catalog): Names {
    const hidden = relations.filter((relation) => relation.database === database && !relation.isReadable);
    return {
      readable,
      hidden: new Set(hidden.map(({ name }) => name)),
      filtered: new Set(relations.map(fullNameOf)),
      databases: new Set([database, SERVICE_DATABASE]),
    };
  }
}

function eventTableOf(row: Found | undefined): EventTable {
  if (row === undefined) return { version: null, columns: [] };
  const isSettled = Number(row.now) - Number(row.changed) >= SETTLED_AFTER_S && row.changed !== '0';
  return { version: isSettled ? `${row.uuid} ${row.changed}` : null, columns: row.names };
}
