/**
 * Two projects in one Postgres, and every way we could think of to see one with the other's token. The measure is that
 * of query-isolation.test.ts: an attacker's answers, rows and error texts alike, must be the same whether or not the
 * other project's rows are there. So each question is asked twice, before and after those rows are stored.
 *
 * The controls at the end take each wall away.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FUNCTIONS, RESULTS_CALLED_AS_ALIAS, RESULT_COLUMNS } from '../../src/postgres/reading/query-names.ts';
import { ATTACKER, type Row, SECRET, VICTIMS, eventId, rowOf } from '../support/two-projects.ts';
import { type PostgresEvents, asSent, createProjectAsking, startPostgresEvents } from '../support/postgres-reading.ts';

let events: PostgresEvents;
let ask: (sql: string) => Promise<string>;
const insert = (rows: readonly Row[]) => events.insert(rows.map((row) => asSent(rowOf(row))));

const OWN_ROWS: readonly Row[] = [
  { project: ATTACKER, id: 1, event: 'bought', user: '1' },
  { project: ATTACKER, id: 2, event: '$identify', user: '2' },
];
/** Values that make functions fail: no numbers, far away in time, in names that sort everywhere. */
const victimRows = VICTIMS.flatMap((project): Row[] => [
  { project, id: 1, event: 'bought', user: SECRET },
  { project, id: 2, event: '$identify', user: SECRET },
  { project, id: 3, event: `${SECRET} event`, user: `${SECRET}-3`, at: '2105-12-31 23:59:59.000' },
  { project, id: 4, event: '!', user: `${SECRET}-4`, at: '1971-01-01 00:00:00.000' },
]);

/** Fails on a victim's row only; the guard lets every one of them through. */
const FAILING = [
  `1 / (user_id <> '${SECRET}')::int = 1`,
  'user_id::int > 0',
  'user_id::bigint::smallint > 0',
  `1 / (event <> '${SECRET} event')::int = 1`,
  `1 / (event_id <> '${eventId(VICTIMS[0], 1)}')::int = 1`,
  `1 / (project_id = '${ATTACKER}')::int = 1`,
  `1 % (channel <> '${SECRET}')::int = 0`,
  "(properties->>'note')::int > 0",
  `1 / (properties->>'note' <> '${SECRET}')::int = 1`,
  `event = 'bought' AND 1 / (user_id <> '${SECRET}')::int = 1`,
  `1 / (user_id <> '${SECRET}')::int = 1 AND event = 'bought'`,
  `CASE WHEN user_id = '${SECRET}' THEN 1 / (user_id <> '${SECRET}')::int ELSE 1 END = 1`,
  `1 / (extract(year FROM timestamp) < 2050)::int = 1`,
  `timestamp + interval '290000 years' * (user_id = '${SECRET}')::int > '2000-01-01'`,
  `user_id ~ CASE WHEN user_id LIKE '${SECRET}%' THEN '(' ELSE '.' END`,
  `to_date(user_id, 'J') > '-infinity'`,
  `decode(user_id || repeat_not, 'hex') IS NOT NULL`.replace(' || repeat_not', " || left('0', length(user_id) % 2)"),
  `to_number(user_id, '9') > 0`,
  `chr(CASE WHEN user_id = '${SECRET}' THEN 0 ELSE 65 END) = 'A'`,
  `jsonb_path_exists(properties::jsonb, 'strict $.note.double()')`,
  `width_bucket(1, 1, CASE WHEN user_id = '${SECRET}' THEN 1 ELSE 2 END, 1) > 0`,
  `ln(CASE WHEN user_id = '${SECRET}' THEN 0 ELSE 1 END) = 0`,
];

/** A query that leaves the role of readers and reads everything, where something runs it. */
const BREAK_OUT =
  "'SELECT to_tsvector(''simple'', set_config(''role'', ''none'', true))', " +
  "'SELECT array_to_tsvector(array_agg(user_id)) FROM analytics.events_raw'";

const named = (entries: readonly string[]): (readonly [string, string])[] => entries.map((sql) => [sql, sql]);

const RELATIONS = ['events', 'persons', 'sessions', 'identities', 'event_counts_hourly', 'monitor.events'];

