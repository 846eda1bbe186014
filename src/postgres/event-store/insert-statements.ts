/** The statements that store a batch. Everything in them that is not a parameter is Weir's own. */
import { monthAfter, startOf } from './arrivals.ts';

/** The columns of `analytics.events_raw` that `analytics.read_rows` fills. */
export const COLUMNS = [
  'project_id',
  'event_id',
  '"timestamp"',
  'received_at',
  'expires_at',
  'is_user',
  'is_anonymous',
  'event',
  'anonymous_id',
  'user_id',
  'session_id',
  'source',
  'channel',
  'service',
  'env',
  'level',
  'trace_id',
  'request_id',
  'job_id',
  'campaign_id',
  'tags',
  'properties',
  'extras',
  'properties_sent',
  'extras_sent',
].join(', ');

/** Events that link an anonymous id to a user; of some clients any. */
const LINKING = `(event IN ('$identify', '$alias', '$create_alias') OR source IN ('amplitude', 'mixpanel'))`;

/** Beside the locks of upkeep and of ballast: "weir" in ASCII, and the third of its kind. */
const MONTHS_LOCK = `x'77656972'::int, 3`;

/**
 * The first statement of a transaction that stores rows of these months. Copies of an event in two months are told by
 * looking, and what another transaction has not committed cannot be seen; so whoever stores rows of a month that is not
 * the present one, as the server has it, has no other beside it. Near the turn of a month that is everybody: `marginMs`
 * is longer than a transaction lasts, so that of those side by side all have the same month. Null: some row does not tell.
 */
export function lockMonths(months: readonly string[] | null, marginMs: number): string {
  const [month, ...others] = months ?? [];
  const alone = `pg_advisory_xact_lock(${MONTHS_LOCK})`;
  if (month === undefined || others.length > 0) return `SELECT ${alone}`;
  const isPresent = ['-', '+'].map(
    (sign) => `to_char((now() ${sign} interval '${marginMs} ms') AT TIME ZONE 'UTC', 'YYYY-MM') = '${month}'`,
  );
  return `SELECT CASE WHEN ${isPresent.join(' AND ')} THEN pg_advisory_xact_lock_shared(${MONTHS_LOCK}) ELSE ${alone} END`;
}

/**
 * The ids of batches, once: no row is changed where it is there already. Waits for another transaction that stores the
 * same.
 */
export const recordBatch = (id: string, events: number): string =>
  `INSERT INTO analytics.event_batches (id, events) VALUES ('${id}', ${events}) ON CONFLICT DO NOTHING`;

/** How many of its rows were there already; hardly any batch has such rows. */
export const RECORD_COPIES = `UPDATE analytics.event_batches SET copies = $2 WHERE id = $1`;

/**
 * Stores the rows of `$1` that arrived in one month, and what is kept beside them: counts, and whom ids are linked to.
 * Answers how many were added. Copies are told by the partition's unique index, and by looking into its neighbours: a
 * client sends again what it sent a month ago, and a row that waited lands after its copy. `isAlone`: no row arrived in
 * another month. `isOrdered`: rows, too, take their locks in one order, which moves them about. Without a month (some row does not tell), the neighbours are not looked into.
 *
 * Counts and links are written in the order of their keys, so that transactions take their locks in one order.
 */
export function insertRows(month: string | null, isAlone: boolean, isOrdered: boolean): string {
  const conditions = month === null ? [] : [notInNeighbours(month), ...(isAlone ? [] : [arrivedIn(month)])];
  return `
    WITH added AS (
      INSERT INTO analytics.events_raw (${COLUMNS})
      SELECT ${COLUMNS} FROM analytics.read_rows($1::json) AS r
      ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
      ${isOrdered ? 'ORDER BY project_id, event_id, event' : ''}
      ON CONFLICT DO NOTHING
      RETURNING project_id, event_id, event, "timestamp", received_at, channel, source, is_user, is_anonymous,
        CASE WHEN ${LINKING} THEN user_id END AS user_id, CASE WHEN ${LINKING} THEN anonymous_id END AS anonymous_id
    ), counted AS (
      INSERT INTO analytics.event_counts_hourly AS counts (project_id, event, hour, channel, events)
      SELECT project_id, event, date_bin('1 hour', "timestamp", '1970-01-01T00:00:00Z'), channel, count(*)
      FROM added GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
      ON CONFLICT (project_id, event, hour, channel) DO UPDATE SET events = counts.events + excluded.events
    ), linked AS (
      INSERT INTO analytics.identities AS known (project_id, anonymous_id, user_id, received_at, event_id)
      SELECT DISTINCT ON (project_id, anonymous_id) project_id, anonymous_id, user_id, received_at, event_id
      FROM added WHERE is_user AND is_anonymous AND user_id IS NOT NULL
      ORDER BY project_id, anonymous_id, received_at, event_id
      ON CONFLICT (project_id, anonymous_id) DO UPDATE
        SET user_id = excluded.user_id, received_at = excluded.received_at, event_id = excluded.event_id
        WHERE (excluded.received_at, excluded.event_id) < (known.received_at, known.event_id)
    )
    SELECT count(*)::int AS added FROM added`;
}

const arrivedIn = (month: string) =>
  `r.received_at >= ${startOf(month)} AND r.received_at < ${startOf(monthAfter(month, 1))}`;

function notInNeighbours(month: string): string {
  const [before, start, end, after] = [-1, 0, 1, 2].map((by) => startOf(monthAfter(month, by)));
  return [
    [before, start],
    [end, after],
  ]
    .map(
      // No join: of a partition that looks small the planner would read every row for each.
      ([from, to]) => `(
        SELECT true FROM analytics.events_raw AS other
        WHERE other.project_id = r.project_id AND other.event_id = r.event_id AND other.event = r.event
        AND other.received_at >= ${from} AND other.received_at < ${to} LIMIT 1) IS NULL`,
    )
    .join(' AND ');
}
