/** The days of events in Postgres: kept for counting, and counted in UTC, whatever stands in the way. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { createLog } from '../../src/log/log.ts';
import { countByDay } from '../../src/postgres/event-operations/described-table.ts';
import { createDayKeeper, PLACE_OF, PLACES } from '../../src/postgres/reading/user-days.ts';
import { createManualClock } from '../support/clock.ts';
import { PROJECT } from '../support/factory.ts';
import { anyRow, batchWith, type PostgresEvents, startPostgresEvents } from '../support/postgres-events.ts';

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

describe('of days that are kept, with one in between that is not, each user counts once', () => {
  const DAY_MS = 24 * HOUR_MS;
  const EVENTS = 30_000;

  /** Days of many events by one user, each with one row for them all. */
  async function addDays(event: string, days: readonly number[], notKept: number): Promise<void> {
    const user = `'${event}'`;
    const rows = days.map((timestamp, n) =>
      anyRow(timestamp / DAY_MS + 100_000 + n, { timestamp, event: `"${event}"`, userId: `"${event}"` }),
    );
    await events.storage.events.insert(batchWith(days[0]! / DAY_MS + 100_000, rows));
    await events.select('UPDATE analytics.event_counts_hourly SET events = $3 WHERE project_id = $1 AND event = $2', [
      PROJECT,
      event,
      EVENTS,
    ]);
    await events.select(
      `INSERT INTO analytics.event_users_daily (project_id, event, day, users, events, places)
       SELECT $1, $2, day, 1, $3, set_bit(repeat('0', ${PLACES})::bit(${PLACES}), ${PLACE_OF(user)}, 1)
       FROM unnest($4::date[]) AS day`,
      [
        PROJECT,
        event,
        EVENTS,
        days.filter((day) => day !== notKept).map((day) => new Date(day).toISOString().slice(0, 10)),
      ],
    );
  }

  test.each([
    ['whose seconds have a digit more', '2001-09-07'],
    ['before and after those seconds began', '1969-12-30'],
    ['before they began', '1969-11-01'],
    ['of any other time', '2026-03-01'],
  ])('%s', async (_name, first) => {
    const event = `from ${first}`;
    const start = Date.parse(`${first}T00:00:00Z`);
    const days = [0, 1, 2, 3, 4].map((n) => start + n * DAY_MS);
    await addDays(event, days, days[1]!);
    const { signal } = new AbortController();
    const { countEvents } = events.storage.openReading({ downSignal: () => signal, stopping: signal });
    // From before the first hour of a day on: the edges are no whole days.
    for (const [fromMs, toMs] of [
      [start, start + 5 * DAY_MS],
      [start - HOUR_MS / 2, start + 5.5 * DAY_MS],
    ] as const) {
      const window = { projectId: PROJECT, event, fromMs, toMs, isExact: false };
      const counted = await countEvents({ ...window, groupBy: 'day' }, signal);
      expect(counted.total).toEqual({ events: 5 * EVENTS, users: 1 });
      expect(counted.groups).toEqual(days.map((day) => ({ group: day / 1_000, events: EVENTS, users: 1 })));
      expect((await countEvents({ ...window, groupBy: null }, signal)).total).toEqual(counted.total);
    }
  });
});
