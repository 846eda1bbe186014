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
