/** The days of events in Postgres: kept for counting, and counted in UTC, whatever stands in the way. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createLog } from '../../src/log/log.ts';
import { countByDay } from '../../src/postgres/event-operations/described-table.ts';
import { createDayKeeper } from '../../src/postgres/reading/user-days.ts';
import { createManualClock } from '../support/clock.ts';
import { PROJECT } from '../support/factory.ts';
import { type PostgresEvents, startPostgresEvents } from '../support/postgres-events.ts';

const HOUR_MS = 60 * 60_000;

let events: PostgresEvents;
beforeAll(async () => {
  events = await startPostgresEvents();
});
afterAll(() => events.stop());

/** Counts of a day, so many days ago, as if there were events. */
const addCounts = (event: string, daysAgo: number, count: number) =>
  events.select(
    `INSERT INTO analytics.event_counts_hourly (project_id, event, hour, channel, events)
     VALUES ($1, $2, date_trunc('day', now(), 'UTC') - $3 * interval '1 day', '', $4)`,
    [PROJECT, event, daysAgo, count],
  );

const kept = async () =>
  (await events.select<{ event: string }>('SELECT event FROM analytics.event_users_daily ORDER BY event')).map(
    ({ event }) => event,
  );

test('a day that cannot be kept keeps no other from it, and is tried again after some hours', async () => {
  const clock = createManualClock();
  const keeper = createDayKeeper({ pool: events.pool, clock });
  for (let n = 1; n <= 4; n++) await addCounts(`bad ${n}`, n, 6_000);
  for (let n = 5; n <= 6; n++) await addCounts(`good ${n}`, n, 6_000);
  await addCounts('good 0', 1, 6_000);
  await events.select(`ALTER TABLE analytics.event_users_daily ADD CONSTRAINT no_bad CHECK (event NOT LIKE 'bad%')`);
  const keepSome = () => keeper.keepSome({ sinceS: 60 });
  await expect(keepSome()).rejects.toThrow('no_bad');
  await expect(keepSome()).rejects.toThrow('no_bad');
  expect(await keepSome()).toBe(0);
  expect(await kept()).toEqual(['good 0', 'good 5', 'good 6']);
  await events.select('ALTER TABLE analytics.event_users_daily DROP CONSTRAINT no_bad');
  await clock.advance(7 * HOUR_MS);
  expect(await keepSome()).toBe(4);
});

test('events are counted from the beginning of a day in UTC, whatever time zone the server keeps', async () => {
  await addCounts('counted', 20, 7);
  await events.select(`ALTER DATABASE weir SET timezone = 'America/St_Johns'`);
  const { pool } = createPostgres({ url: events.server.url, maxConnections: 1 }, createLog('silent'));
  const since = new Date(Date.now() - 20 * 24 * HOUR_MS).toISOString().slice(0, 10);
  const days = await countByDay(pool, PROJECT, { since });
  await pool.end();
  await events.select('ALTER DATABASE weir RESET timezone');
  expect(days[0]).toEqual({ day: since, events: 7 });
});