/** Questions that a guard must let through and row-level security must keep honest. */
const LEGITIMATE = named([
  ...RELATIONS.flatMap((table) => [`SELECT * FROM ${table}`, `SELECT count(*) FROM ${table}`]),
  ...['events', 'persons', 'sessions', 'identities', 'event_counts_hourly'].map(
    (name) => `SELECT * FROM analytics.${name}`,
  ),
  'SELECT project_id, count(*) FROM events GROUP BY project_id',
  'SELECT min(received_at), max(received_at), min(timestamp), count(DISTINCT event_id) FROM events',
  'SELECT sum(events) FROM event_counts_hourly',
  `SELECT * FROM events WHERE project_id = '${VICTIMS[0]}'`,
  `SELECT * FROM events WHERE project_id = '${VICTIMS[0]}' OR true`,
  `SELECT * FROM events WHERE distinct_id = '${SECRET}'`,
  `SELECT * FROM events WHERE distinct_id IN ('${SECRET}', '1', '2-anon')`,
  `SELECT * FROM persons WHERE distinct_id = '${SECRET}' OR distinct_id = '1'`,
  `SELECT * FROM persons WHERE distinct_id = ANY (ARRAY['${SECRET}', '1'])`,
  `SELECT * FROM sessions WHERE session_id = '${SECRET}-session'`,
  `SELECT '${ATTACKER}'::uuid AS project_id, user_id FROM events`,
  'SELECT * FROM events WHERE true OR true -- the rest is a comment',
  'SELECT a.user_id, b.user_id FROM events a CROSS JOIN events b',
  'SELECT a.user_id, b.user_id FROM events a LEFT JOIN events b ON a.event > b.event AND a.source = b.source',
  'SELECT a.user_id, b.user_id FROM events a FULL JOIN events b USING (timestamp)',
  'SELECT b.user_id FROM (SELECT 1 AS one) a RIGHT JOIN events b ON a.one = 1',
  'SELECT user_id FROM events a WHERE NOT EXISTS (SELECT FROM events b WHERE a.event_id = b.event_id)',
  'SELECT a.event FROM events a NATURAL JOIN persons p',
  'SELECT e.event, last.event FROM events e, LATERAL (SELECT event FROM events b WHERE b.user_id = e.user_id LIMIT 1) last',
  'SELECT user_id FROM events WHERE user_id IN (SELECT user_id FROM events)',
  'SELECT user_id FROM events WHERE user_id NOT IN (SELECT user_id FROM events)',
  'SELECT (SELECT array_agg(user_id ORDER BY user_id) FROM events) AS all_of_them',
  "SELECT EXISTS (SELECT 1 FROM events WHERE user_id = 'victim')",
  'SELECT 1 WHERE (SELECT count(*) FROM events) > 2',
  'WITH a AS (SELECT * FROM events), b AS (SELECT * FROM a) SELECT user_id FROM b',
  'WITH a AS MATERIALIZED (SELECT * FROM events) SELECT user_id FROM a',
  'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n, user_id FROM r, events',
  'WITH events AS (SELECT * FROM persons) SELECT distinct_id FROM events',
  'WITH pg_class AS (SELECT 1 AS one) SELECT one FROM pg_class',
  'SELECT user_id FROM events UNION ALL SELECT distinct_id FROM persons',
  'SELECT user_id FROM events INTERSECT SELECT user_id FROM events',
  'SELECT user_id FROM events EXCEPT SELECT user_id FROM events',
  '(SELECT user_id FROM events) UNION (SELECT user_id FROM events);',
  'SELECT unnest(tags) FROM events',
  'SELECT tag FROM events, unnest(tags) WITH ORDINALITY AS t (tag, place)',
  'SELECT t.* FROM (SELECT * FROM events) AS t',
  'SELECT events FROM events',
  'SELECT e.*, e FROM events e',
  'SELECT to_json(events) FROM events',
  'SELECT row_to_json(e) FROM events e',
  'SELECT (events)::text FROM events',
  'SELECT count(e) FROM events e',
  'SELECT user_id, row_number() OVER (ORDER BY user_id) FROM events',
  'SELECT user_id, sum(1) OVER w FROM events WINDOW w AS (PARTITION BY event ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)',
  'SELECT event, count(*), grouping(event) FROM events GROUP BY ROLLUP (event)',
  'SELECT event, user_id, count(*) FROM events GROUP BY GROUPING SETS ((event), (user_id), ())',
  'SELECT user_id FROM events ORDER BY user_id DESC LIMIT 1',
  'SELECT user_id FROM events ORDER BY user_id FETCH FIRST 1 ROW WITH TIES',
  'SELECT DISTINCT ON (event) event, user_id FROM events ORDER BY event, timestamp DESC',
  'SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY user_id::int), mode() WITHIN GROUP (ORDER BY event) FROM events',
  "SELECT count(*) FILTER (WHERE user_id = '1') FROM events",
  "SELECT string_agg(user_id, ',' ORDER BY user_id) FROM events",
  'SELECT json_object_agg(event, user_id ORDER BY event) FROM events',
  'SeLeCt "user_id" FrOm "analytics"."events" /* ; */',
  "SELECT user_id FROM events WHERE event = ';'",
  'SELECT user_id FROM events WHERE event = $$;DROP TABLE x$$',
  "SELECT user_id FROM events WHERE event = E'\\x62ought'",
  "SELECT user_id FROM events WHERE event = U&'\\0062ought'",
  "SELECT properties->>'note', properties->'note', extras #>> '{tags,0}' FROM events",
  'SELECT k, v FROM events, json_each_text(properties) AS p (k, v)',
  'SELECT note FROM events, json_to_record(properties) AS p (note text)',
  "SELECT jsonb_path_query(properties::jsonb, '$.note') FROM events",
  "SELECT data->>'note' FROM monitor.events WHERE trace_id = '1'",
  "SELECT date_trunc('day', timestamp), count(*) FROM events GROUP BY 1",
  "SELECT extract(hour FROM timestamp AT TIME ZONE 'Europe/Berlin') FROM events",
  'VALUES (1, 2), (3, 4)',
  'TABLE events',
  'SELECT',
  "SELECT d, count(event) FROM generate_series('2026-05-01'::timestamptz, '2026-05-07', '1 day') AS d LEFT JOIN events ON date_trunc('day', timestamp) = d GROUP BY d",
  'SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS r (a, b)',
  'SELECT p.key, p.value, t.tag, t.place, d.d, j.* FROM events e, json_each_text(e.properties) AS p, unnest(e.tags) WITH ORDINALITY AS t (tag, place), generate_series(1, 2) AS d, json_to_record(e.properties) AS j (note text) WHERE j.note IS NOT NULL',
  'SELECT generate_series.generate_series, r.b FROM generate_series(1, 2), ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS r (a, b)',
  ...[
    `jsonb_object_keys('{"a":1}')`,
    `jsonb_path_query('{"a":1}', '$.a')`,
    'generate_subscripts(ARRAY[1, 2], 1)',
    "string_to_table('a,b', ',')",
    "regexp_split_to_table('a,b', ',')",
    "regexp_matches('a,b', ',')",
    'ROWS FROM (unnest(ARRAY[1, 2]))',
    'unnest(ARRAY[1, 2]) WITH ORDINALITY',
  ].map((call) => `SELECT x.x FROM ${call} AS x`),
  'SELECT t.tag, t.ordinality FROM events, unnest(tags) WITH ORDINALITY AS t (tag)',
  'SELECT p.k, p.value FROM events, json_each_text(properties) AS p (k)',
  'SELECT p.key, p.value FROM ROWS FROM (json_each_text(\'{"a":1}\'), generate_series(1, 2)) AS p',
  `SELECT x.a, x.generate_series FROM ROWS FROM (json_to_record('{"a":1}') AS (a int), generate_series(1, 2)) AS x`,
  "SELECT x.value FROM jsonb_array_elements_text('[1, 2]') AS x",
  "SELECT x.word FROM lower('A') AS x (word)",
  'SELECT user_id COLLATE "C" FROM events ORDER BY 1',
  "SELECT current_date > '2020-01-01', now() > '2020-01-01'",
  'SELECT make_interval(days => 3)',
  "SELECT CASE WHEN event = 'bought' THEN 1 ELSE 2 END, coalesce(user_id, 'x'), nullif(user_id, '1'), greatest(user_id, '5') FROM events",
  'SELECT (tags)[1], tags[1:2], ARRAY[1, 2], ROW (1, 2) FROM events',
  "SELECT event LIKE 'b%', event ILIKE 'B%', event ~ '^b', event SIMILAR TO 'b%', event BETWEEN 'a' AND 'c', event IS DISTINCT FROM 'x' FROM events",
]);

