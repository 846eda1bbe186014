/**
 * How many events of a name a project has in a window, and of how many users.
 * Whole hours are read from the hourly counts, what is left at either edge from
 * the events themselves. Numbers of different users cannot be added, so their
 * states are merged: within each group, and over all of them for the total.
 */
import type { CountEvents, CountQuestion, EventCounts } from '../pipeline/ports.ts';
import type { Reads } from './reads.ts';

/** Groups in one answer: more than the hours of a year. */
const MAX_GROUPS = 10_000;

const HOUR_MS = 3_600_000;
/** The hourly counts write an hour as 32 bits of seconds; later ones are read from the events. */
const LAST_HOUR_MS = 4_294_965_600_000;

/** The group of an event, and that of a row of the hourly counts. Numbers of seconds rather than dates: they know no zones. */
const GROUPS: Record<'channel' | 'hour' | 'day' | 'none', { ofEvent: string; ofHour: string }> = {
  channel: { ofEvent: 'toString(channel)', ofHour: 'toString(channel)' },
  hour: beginOf(3_600),
  day: beginOf(86_400),
  none: { ofEvent: "''", ofHour: "''" },
};

function beginOf(seconds: number) {
  return {
    ofEvent: `intDiv(toUnixTimestamp64Milli(timestamp), ${seconds * 1_000}) * ${seconds}`,
    ofHour: `toInt64(intDiv(toUnixTimestamp(hour), ${seconds}) * ${seconds})`,
  };
}

/** Whose event it is, as the hourly counts see it (clickhouse-migrations). States of another expression would not merge. */
const USER = 'coalesce(user_id, anonymous_id)';
const USERS_OF_EVENTS = `uniqCombined64StateIf(coalesce(user_id, anonymous_id, ''), isNotNull(${USER}))`;
const NO_IDS = "initializeAggregation('uniqExactStateIf', toUUID('00000000-0000-0000-0000-000000000000'), 0)";

const OF_PROJECT = 'project_id = {project:UUID} AND event = {event:String}';

type Row = { readonly bucket: string | number; readonly events: number; readonly users: number };

export function createCountEvents(reads: Reads): CountEvents {
  return async (question, signal) => {
    const { query, params } = question.isExact ? exactly(question) : fromCounts(question);
    const { rows, totals } = await reads.ask<Row>(query, params, signal);
    return countsOf(question, rows, totals);
  };
}

function countsOf({ groupBy }: CountQuestion, rows: readonly Row[], totals: Row | undefined): EventCounts {
  const listed = groupBy === null ? [] : rows.slice(0, MAX_GROUPS);
  return {
    total: { events: totals?.events ?? 0, users: totals?.users ?? 0 },
    groups: listed.map(({ bucket, events, users }) => ({ group: bucket, events, users })),
    isTruncated: groupBy !== null && rows.length > MAX_GROUPS,
  };
}

type Asking = { readonly query: string; readonly params: Record<string, unknown> };

/** The totals come from the same reading as the groups, so they cannot contradict each other. */
const ENDING = `GROUP BY bucket WITH TOTALS ORDER BY bucket LIMIT ${MAX_GROUPS + 1}`;

function exactly({ projectId, event, fromMs, toMs, groupBy }: CountQuestion): Asking {
  return {
    query: `SELECT ${GROUPS[groupBy ?? 'none'].ofEvent} AS bucket, uniqExact(event_id) AS events, uniqExact(${USER}) AS users
      FROM events_raw_v1 WHERE ${OF_PROJECT} AND ${within('from', 'to')} ${ENDING}`,
    params: { project: projectId, event, from: fromMs, to: toMs },
  };
}

function fromCounts({ projectId, event, fromMs, toMs, groupBy }: CountQuestion): Asking {
  const { ofEvent, ofHour } = GROUPS[groupBy ?? 'none'];
  const hours = wholeHours(fromMs, toMs);
  return {
    query: `SELECT bucket, sum(landed) + uniqExactMerge(ids) AS events, uniqCombined64Merge(people) AS users FROM (
        SELECT ${ofHour} AS bucket, event_counts_hourly.events AS landed, ${NO_IDS} AS ids, event_counts_hourly.users AS people
        FROM event_counts_hourly
        WHERE ${OF_PROJECT} AND hour >= toDateTime({hoursFrom:UInt32}, 'UTC') AND hour < toDateTime({hoursTo:UInt32}, 'UTC')
        UNION ALL
        SELECT ${ofEvent} AS bucket, 0 AS landed, uniqExactState(event_id) AS ids, ${USERS_OF_EVENTS} AS people
        FROM events_raw_v1
        WHERE ${OF_PROJECT} AND (${within('from', 'edge')} OR ${within('otherEdge', 'to')})
        GROUP BY bucket
      ) ${ENDING}`,
    params: {
      project: projectId,
      event,
      from: fromMs,
      edge: hours?.fromMs ?? toMs,
      hoursFrom: (hours?.fromMs ?? 0) / 1_000,
      hoursTo: (hours?.toMs ?? 0) / 1_000,
      otherEdge: hours?.toMs ?? toMs,
      to: toMs,
    },
  };
}

/** The hours that lie in the window from their first millisecond to their last, or null when there are none. */
function wholeHours(fromMs: number, toMs: number): { fromMs: number; toMs: number } | null {
  const first = Math.ceil(fromMs / HOUR_MS) * HOUR_MS;
  const end = Math.floor(Math.min(toMs, LAST_HOUR_MS) / HOUR_MS) * HOUR_MS;
  return first < end ? { fromMs: first, toMs: end } : null;
}

/** That an event is not before the one parameter, and is before the other. The sorting key finds such rows. */
function within(from: string, to: string): string {
  return `(timestamp >= fromUnixTimestamp64Milli({${from}:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({${to}:Int64}, 'UTC'))`;
}
