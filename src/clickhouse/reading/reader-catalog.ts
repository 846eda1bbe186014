/** What ClickHouse has for clients to read: its tables, what they mean, and which settings it knows. Throws what the driver throws. */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { QueryFailure, TableDescription } from '../../pipeline/read-ports.ts';
import type { Names } from './query-guard.ts';
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

/**
 * `known`: settings that this ClickHouse knows. `otherIndexes`: of the table of events, all but that of days; null when
 * that one may not be used. `nowMs`: by ClickHouse's clock.
 */
export type Catalog = {
  readonly relations: readonly Relation[];
  readonly known: readonly string[];
  readonly otherIndexes: string | null;
  readonly nowMs: number;
};

export function settingsFor(
  projectId: string,
  { relations, known, otherIndexes: others }: Catalog,
  narrowing: Narrowing = {},
): ClickHouseSettings {
  const days = others === null ? null : (narrowing.days ?? null);
  return readSettings(filtersFor(projectId, relations, { ...narrowing, days }), known, days === null ? null : others);
}

type Found = [
  database: string,
  name: string,
  engine: string,
  owned: string,
  expiring: string,
  known: string[],
  indexes: string[],
  columns: string[],
  now: string,
];

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

  return { read, namesOf, describe, eventNames, linkedTo };

  /** Asked each time: it costs little, and a table that appears is never without its filter. */
  async function read(abort_signal?: AbortSignal): Promise<Catalog | QueryFailure> {
    const answer = await client.query({
      query: `SELECT tables.database, tables.name, engine, owned, expiring,
                (SELECT groupArray(name) FROM system.settings WHERE name IN {settings:Array(String)} AND NOT is_obsolete) AS known,
                (SELECT arrayFlatten(groupArray(extractAll(create_table_query, '\\\\bINDEX (\\\\S+ [^ ]+)'))) FROM system.tables
                 WHERE database = {database:String} AND name = {events:String}) AS indexes,
                (SELECT groupArray(name) FROM system.columns WHERE database = {database:String} AND table = {events:String}) AS columns_of_events,
                toString(toUnixTimestamp(now())) AS now
              FROM system.tables AS tables
              LEFT JOIN (
                SELECT database, table, countIf(name = 'project_id' AND type = 'UUID') AS owned,
                  countIf(name = 'expires_at' AND type LIKE 'DateTime%') AS expiring
                FROM system.columns WHERE database IN {databases:Array(String)} GROUP BY database, table
              ) AS columns ON columns.database = tables.database AND columns.table = tables.name
              WHERE tables.database IN {databases:Array(String)}`,
      query_params: { database, databases: [database, SERVICE_DATABASE], events: EVENTS, settings: SETTING_NAMES },
      format: 'JSONCompactEachRow',
      clickhouse_settings: parseSettings(),
      ...(abort_signal && { abort_signal }),
    });
    const rows = await answer.json<Found>();
    const [, , , , , known = [], indexes = [], columns = [], now = '0'] = rows[0] ?? [];
    if (rows.length > 0 && withoutEffect(known).length > 0) return UNSAFE;
    return {
      relations: rows.map(([at, name, engine, owned, expiring]) => ({
        database: at,
        name,
        engine,
        hasProjectId: Number(owned) > 0,
        hasExpiry: Number(expiring) > 0,
        isReadable: readable.has(`${at}.${name}`),
      })),
      known,
      otherIndexes: knowsOneIndex(known) ? otherIndexes({ indexes, columns }) : null,
      nowMs: Number(now) * 1_000,
    };
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
