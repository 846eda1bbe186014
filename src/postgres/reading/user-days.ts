/**
 * Who came on a finished day, as a bitmap and as a number, kept so that counting a month does not read its events. It
 * says how many events it was made of, and holds as long as the hourly counts say the same: an event that comes late
 * makes it stale, whoever stores it. Late ones are made again in a while.
 */
import type { Pool } from 'pg';
import { failureOf } from '../../pipeline/outcome.ts';
import type { Clock } from '../../runtime/clock.ts';

/** Places in a bitmap, as the migration has them. */
export const PLACES = 262_144;
/** Whose event it is, as `/metrics` counts users. */
export const WHO = 'coalesce(user_id, anonymous_id)';
export const PLACE_OF = (who: string) => `(hashtextextended(${who}, 0) & ${PLACES - 1})::int`;

/** A day with fewer events is read as quickly; one with more takes longer than a statement may. */
const FROM_EVENTS = 5_000;
const TO_EVENTS = 20_000_000;
/** How far back days are looked for; at the start further. */
const LATER_DAYS = 40;
const FIRST_DAYS = 400;
const DAY_S = 24 * 60 * 60;
const AT_ONCE = 4;

type Due = { readonly project_id: string; readonly event: string; readonly day: string };

/** A day that could not be made is not tried again for so long: others would wait behind it, and it costs as much again. */
const AFTER_FAILURE_MS = 6 * 60 * 60_000;

export type DayKeeper = {
  /** Makes some that are due, and resolves to their number: 0 when none was. Throws what the driver throws, once all were tried. */
  keepSome(period: { readonly sinceS: number }): Promise<number>;
};

export function createDayKeeper({ pool, clock }: { pool: Pick<Pool, 'query'>; clock: Clock }): DayKeeper {
  let failed: readonly { readonly due: Due; readonly at: number }[] = [];

  return { keepSome };

  async function keepSome({ sinceS }: { readonly sinceS: number }): Promise<number> {
    failed = failed.filter(({ at }) => clock.elapsed() - at < AFTER_FAILURE_MS);
    const skipped = (['project_id', 'event', 'day'] as const).map((name) => failed.map(({ due }) => due[name]));
    const { rows } = await pool.query<Due>(DUE, [sinceS > DAY_S ? FIRST_DAYS : LATER_DAYS, ...skipped]);
    const errors: unknown[] = [];
    for (const due of rows) {
      const error = await failureOf(pool.query(KEEP, [due.project_id, due.event, due.day]));
      if (error === null) continue;
      errors.push(error);
      failed = [...failed, { due, at: clock.elapsed() }];
    }
    if (errors.length > 0) throw errors[0];
    return rows.length;
  }
}

const DUE = `
  SELECT c.project_id, c.event, c.day::text AS day FROM (
    SELECT project_id, event, (hour AT TIME ZONE 'UTC')::date AS day, sum(events) AS events
    FROM analytics.event_counts_hourly
    WHERE hour >= date_trunc('day', now(), 'UTC') - $1 * interval '1 day' AND hour < date_trunc('day', now(), 'UTC')
    GROUP BY 1, 2, 3 HAVING sum(events) BETWEEN ${FROM_EVENTS} AND ${TO_EVENTS}
  ) AS c
  LEFT JOIN analytics.event_users_daily AS k ON k.project_id = c.project_id AND k.event = c.event AND k.day = c.day
  WHERE (k.events IS NULL OR (k.events <> c.events AND k.built_at < now() - interval '1 hour'))
  AND (c.project_id, c.event, c.day) NOT IN (SELECT * FROM unnest($2::uuid[], $3::text[], $4::date[]))
  ORDER BY c.day DESC LIMIT ${AT_ONCE}`;

/** One statement, so that the events and their number are of one moment. */
const KEEP = `
  WITH bounds AS (SELECT $3::date::timestamp AT TIME ZONE 'UTC' AS first, ($3::date + 1)::timestamp AT TIME ZONE 'UTC' AS next),
  people AS MATERIALIZED (
    SELECT DISTINCT hashtextextended(${WHO}, 0) AS who FROM analytics.events_raw, bounds
    WHERE project_id = $1 AND event = $2 AND "timestamp" >= first AND "timestamp" < next AND ${WHO} IS NOT NULL
  ),
  taken AS (SELECT DISTINCT (who & ${PLACES - 1})::int AS place FROM people)
  INSERT INTO analytics.event_users_daily AS k (project_id, event, day, users, events, places)
  SELECT $1, $2, $3::date, (SELECT count(*) FROM people),
    (SELECT coalesce(sum(events), 0) FROM analytics.event_counts_hourly, bounds
     WHERE project_id = $1 AND event = $2 AND hour >= first AND hour < next),
    (SELECT string_agg(CASE WHEN place IS NULL THEN '0' ELSE '1' END, '' ORDER BY number)::bit(${PLACES})
     FROM generate_series(0, ${PLACES - 1}) AS number LEFT JOIN taken ON place = number)
  ON CONFLICT (project_id, event, day) DO UPDATE
  SET users = excluded.users, events = excluded.events, places = excluded.places, built_at = now()`;
