/** The tables of events as they should be: what differs is found, and the remedy that is given puts it right. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createLog } from '../../src/log/log.ts';
import {
  anyRow,
  batchWith,
  openEventsAt,
  type PostgresEvents,
  startPostgresEvents,
} from '../support/postgres-events.ts';

let events: PostgresEvents;
let next = 100;

beforeAll(async () => {
  events = await startPostgresEvents();
});
afterAll(() => events.stop());

const check = () => events.storage.schema.check();

test.each([
  ['a table', 'DROP TABLE analytics.event_batches', ['analytics.event_batches']],
  ['the table', 'DROP TABLE analytics.events_raw CASCADE', ['analytics.events_raw']],
  ['a column', 'ALTER TABLE analytics.identities DROP event_id', ['analytics.identities']],
  ['the columns of an index', 'ALTER TABLE analytics.events_raw DROP trace_id CASCADE', ['analytics.events_raw']],
  ['a type', `ALTER TABLE analytics.events_raw ALTER properties_sent TYPE varchar(9)`, ['analytics.events_raw']],
  ['an index', 'DROP INDEX analytics.events_raw_by_user', ['analytics.events_raw_by_user']],
  ['a function', 'DROP FUNCTION analytics.read_rows', ['analytics.read_rows']],
  [
    'what tells copies',
    `DO $$ BEGIN EXECUTE 'DROP INDEX analytics.events_raw_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') || '_project_id_event_id_event_idx'; END $$`,
    ['analytics.events_raw_'],
  ],
])('%s that is missing or changed is named, and the remedies put it right', async (_, damage, tables) => {
  await events.select(damage);
  const drifts = await check();
  for (const table of tables) expect(drifts.some((drift) => drift.table.startsWith(table))).toBe(true);
  for (const { remedy } of drifts) await events.select(remedy);
  expect(await check()).toEqual([]);
  await events.storage.upkeep.doSome(60);
  await events.storage.events.insert(batchWith((next += 1), [anyRow(1)]));
});

test('questions about one person, one trace or one session are answered from an index', async () => {
  await events.select(`INSERT INTO analytics.events_raw (project_id, event_id, "timestamp", received_at, is_user, is_anonymous,
      event, user_id, anonymous_id, session_id, source, channel, service, env, level, trace_id, request_id, job_id, campaign_id, tags, properties, extras)
    SELECT '01890000-0000-7000-8000-00000000abcd', gen_random_uuid(), now(), now(), true, true, 'e' || n % 20,
      'u' || n, 'a' || n, 's' || n, 'native', '', 'mail', '', '', 't' || n, 'r' || n, 'j' || n, '', '{}', '{}', '{}'
    FROM generate_series(1, 5000) AS n; ANALYZE analytics.events_raw; ANALYZE analytics.identities`);
  const planOf = async (question: string) => {
    const rows = (await events.select(`EXPLAIN SELECT * FROM ${question}`)) as Record<string, string>[];
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  };
  const ofProject = `project_id = '01890000-0000-7000-8000-00000000abcd'`;
  for (const [view, column, value] of [
    ['analytics.events', 'user_id', 'u7'],
    ['analytics.events', 'anonymous_id', 'a7'],
    ['analytics.events', 'session_id', 's7'],
    ['analytics_people.events', 'distinct_id', 'u7'],
    ['monitor.events', 'trace_id', 't7'],
    ['monitor.events', 'request_id', 'r7'],
    ['monitor.events', 'job_id', 'j7'],
  ] as const) {
    const where = view.startsWith('monitor') ? '' : `${ofProject} AND`;
    const plan = await planOf(`${view} WHERE ${where} ${column} = '${value}'`);
    const indexed = column === 'distinct_id' ? 'user_id' : column;
    expect(plan, column).toMatch(new RegExp(`Index Cond: .*\\b${indexed} = '${value}'`));
  }
});

test('what an operator adds is nobody’s business', async () => {
  await events.select(`ALTER TABLE analytics.events_raw ADD note text; CREATE INDEX ON analytics.events_raw (source);
    ALTER TABLE analytics.identities ADD CHECK (user_id <> 'nobody'); CREATE TABLE analytics.mine (a int)`);
  expect(await check()).toEqual([]);
  await events.storage.events.insert(batchWith(7, [anyRow(7)]));
});

test('a database in another encoding is refused with the remedy, before anything is there', async () => {
  await events.select(`CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`);
  const url = events.server.url.replace(/\/weir$/, '/latin');
  const elsewhere = openEventsAt(url);
  await expect(elsewhere.schema.migrate()).rejects.toThrow('events need a database in UTF8, and this one is in LATIN1');
  await elsewhere.close();
  const { pool } = createPostgres({ url, maxConnections: 1 }, createLog('silent'));
  expect((await pool.query(`SELECT to_regnamespace('analytics') AS found`)).rows).toEqual([{ found: null }]);
  await pool.end();
});
