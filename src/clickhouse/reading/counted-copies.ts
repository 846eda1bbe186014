/**
 * Finds the copies in the hourly counts. The view behind them counts what arrives, also an event that its client sends
 * again; the table of events keeps one of them. An hour that nothing has been added to for a while is compared with its
 * events, and the difference is kept beside it. A result is an absolute number, so looking twice changes nothing.
 */
import type { ClickHouseClient } from '@clickhouse/client';

/** While rows are on their way, the counts may have them and the events not. Longer than the statements of one insert. */
const QUIET_S = 60;
/** A look that found copies is repeated once, when an insert that had failed half way has long been made again. */
const CONFIRMED_AFTER_S = 15 * 60;
/** Hours looked at in one statement, and how many events they have together, unless one alone has more. */
const HOURS_AT_ONCE = 2_000;
const EVENTS_AT_ONCE = 5_000_000;
const MAX_MEMORY_BYTES = 512 * 1024 ** 2;

type CopiesCheck = {
  /** How far back hours are looked for that were added to, seconds. */
  readonly sinceS: number;
  readonly quietS?: number;
};

type Hour = { readonly project: string; readonly event: string; readonly hour: number };
type Candidate = Hour & { readonly landed: string };

/** Looks at some hours that are due, and resolves to their number: 0 when none was. Throws what the driver throws. */
export async function checkSomeHours(
  client: ClickHouseClient,
  { sinceS, quietS = QUIET_S }: CopiesCheck,
): Promise<number> {
  const params = { since: sinceS, quiet: quietS };
  const due = await client.query({
    query: DUE,
    query_params: params,
    format: 'JSONEachRow',
    clickhouse_settings: LIMITS,
  });
  const hours = asManyAsFit(await due.json<Candidate>());
  if (hours.length === 0) return 0;
  await client.command({
    query: CHECK,
    query_params: {
      ...params,
      projects: hours.map(({ project }) => project),
      names: hours.map(({ event }) => event),
      hours: hours.map(({ hour }) => hour),
    },
    clickhouse_settings: { ...LIMITS, wait_end_of_query: 1 },
  });
  return hours.length;
}

/** Inserts and clients come first. What does not fit into memory is grouped on disk. */
const LIMITS = {
  max_threads: 1,
  max_memory_usage: String(MAX_MEMORY_BYTES),
  max_bytes_before_external_group_by: String(MAX_MEMORY_BYTES / 4),
  max_bytes_before_external_sort: String(MAX_MEMORY_BYTES / 4),
} as const;

function asManyAsFit(candidates: readonly Candidate[]): Candidate[] {
  let events = 0;
  return candidates.filter(({ landed }, index) => {
    events += Number(landed);
    return index === 0 || events <= EVENTS_AT_ONCE;
  });
}

const DUE = `
  SELECT toString(project_id) AS project, toString(event) AS event, toUnixTimestamp(hour) AS hour, toString(landed) AS landed
  FROM (
    SELECT project_id, event, hour, max(touched) AS added, sum(events) AS landed
    FROM event_counts_hourly WHERE touched > now() - {since:UInt32} GROUP BY project_id, event, hour
  ) AS counts
  LEFT JOIN (
    SELECT project_id, event, hour, max(touched) AS seen, max(checked_at) AS seen_at, max(copies != 0) AS is_more
    FROM event_copies FINAL WHERE touched > now() - {since:UInt32} GROUP BY project_id, event, hour
  ) AS looks USING (project_id, event, hour)
  WHERE added <= now() - {quiet:UInt32}
    AND (added > seen OR is_more AND seen_at < seen + ${CONFIRMED_AFTER_S} AND now() >= seen + ${CONFIRMED_AFTER_S})
  ORDER BY added LIMIT ${HOURS_AT_ONCE}`;

/** Of these hours, the column or expression being `hour`. */
const amongHours = (hour: string) => `(project_id, event, ${hour}) IN (
      SELECT toUUID(project), name, toDateTime(second, 'UTC')
      FROM (SELECT {projects:Array(String)} AS project, {names:Array(String)} AS name, {hours:Array(UInt32)} AS second)
      ARRAY JOIN project, name, second)`;

const HOUR_OF_EVENT = 'toStartOfHour(timestamp)';
const OF_HOUR = '(PARTITION BY project_id, event, hour)';
const KEPT_S = `minIf(kept_s, present > 0) OVER ${OF_HOUR}`;
/** Where events of an hour may have expired, what is missing there is no copy. A client's clock may be ahead by a day. */
const MAY_HAVE_EXPIRED = `max(present) OVER ${OF_HOUR} = 0
    OR toInt64(toUnixTimestamp(hour)) + ${KEPT_S} - least(86400, intDiv(${KEPT_S}, 4)) <= toInt64(toUnixTimestamp(now()))`;

/** Of copies the last one's channel counts, as in the table. */
const CHECK = `
  INSERT INTO event_copies (project_id, event, hour, channel, copies, touched)
  SELECT project_id, event, hour, channel,
    if(${MAY_HAVE_EXPIRED}, known, toInt64(landed) - toInt64(present)) AS copies,
    max(added) OVER ${OF_HOUR} AS touched
  FROM (
    SELECT project_id, event, hour, channel, sum(events) AS landed, max(touched) AS added
    FROM event_counts_hourly WHERE ${amongHours('hour')}
    GROUP BY project_id, event, hour, channel
  ) AS counts
  LEFT JOIN (
    SELECT project_id, event, hour, last_channel AS channel, count() AS present, min(kept_s) AS kept_s
    FROM (
      SELECT project_id, event, ${HOUR_OF_EVENT} AS hour, argMax(channel, received_at) AS last_channel,
        min(toInt64(toUnixTimestamp(expires_at)) - toInt64(toUnixTimestamp(received_at))) AS kept_s
      FROM events_raw_v1 WHERE ${amongHours(HOUR_OF_EVENT)}
      GROUP BY project_id, event, hour, event_id
    ) GROUP BY project_id, event, hour, channel
  ) AS events USING (project_id, event, hour, channel)
  LEFT JOIN (
    SELECT project_id, event, hour, channel, event_copies.copies AS known FROM event_copies FINAL WHERE ${amongHours('hour')}
  ) AS looks USING (project_id, event, hour, channel)
  QUALIFY touched <= now() - {quiet:UInt32}`;