const columnsIn = (failing: string) =>
  failing.replaceAll(/(?<!['$.])\b(user_id|event_id|event|project_id|channel|timestamp|properties)\b(?! ')/g, 'r.$1');

/** A condition in every place that takes one. */
const SIDE_CHANNELS = named(
  FAILING.flatMap((failing) => [
    `SELECT count(*) FROM events WHERE ${failing}`,
    `SELECT count(*) FROM (SELECT * FROM events) AS e WHERE ${failing}`,
    `SELECT count(*) FROM (SELECT * FROM events OFFSET 0) AS e WHERE ${failing}`,
    `SELECT count(*) FROM (SELECT * FROM events UNION ALL SELECT * FROM events) AS e WHERE ${failing}`,
    `SELECT (SELECT count(*) FROM events WHERE ${failing})`,
    `SELECT user_id FROM events WHERE ${failing} ORDER BY timestamp LIMIT 1`,
    `SELECT count(*) FROM events GROUP BY ${failing}`,
    `SELECT user_id FROM events ORDER BY ${failing}, timestamp LIMIT 1`,
    `SELECT count(*) FILTER (WHERE ${failing}) FROM events`,
    `SELECT count(*) FROM events HAVING bool_or(${failing})`,
    `SELECT count(*) FROM events WHERE distinct_id = '1' AND ${failing}`,
    `SELECT count(*) FROM events WHERE distinct_id IN ('1', '${SECRET}') AND ${failing}`,
    `SELECT a.user_id FROM events a JOIN events AS r ON a.event_id = r.event_id WHERE ${columnsIn(failing)}`,
    `SELECT a.user_id FROM events a LEFT JOIN events AS r ON a.source = r.source AND ${columnsIn(failing)}`,
  ]),
).concat(
  named([
    `SELECT count(*) FROM persons WHERE 1 / (distinct_id <> '${SECRET}')::int = 1`,
    `SELECT count(*) FROM persons WHERE 1 / (first_seen > '1980-01-01')::int = 1`,
    `SELECT count(*) FROM sessions WHERE 1 / (session_id <> '${SECRET}-session')::int = 1`,
    `SELECT count(*) FROM sessions WHERE 1 / (distinct_id <> '${SECRET}')::int = 1`,
    `SELECT count(*) FROM identities WHERE 1 / (anonymous_id <> '${SECRET}-anon')::int = 1`,
    `SELECT count(*) FROM identities WHERE 1 / (user_id <> '${SECRET}')::int = 1`,
    `SELECT count(*) FROM monitor.events WHERE 1 / (service <> '${SECRET}-service')::int = 1`,
    `SELECT count(*) FROM monitor.events WHERE 1 / (trace_id <> '${SECRET}')::int = 1`,
    `SELECT count(*) FROM monitor.events WHERE trace_id = '${SECRET}' AND 1 / (name <> 'bought')::int = 1`,
    `SELECT count(*) FROM event_counts_hourly WHERE 1 / (channel <> '${SECRET}')::int = 1`,
    `SELECT count(*) FROM event_counts_hourly WHERE 1 / (event <> '${SECRET} event')::int = 1`,
    `SELECT count(*) FROM event_counts_hourly WHERE 1 / (extract(year FROM hour) < 2050)::int = 1`,
    'SELECT count(*) FROM events a JOIN events b ON a.user_id::int = b.user_id::int + 1',
    'SELECT count(*) FROM events a, events b WHERE a.user_id::int = 1 AND a.event_id = b.event_id',
    'SELECT DISTINCT user_id::int FROM events',
    'SELECT u FROM events, unnest(ARRAY[user_id::int]) AS u',
    'SELECT count(*) OVER (PARTITION BY user_id::int) FROM events',
    'SELECT count(*) FROM events e, LATERAL (SELECT e.user_id::int AS n) AS t WHERE n > 0',
    `SELECT count(*) FROM events WHERE session_id = '${SECRET}-session' AND user_id::int > 0`,
    `SELECT count(*) FROM events WHERE anonymous_id = '${SECRET}-anon' AND user_id::int > 0`,
    `SELECT count(*) FROM events WHERE trace_id = '${SECRET}' AND user_id::int > 0`,
    // Fails on the attacker's own row: what the answer quotes must be nobody else's.
    'SELECT event::int FROM events',
    'SELECT user_id::uuid FROM events',
    'SELECT (SELECT user_id FROM events)',
  ]),
);

/** What the guard must refuse, with a part of the sentence it is refused with. */
const REFUSED: readonly (readonly [string, RegExp])[] = [
  ...[
    'INSERT INTO events VALUES (1)',
    "UPDATE events SET event = 'x'",
    'DELETE FROM events',
    'MERGE INTO events USING persons ON true WHEN MATCHED THEN DELETE',
    'TRUNCATE events',
    'DROP TABLE analytics.events_raw',
    'ALTER TABLE analytics.events_raw DISABLE ROW LEVEL SECURITY',
    'CREATE TEMP TABLE t AS SELECT 1',
    'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
    "COPY events TO '/tmp/stolen'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    'EXPLAIN SELECT 1',
    'EXPLAIN ANALYZE SELECT * FROM events',
    'SHOW ALL',
    'SHOW weir.reading',
    "SET weir.reading = 'x'",
    'SET ROLE postgres',
    'RESET ROLE',
    'SET SESSION AUTHORIZATION DEFAULT',
    'RESET ALL',
    'DISCARD ALL',
    'BEGIN',
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT s',
    'LOCK TABLE analytics.events_raw',
    'LISTEN x',
    "NOTIFY x, 'y'",
    'DO $$ BEGIN PERFORM 1; END $$',
    'CALL f()',
    'PREPARE p AS SELECT 1',
    'EXECUTE p',
    'DECLARE c CURSOR FOR SELECT 1',
    'FETCH ALL FROM c',
    'VACUUM',
    'ANALYZE',
    'CLUSTER',
    'CHECKPOINT',
    "LOAD 'x'",
    'GRANT weir_reader TO PUBLIC',
    'REFRESH MATERIALIZED VIEW x',
    'SELECT 1; SELECT 2',
    'SELECT 1; DROP TABLE analytics.events_raw',
    'SELECT 1 AS a; COMMIT; SELECT 2',
  ].map((sql) => [sql, /only one SELECT/] as const),
  ['SELECT * INTO stolen FROM events', /INTO/],
  ['SELECT * INTO TEMP stolen FROM events', /INTO/],
  ['SELECT * FROM events FOR UPDATE', /FOR UPDATE/],
  ['SELECT * FROM events FOR KEY SHARE SKIP LOCKED', /FOR UPDATE/],
  ['SELECT * FROM (SELECT * FROM events FOR SHARE) AS e', /FOR UPDATE/],
  ['WITH d AS (DELETE FROM events RETURNING *) SELECT * FROM d', /queries only/],
  ['WITH i AS (INSERT INTO events VALUES (1) RETURNING *) SELECT * FROM i', /queries only/],
  ["WITH u AS (UPDATE events SET event = 'x' RETURNING *) SELECT * FROM u", /queries only/],
  ['SELECT * FROM events TABLESAMPLE SYSTEM (10)', /TABLESAMPLE/],
  ['SELECT $1', /parameters/],
  ['SELECT * FROM events ORDER BY event USING <', /USING/],
  ['', /empty/],
  [' ; ; ', /empty/],
  ['-- nothing', /empty/],
  ['/* nothing', /unterminated|syntax|Syntax/],
  ['1 + 1', /syntax/],
  ['SELECT 1\u0000', /control/],
  ['SELECT \ud800', /control/],
  ["SELECT 'unclosed", /unterminated/],

  ...[
    'pg_catalog.pg_class',
    'pg_class',
    '"pg_class"',
    'pg_stat_activity',
    'pg_settings',
    'pg_authid',
    'pg_shadow',
    'pg_roles',
    'pg_database',
    'pg_stats',
    'pg_statistic',
    'pg_locks',
    'pg_prepared_statements',
    'pg_cursors',
    'pg_largeobject',
    'pg_hba_file_rules',
    'pg_backend_memory_contexts',
    'information_schema.tables',
    'INFORMATION_SCHEMA.columns',
    'analytics.events_raw',
    'events_raw',
    '"events_raw"',
    'ONLY analytics.events_raw',
    'analytics.events_raw_2026_05',
    'analytics.event_batches',
    'event_batches',
    'analytics.reading_seal',
    'reading_seal',
    'analytics.event_users_daily',
    'analytics_people.events',
    'monitor.persons',
    'public.events',
    'weir.analytics.events',
    'failed_events',
    'tokens',
    'projects',
    'pg_temp.x',
    'pg_toast.pg_toast_1',
    'nowhere',
    'Events'.replace('Events', '"Events"'),
    '"analytics.events"',
    '"analytics"."events_raw"',
  ].map((name) => [`SELECT * FROM ${name}`, /no table|without its database/] as const),
  ['TABLE pg_class', /no table/],
  ['SELECT * FROM (WITH pg_class AS (SELECT 1) SELECT * FROM pg_class) a, pg_class', /no table pg_class/],
  ['WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a', /no table b/],
  ['WITH pg_roles AS (SELECT * FROM pg_roles) SELECT * FROM pg_roles', /no table pg_roles/],
  ['SELECT 1 WHERE EXISTS (SELECT FROM pg_authid)', /no table/],
  ['SELECT (SELECT max(relname) FROM pg_class)', /no table/],
  ['SELECT 1 ORDER BY (SELECT count(*) FROM pg_locks)', /no table/],
  ['SELECT 1 LIMIT (SELECT count(*) FROM pg_locks)', /no table/],
  ['SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM pg_class)) FROM events', /no table/],
  ['SELECT 1 UNION SELECT 1 FROM pg_class', /no table/],
  ['SELECT * FROM events JOIN pg_class ON true', /no table/],
  ['SELECT * FROM events, LATERAL (SELECT * FROM pg_class) c', /no table/],
  ['VALUES ((SELECT count(*) FROM pg_class))', /no table/],
  ['SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM pg_class)) FROM events', /no table/],
  ['SELECT ARRAY(SELECT rolname FROM pg_roles)', /no table/],

  ...[
    'pg_sleep(3)',
    "pg_sleep_for('3 s')",
    'pg_catalog.pg_sleep(3)',
    '"pg_sleep"(3)',
    "current_setting('weir.reading')",
    "set_config('weir.reading', 'x', true)",
    "set_config('role', 'none', true)",
    "pg_catalog.set_config('role', 'none', true)",
    "pg_read_file('/etc/passwd')",
    "pg_read_binary_file('/etc/passwd')",
    "pg_ls_dir('/')",
    'pg_ls_waldir()',
    "pg_stat_file('/etc/passwd')",
    "lo_import('/etc/passwd')",
    "lo_export(1, '/tmp/x')",
    'lo_get(1)',
    'lo_create(1)',
    "lo_from_bytea(0, 'x')",
    "query_to_xml('SELECT 1', true, true, '')",
    "query_to_xml_and_xmlschema('SELECT 1', true, true, '')",
    "table_to_xml('analytics.events_raw', true, true, '')",
    "cursor_to_xml('c', 1, true, true, '')",
    "schema_to_xml('analytics', true, true, '')",
    "database_to_xml(true, true, '')",
    "xmlparse(document '<a/>')".replace("xmlparse(document '<a/>')", "xml_is_well_formed('<a/>')"),
    "xpath('/a', '<a/>')",
    "dblink('host=127.0.0.1', 'SELECT 1')",
    "dblink_connect('host=127.0.0.1')",
    "ts_stat('SELECT 1')",
    'version()',
    'current_database()',
    'current_schemas(true)',
    'session_user()'.replace('session_user()', 'getpgusername()'),
    'inet_server_addr()',
    'inet_client_addr()',
    'inet_server_port()',
    'pg_backend_pid()',
    'pg_postmaster_start_time()',
    'pg_conf_load_time()',
    'pg_current_wal_lsn()',
    'pg_export_snapshot()',
    'txid_current()',
    'pg_current_xact_id()',
    'pg_current_snapshot()',
    'pg_advisory_lock(1)',
    'pg_try_advisory_lock(1)',
    'pg_advisory_xact_lock(1)',
    'pg_advisory_unlock_all()',
    'pg_cancel_backend(1)',
    'pg_terminate_backend(1)',
    'pg_reload_conf()',
    'pg_rotate_logfile()',
    'pg_log_backend_memory_contexts(1)',
    "pg_notify('a', 'b')",
    'pg_size_pretty(1)',
    "pg_relation_size('analytics.events_raw')",
    "pg_total_relation_size('analytics.events_raw')",
    "pg_database_size('weir')",
    "pg_relation_filepath('analytics.events_raw')",
    "pg_get_viewdef('analytics.events')",
    'pg_get_functiondef(1)',
    'pg_get_userbyid(10)',
    'pg_typeof(1)',
    'pg_column_size(1)',
    "pg_input_is_valid('1', 'regclass')",
    "pg_input_error_info('1', 'regclass')",
    "to_regclass('analytics.events_raw')",
    "to_regproc('now')",
    "to_regrole('weir')",
    "has_table_privilege('analytics.events_raw', 'SELECT')",
    "has_database_privilege('weir', 'CREATE')",
    "pg_has_role('weir', 'USAGE')",
    "row_security_active('analytics.events_raw')",
    "obj_description(1, 'pg_class')",
    'col_description(1, 1)',
    'format_type(1, 1)',
    "nextval('x')",
    "currval('x')",
    'lastval()',
    "setval('x', 1)",
    'setseed(0.1)',
    "pg_logical_emit_message(true, 'a', 'b')",
    "pg_create_physical_replication_slot('x')",
    'pg_stat_get_activity(NULL)',
    'pg_stat_get_backend_idset()',
    'pg_stat_reset()',
    'pg_lock_status()',
    'pg_show_all_settings()',
    'pg_show_all_file_settings()',
    'pg_hba_file_rules()',
    'pg_config()',
    'pg_timezone_names()',
    'pg_available_extensions()',
    'pg_event_trigger_ddl_commands()',
    'pg_promote()',
    'pg_switch_wal()',
    'brin_summarize_new_values(1)',
    'gin_clean_pending_list(1)',
    "pg_collation_for('a')",
    'pg_client_encoding()',
    "binary_upgrade_set_next_pg_type_oid('1')",
    'analytics.reading_project()',
    "analytics.sealed('x')",
    "sealed('x')",
    `analytics.open_reading('${VICTIMS[0]}')`,
    `open_reading('${VICTIMS[0]}')`,
    'analytics.prepare_reader()',
    "analytics.read_rows('[]')",
    'analytics.add_partition(now())',
    "repeat('x', 1000000000)",
    "lpad('x', 1000000000)",
    "rpad('x', 1000000000)",
    "format('%1000000000s', 'x')",
    'array_fill(1, ARRAY[100000000])',
    'factorial(100000)',
    'somebodys_function(1)',
    "public.lower('x')",
    '"LOWER"(\'x\')',
    "json_populate_record(NULL, '{}')",
    "crosstab('SELECT 1')",
    "gen_salt('bf')",
    'tsvector_update_trigger()',
    "to_tsvector('x')",
    "record_in('x', 1, 1)",
    "domain_in('x', 1, 1)",
    "textin('x')",
    "regclassin('x')",
    "regclass('x')",
    "name('x')",
    "oid('1')",
    "xml('<a/>')",
    "pg_lsn('0/0')",
  ].map((call) => [`SELECT ${call} FROM events`, /not available|syntax|kind of query/] as const),
  ...['current_user', 'session_user', 'user', 'current_role', 'current_catalog', 'current_schema', 'system_user'].map(
    (value) => [`SELECT ${value}`, /not available/] as const,
  ),
  ['SELECT * FROM current_user', /not available/],
  ["SELECT * FROM pg_ls_dir('/')", /not available/],
  ["SELECT * FROM pg_ls_dir('/') WITH ORDINALITY AS f (name, n)", /not available/],
  ["SELECT * FROM ROWS FROM (generate_series(1, 2), pg_ls_dir('/')) AS x", /not available/],
  ['SELECT 1 WHERE pg_sleep(1) IS NULL', /not available/],
  ['SELECT 1 ORDER BY pg_sleep(1)', /not available/],
  ['SELECT 1 GROUP BY pg_sleep(1)', /not available/],
  ['SELECT 1 LIMIT length(version())', /not available/],
  ['SELECT 1 OFFSET length(version())', /not available/],
  ['SELECT CASE WHEN true THEN pg_sleep(1) END', /not available/],
  ['SELECT coalesce(pg_sleep(1), NULL)', /not available/],
  ['SELECT ARRAY[version()]', /not available/],
  ['SELECT (ARRAY[1])[pg_backend_pid()]', /not available/],
  ['SELECT ROW (version())', /not available/],
  ['SELECT lower(version())', /not available/],
  ['SELECT lower(VARIADIC ARRAY[version()])', /not available/],
  ['SELECT make_interval(days => pg_backend_pid())', /not available/],
  ['SELECT count(*) OVER (PARTITION BY version()) FROM events', /not available/],
  ['SELECT sum(1) OVER (ROWS pg_backend_pid() PRECEDING) FROM events', /not available/],
  ['SELECT count(*) FILTER (WHERE pg_sleep(1) IS NULL)', /not available/],
  ['SELECT array_agg(event ORDER BY version()) FROM events', /not available/],
  ['SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY pg_backend_pid())', /not available/],
  ['SELECT * FROM events JOIN persons ON pg_sleep(1) IS NULL', /not available/],
  ['VALUES (version())', /not available/],
  ['SELECT DISTINCT ON (version()) 1', /not available/],
  ["SELECT * FROM json_to_record('{}') AS x (a regclass)", /type regclass/],
  ["SELECT xmlelement(name a, 'b')", /XML/],
  ["SELECT xmlserialize(content '<a/>' AS text)", /XML/],
  ["SELECT * FROM xmltable('/a' PASSING '<a/>' COLUMNS a text)", /XMLTABLE/],
  ["SELECT * FROM json_table('[1]', '$[*]' COLUMNS (a int PATH '$'))", /JSON_TABLE/],

  // As a field or a method: Postgres calls a function of that name.
  ['SELECT (1.5).pg_sleep', /parentheses/],
  ["SELECT ('/etc/passwd'::text).pg_read_file", /parentheses/],
  ["SELECT ('x'::text).upper", /parentheses/],
  ['SELECT e.pg_typeof FROM events e', /no column/],
  ['SELECT e.pg_column_size FROM events e', /no column/],
  ['SELECT events.record_out FROM events', /no column/],
  ['SELECT e.hash_record FROM events e', /no column/],
  ['SELECT (e).event FROM events e', /parentheses/],
  ['SELECT (e).* FROM events e', /parentheses/],
  ['SELECT 1 AS pg_typeof, e.pg_typeof FROM events e', /no column/],
  // What a function in FROM returns may be a text, which such a function runs as a query, out of its role.
  ...[
    'x.ts_stat FROM unnest(ARRAY[$q$]) AS x, y',
    'unnest.ts_stat FROM unnest(ARRAY[$q$]), y',
    'x.ts_stat FROM ROWS FROM (unnest(ARRAY[$q$])) AS x, y',
    'x.ts_stat FROM y, LATERAL unnest(ARRAY[$q$]) AS x',
    'x.ts_stat FROM coalesce($q$) AS x, y',
    'coalesce.ts_stat FROM coalesce($q$), y',
    'x.ts_stat FROM CAST($q$ AS text) AS x, y',
    '(x).ts_stat FROM unnest(ARRAY[$q$]) AS x, y',
    'x.ts_stat[1] FROM unnest(ARRAY[$q$]) AS x, y',
    'y.* FROM unnest(ARRAY[$q$]) AS x, y ORDER BY x.ts_stat',
    // Of two with one name, each may have its own columns only.
    'x.ts_stat FROM unnest(ARRAY[$q$]) AS x, (SELECT x.ts_stat FROM unnest(ARRAY[1]) AS x (ts_stat)) AS z',
    'x.ts_stat FROM unnest(ARRAY[$q$]) AS x, (SELECT x.ts_stat FROM y AS x) AS z',
    'z.ts_stat FROM (SELECT x.ts_stat FROM unnest(ARRAY[$q$]) AS x, y) AS z',
    'jsonb_array_elements_text.ts_stat FROM jsonb_array_elements_text(jsonb_build_array($q$)), y',
  ].map(
    (question) =>
      [
        `WITH y AS (SELECT 1 AS ts_stat) SELECT ${question.replace('$q$', BREAK_OUT)}`,
        /no column|parentheses|syntax/,
      ] as const,
  ),
  // So it may where the alias is that function's name, and no column has it.
  ...[
    'ts_stat.ts_stat FROM unnest(ARRAY[$q$]) AS ts_stat (c)',
    'ts_stat.ts_stat FROM unnest(ARRAY[$q$]) WITH ORDINALITY AS ts_stat (c, n)',
    'ts_stat.ts_stat FROM y, LATERAL unnest(ARRAY[$q$]) AS ts_stat (c)',
    'ts_stat.ts_stat FROM ROWS FROM (unnest(ARRAY[$q$])) AS ts_stat (c)',
    'ts_stat.ts_stat FROM unnest(ARRAY[$q$], ARRAY[$q$]) AS ts_stat',
    'ts_stat.ts_stat FROM jsonb_array_elements_text(jsonb_build_array($q$)) AS ts_stat',
    'ts_stat.ts_stat FROM json_array_elements_text(json_build_array($q$)) AS ts_stat',
    'ts_stat.ts_stat FROM ROWS FROM (jsonb_array_elements_text(jsonb_build_array($q$))) AS ts_stat',
    'ts_stat.ts_stat FROM jsonb_array_elements_text(jsonb_build_array($q$)) AS ts_stat (c)',
    'ts_stat.ts_stat FROM concat($q$) AS ts_stat (c)',
    'ts_stat.ts_stat FROM coalesce($q$) AS ts_stat (c)',
    'ts_stat.ts_stat FROM coalesce($q$) AS ts_stat',
    'ts_stat.ts_stat FROM CAST(concat($q$) AS text) AS ts_stat (c)',
    'ts_stat.ts_stat FROM string_to_table(concat_ws($$|$$, $q$), $$|$$) AS ts_stat (c)',
    'z.* FROM (SELECT ts_stat.ts_stat FROM unnest(ARRAY[$q$]) AS ts_stat (c)) AS z',
    'c FROM unnest(ARRAY[$q$]) AS ts_stat (c) ORDER BY ts_stat.ts_stat',
    'c FROM unnest(ARRAY[$q$]) AS ts_stat (c) JOIN y ON ts_stat.ts_stat IS NULL',
    'ts_stat.ts_stat[1] FROM unnest(ARRAY[$q$]) AS ts_stat (c)',
    '(SELECT ts_stat.ts_stat LIMIT 1) FROM unnest(ARRAY[$q$]) AS ts_stat (c)',
  ].map(
    (question) =>
      [`WITH y AS (SELECT 1 AS ts_stat) SELECT ${question.replaceAll('$q$', () => BREAK_OUT)}`, /no column/] as const,
  ),
  ["SELECT current_setting.current_setting FROM unnest(ARRAY['weir.reading']) AS current_setting (c)", /no column/],
  [`SELECT current_setting.current_setting FROM json_array_elements_text('["a"]') AS current_setting`, /no column/],
  ["SELECT regclass.regclass FROM unnest(ARRAY['pg_authid']) AS regclass (c)", /no column/],
  ["SELECT name.name FROM unnest(ARRAY['a']) AS name (c)", /no column/],
  ["SELECT unnest.unnest FROM unnest(ARRAY['a']) AS unnest (c)", /no column/],
  ["SELECT x.current_setting FROM unnest(ARRAY['weir.reading']) AS x, (SELECT 1 AS current_setting) AS y", /no column/],
  ["SELECT x.query_to_xml FROM unnest(ARRAY['a']) AS x, (SELECT 1 AS query_to_xml) AS y", /no column/],

  ...[
    'regclass',
    'regproc',
    'regprocedure',
    'regrole',
    'regtype',
    'regnamespace',
    'regoper',
    'regconfig',
    'oid',
    'xid',
    'name',
    'xml',
    'pg_lsn',
    '"char"',
    'tsquery',
    'refcursor',
    'record',
    'pg_catalog.regclass',
    'analytics.events',
    'public.something',
    'cstring',
    'pg_node_tree',
    'tid',
    'money',
    'regclass[]',
  ].map((type) => [`SELECT 'pg_class'::${type}`, /type .* is not available/] as const),
  ["SELECT CAST('pg_class' AS regclass)", /type regclass/],
  ["SELECT regclass 'pg_class'", /type regclass/],
  ["SELECT '{1}'::regclass[][]", /type regclass/],
  ['SELECT 1 OPERATOR(pg_catalog.+) 1', /operator/],
  ['SELECT 1 OPERATOR(public.+) 1', /operator/],
  ['SELECT 1 <-> 2', /operator/],
  ["SELECT 'a' @@@ 'b'", /operator/],
  ['SELECT 1 = ANY (SELECT 1) AND 1 <-> ANY (SELECT 2)', /operator/],
  ['SELECT event COLLATE "en_US" FROM events', /COLLATE/],
  ['SELECT event COLLATE pg_catalog."default" FROM events', /COLLATE/],

  ...['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax'].flatMap((column) =>
    ['identities', 'event_counts_hourly', 'events'].map(
      (table) => [`SELECT ${column} FROM ${table}`, /Postgres’s own/] as const,
    ),
  ),
  ['SELECT i.ctid FROM identities i', /Postgres’s own/],
  ['SELECT identities.tableoid FROM identities', /Postgres’s own/],
  ["SELECT 1 FROM identities WHERE ctid = '(0,1)'", /Postgres’s own/],
  ['SELECT 1 FROM identities a JOIN identities b USING (xmin)', /./],
];

/** Long and deep ones, which a parser or a server may refuse; whoever asks next must not notice. */
const BOMBS: readonly string[] = [
  `SELECT ${'('.repeat(3_000)}1${')'.repeat(3_000)}`,
  `SELECT ${'('.repeat(30_000)}1${')'.repeat(30_000)}`,
  `SELECT ${Array.from({ length: 3_900 }, () => '1').join('+')}`,
  `SELECT ${Array.from({ length: 20_000 }, () => '1').join('+')}`,
  `${'SELECT * FROM ('.repeat(1_500)}SELECT 1${') AS x'.repeat(1_500)}`,
  `SELECT ${'NOT '.repeat(7_000)}true`,
  `SELECT ${'- '.repeat(7_000)}1`,
  `SELECT ${'ARRAY['.repeat(2_000)}1${']'.repeat(2_000)}`,
  `SELECT 1${'::int'.repeat(2_500)}`,
  `SELECT 1 FROM events${' JOIN events ON true'.repeat(1_500)}`,
];

/** What reaches the tables. */
const ADMITTED = [...LEGITIMATE, ...SIDE_CHANNELS];
let alone: ReadonlyMap<string, string>;
let beside: ReadonlyMap<string, string>;

beforeAll(async () => {
  events = await startPostgresEvents();
  const asking = createProjectAsking(events.reading.projectReader, ATTACKER);
  ask = asking.ask;
  const askAll = (entries: readonly (readonly [string, unknown])[]) => asking.askAll(entries.map(([sql]) => sql));
  await insert(OWN_ROWS);
  await events.pool.query('ANALYZE');
  alone = await askAll(ADMITTED);
  await insert(victimRows);
  await events.pool.query('VACUUM ANALYZE');
  beside = await askAll([...ADMITTED, ...REFUSED]);
});
afterAll(() => events?.stop());

describe('the other project’s rows make no difference to', () => {
  test.each(ADMITTED)('%s', (sql) => {
    expect(beside.get(sql)).toBe(alone.get(sql));
    // Only what the question itself says may come back.
    if (!sql.includes(SECRET)) expect(beside.get(sql)).not.toContain(SECRET);
  });
});

describe('a proper question is answered:', () => {
  test.each([...LEGITIMATE])('%s', (sql) => {
    expect(JSON.parse(beside.get(sql)!)).toHaveProperty('rows');
  });

  test('with exactly the project’s own rows', async () => {
    const { rows } = JSON.parse(await ask('SELECT project_id, event, user_id FROM events ORDER BY event')) as {
      rows: string[];
    };
    expect(rows).toEqual([`["${ATTACKER}", "$identify", "2"]`, `["${ATTACKER}", "bought", "1"]`]);
  });
});

describe('refused:', () => {
  test.each([...REFUSED])('%s', (sql, reason) => {
    const answer = JSON.parse(beside.get(sql)!) as { kind: string; message: string };
    expect(answer.kind).toBe('refused');
    expect(answer.message).toMatch(reason);
    expect(answer.message).not.toMatch(/version \d|127\.0\.0\.1/);
  });
});

describe('of all that may stand in FROM under the name of a function, none is handed to it:', () => {
  /** Called `$f`; each is or holds the text `$v`. */
  const SOURCES = [
    ...[
      "unnest(ARRAY['$v'])",
      "unnest(ARRAY['$v'], ARRAY['$v'])",
      `jsonb_array_elements_text('["$v"]')`,
      `json_array_elements('["$v"]')`,
      `jsonb_each_text('{"$v":"$v"}')`,
      `json_object_keys('{"$v":1}')`,
      `jsonb_path_query('["$v"]', '$[*]')`,
      "string_to_table('$v', ',')",
      "regexp_split_to_table('$v', ',')",
      "regexp_matches('$v', '.*')",
      "lower('$v')",
      "text('$v')",
      "coalesce('$v')",
      "CAST('$v' AS text)",
      "nullif('$v', 'x')",
      "substring('$v' FROM '.*')",
      "trim('$v')",
    ].flatMap((call) => [
      ...['', ' (c)', ' (c, d)', ' (value)'].flatMap((columns) => [
        `${call} AS $f${columns}`,
        `(SELECT 1) AS y, LATERAL ${call} AS $f${columns}`,
        `${call} WITH ORDINALITY AS $f${columns}`,
        `ROWS FROM (${call}) AS $f${columns}`,
        `ROWS FROM (${call}, ${call}) AS $f${columns}`,
        `(SELECT 1) AS y LEFT JOIN ${call} AS $f${columns} ON true`,
      ]),
      `(SELECT * FROM ${call} AS c) AS $f`,
      `(SELECT * FROM ${call}) AS $f (c)`,
    ]),
    `json_to_record('{"c":"$v"}') AS $f (c text)`,
    `ROWS FROM (json_to_record('{"c":"$v"}') AS (c text)) AS $f`,
    "(VALUES ('$v')) AS $f",
    "(VALUES ('$v')) AS $f (c)",
    "((SELECT '$v' AS c) AS a CROSS JOIN (SELECT 1 AS d) AS b) AS $f",
    "((SELECT '$v' AS c) AS a CROSS JOIN (SELECT 1 AS d) AS b) AS $f (e, d)",
    "(SELECT '$v' AS c) AS a JOIN (SELECT '$v' AS c) AS b USING (c) AS $f",
    "(WITH $f (c) AS (SELECT '$v') SELECT * FROM $f) AS $f",
    'events AS $f',
    'events AS $f (c)',
    'events AS e, unnest(ARRAY[e]) AS $f',
    'events AS e, LATERAL coalesce(e) AS $f (c)',
  ];

  test.each([
    ['current_setting', 'server_version', /^\["\d/],
    ['regclass', 'PG_AUTHID', /pg_authid/],
    ['upper', 'small', /SMALL/],
  ])('%s', async (name, value, trace) => {
    const questions = SOURCES.map((source) =>
      `SELECT $f.$f FROM ${source}`.replaceAll('$f', name).replaceAll('$v', value),
    );
    const answers = await createProjectAsking(events.reading.projectReader, ATTACKER).askAll(questions);
    const answered = [...answers].flatMap(([sql, answer]) => {
      const { rows } = JSON.parse(answer) as { rows?: readonly string[] };
      return rows === undefined ? [] : [{ sql, rows }];
    });
    expect(answered.filter(({ rows }) => rows.some((row) => trace.test(row)))).toEqual([]);
    // Columns that are called so are answered.
    expect(answered.length).toBeGreaterThan(10);
  });

  test('but a record, to functions that only write it out', async () => {
    const { rows } = await events.pool.query<{ name: string }>(
      `SELECT DISTINCT proname AS name FROM pg_proc
       WHERE proargtypes[0]::regtype::text IN ('record', '"any"', 'anyelement', 'anynonarray', 'anycompatible', 'anycompatiblenonarray')
         AND pronargs - pronargdefaults <= 1 AND proname NOT LIKE 'pg\\_%' AND proname <> ALL ($1)
         AND has_function_privilege('weir_reader', oid, 'EXECUTE') ORDER BY 1`,
      [[...FUNCTIONS]],
    );
    const ofTypes = /^any\w*_out$/;
    expect(rows.map((row) => row.name).filter((name) => !ofTypes.test(name))).toEqual([
      'hash_record',
      'quote_literal',
      'quote_nullable',
      'record_out',
      'record_send',
    ]);
  });
});

test('Postgres calls the columns of a function in FROM as the guard believes', async () => {
  const { rows } = await events.pool.query<{ name: string; isRecord: boolean; given: string[] }>(
    `SELECT proname AS name, prorettype = 'record'::regtype AS "isRecord", ARRAY(
       SELECT given FROM unnest(proargnames, proargmodes) AS a (given, mode) WHERE mode IN ('o', 'b', 't')
     ) AS given
     FROM pg_proc WHERE proname = ANY ($1) AND pronamespace = 'pg_catalog'::regnamespace
       -- There are no values of that type in a query.
       AND proargtypes[0] <> 'tsvector'::regtype`,
    [[...RESULTS_CALLED_AS_ALIAS, ...RESULT_COLUMNS.keys()]],
  );
  const found = new Set(rows.map(({ name }) => name));
  for (const name of [...RESULTS_CALLED_AS_ALIAS, ...RESULT_COLUMNS.keys()]) expect(found).toContain(name);
  for (const { name, isRecord, given } of rows) {
    expect(given, name).toEqual(RESULT_COLUMNS.get(name) ?? []);
    if (RESULTS_CALLED_AS_ALIAS.has(name)) expect(isRecord, name).toBe(false);
  }
});

test('however deep a query is, the next is answered', async () => {
  for (const bomb of BOMBS) {
    expect(JSON.parse(await ask(bomb)), bomb.slice(0, 40)).not.toMatchObject({ kind: 'unavailable' });
    expect(JSON.parse(await ask('SELECT 1 AS one'))).toMatchObject({ rows: ['[1]'] });
  }
});

test('what has expired is not shown while it waits to be removed', async () => {
  const expired = asSent(rowOf({ project: ATTACKER, id: 9, event: 'expired', user: '9' }));
  await events.insert([{ ...expired, expires_at: '2026-05-05T00:00:00Z' }]);
  const stored = await events.pool.query("SELECT FROM analytics.events_raw WHERE event = 'expired'");
  expect(stored.rowCount).toBe(1);
  for (const question of [
    "SELECT event FROM events WHERE event = 'expired'",
    "SELECT 1 FROM events WHERE distinct_id = '9'",
    "SELECT 1 FROM persons WHERE distinct_id = '9'",
    "SELECT 1 FROM sessions WHERE session_id = '9-session'",
    "SELECT 1 FROM monitor.events WHERE trace_id = '9'",
  ]) {
    expect(JSON.parse(await ask(question)), question).toMatchObject({ rows: [] });
  }
});

describe('control: without a wall', () => {
  /** What a query sees under the role when the guard is not asked; `set` takes more away. */
  async function outcome(
    query: string,
    set: readonly string[] = [],
    opening = `SELECT analytics.open_reading('${ATTACKER}')`,
  ): Promise<string> {
    const client = await events.pool.connect();
    try {
      await client.query('BEGIN READ ONLY');
      await client.query(opening);
      for (const statement of ['SET LOCAL search_path = pg_catalog, analytics', 'SET LOCAL ROLE weir_reader', ...set])
        await client.query(statement);
      const { rows } = await client.query<Record<string, unknown>>(query);
      return JSON.stringify(rows);
    } catch (error) {
      return String(error);
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  }

  test('the guard: only the project’s rows are there, also of the tables beneath', async () => {
    for (const table of ['events', 'analytics.events_raw', 'analytics.identities', 'analytics.event_counts_hourly']) {
      expect(await outcome(`SELECT * FROM ${table}`), table).toContain(ATTACKER);
      expect(await outcome(`SELECT * FROM ${table}`), table).not.toContain(SECRET);
    }
  });

  test('the guard: a text under the name of a function is handed to it', async () => {
    for (const source of [
      "unnest(ARRAY['server_version']) AS current_setting (c)",
      `jsonb_array_elements_text('["server_version"]') AS current_setting`,
    ]) {
      const answer = await outcome(`SELECT current_setting.current_setting FROM ${source}`);
      expect(answer, source).toMatch(/"current_setting":"\d/);
    }
  });

  test('the guard: nothing else of Weir’s can be read, nothing written', async () => {
    for (const table of [
      'analytics.reading_seal',
      'analytics.event_batches',
      'analytics.event_users_daily',
      'analytics.events_raw_2026_05',
    ]) {
      expect(await outcome(`SELECT * FROM ${table}`), table).toContain('permission denied');
    }
    expect(await outcome("SELECT analytics.sealed('x')")).toContain('permission denied');
    expect(await outcome('DELETE FROM analytics.events_raw')).toContain('read-only');
    expect(await outcome('SELECT FROM analytics.events_raw FOR SHARE')).toMatch(/read-only|permission denied/);
    expect(await outcome('CREATE TEMP TABLE t (a int)')).toContain('read-only');
  });

  test('the seal: a forged setting shows nothing', async () => {
    for (const forged of [VICTIMS[0], `${VICTIMS[0]}:`, `${VICTIMS[0]}:${'0'.repeat(64)}`, '', 'nonsense', ':']) {
      expect(await outcome('SELECT * FROM events', [`SET LOCAL weir.reading = '${forged}'`]), forged).toBe('[]');
    }
    const sealed = await events.pool.query<{ given: string }>(`SELECT analytics.sealed('${ATTACKER}') AS given`);
    const moved = sealed.rows[0]!.given.replace(ATTACKER, VICTIMS[0]);
    expect(await outcome('SELECT * FROM events', [`SET LOCAL weir.reading = '${moved}'`])).toBe('[]');
    expect(await outcome('SELECT * FROM events', [], 'SELECT 1')).toBe('[]');
  });

  test('the role: all rows are there', async () => {
    expect(await outcome('SELECT * FROM events', ['RESET ROLE'])).toContain(SECRET);
  });

  test('row-level security: the query is not run', async () => {
    await events.pool.query('ALTER TABLE analytics.identities DISABLE ROW LEVEL SECURITY');
    // It is put back at once where the user may; here the reader has not looked yet.
    expect(JSON.parse(await ask('SELECT * FROM identities'))).toMatchObject({
      kind: 'unavailable',
      isForOperator: true,
    });
    expect(JSON.parse(await ask('SELECT * FROM identities'))).toMatchObject({
      rows: [expect.stringContaining(ATTACKER)],
    });
  });
});
