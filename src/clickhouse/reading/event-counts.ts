/**
 * How many events of a name a project has in a window, and of how many users.
 * Whole hours are read from the hourly counts, what is left at either edge from
 * the events themselves. Numbers of different users cannot be added, so their
 * states are merged: within each group, and over all of them for the total.
 * Many users over many hours are read from bitmaps of whole days instead, which
 * say a little less exactly who they are, and merge in a tenth of the time.
 */
import type { CountEvents, CountQuestion, EventCounts } from '../../pipeline/read-ports.ts';
import type { Reads } from './bounded-reads.ts';

/** Groups in one answer: more than the hours of a year. */
const MAX_GROUPS = 10_000;

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** The hourly counts write an hour as 32 bits of seconds; later ones are read from the events. */
const LAST_HOUR_MS = 4_294_965_600_000;

type Grouping = {
  /** The group of an event. */
  readonly ofEvent: string;
  /** That of an hour or a day that begins at the column. */
  readonly ofSpan: (start: 'hour' | 'start') => string;
};

/** Numbers of seconds rather than dates: they know no zones. */
const GROUPINGS: Record<'channel' | 'hour' | 'day' | 'none', Grouping> = {
  channel: { ofEvent: 'toString(channel)', ofSpan: () => 'toString(channel)' },
  hour: beginOf(3_600),
  day: beginOf(86_400),
  none: { ofEvent: "''", ofSpan: () => "''" },
};

function beginOf(seconds: number): Grouping {
  return {
    ofEvent: `intDiv(toUnixTimestamp64Milli(timestamp), ${seconds * 1_000}) * ${seconds}`,
    ofSpan: (start) => `toInt64(intDiv(toUnixTimestamp(${start}), ${seconds}) * ${seconds})`,
  };
}

/** Whose event it is, as the hourly counts see it (clickhouse-migrations). States of another expression would not merge. */
const USER = 'coalesce(user_id, anonymous_id)';
const USERS_OF_EVENTS = `uniqCombined64StateIf(coalesce(user_id, anonymous_id, ''), isNotNull(${USER}))`;
const NO_IDS = "initializeAggregation('uniqExactStateIf', toUUID('00000000-0000-0000-0000-000000000000'), 0)";

const NO_USERS = "initializeAggregation('uniqCombined64StateIf', '', 0)";

/** Places in a bitmap of users, and the place of a user: as the migration has them. */
const PLACES = 262_144;
const PLACES_OF_EVENTS = `groupBitmapStateIf(toUInt32(cityHash64(coalesce(user_id, anonymous_id, '')) % ${PLACES}), isNotNull(${USER}))`;
const NO_PLACES = "initializeAggregation('groupBitmapStateIf', toUInt32(0), 0)";
/** The users that are to be expected when so many places are taken: some share one. */
const USERS_ON_PLACES = `toUInt64(round(-${PLACES} * log(1 - least(groupBitmapMerge(people), ${PLACES - 1}) / ${PLACES})))`;
/** From so many events on, one user more or less than there are is worth the time that bitmaps save. */
const BITMAPS_FROM_EVENTS = 50_000;
/** With four users a place the error is 0.3 %; it doubles with every two more. */
const BITMAPS_TO_USERS = 4 * PLACES;

const OF_PROJECT = 'project_id = {project:UUID} AND event = {event:String}';
/** Copies that the hourly counts hold and the events do not, as far as they are known. */
const COPIES = 'SELECT hour, channel, -event_copies.copies AS landed FROM event_copies FINAL';
/** Of the events: one is gone with the second it expires, wherever it still lies. What was counted stays counted. */
const LIVE = 'expires_at > now()';

type Row = { readonly bucket: string | number; readonly events: number; readonly users: number };

export function createCountEvents(reads: Reads): CountEvents {
  return async (question, signal) => {
    const { isExact, groupBy } = question;
    if (isExact) return ask(question, exactly(question));
    const hours = wholeHours(question);
    if (hours !== null && (groupBy === null || groupBy === 'day')) {
      const counts = await ask(question, fromBitmaps(question, hours));
      const { events, users } = counts.total;
      if (events >= BITMAPS_FROM_EVENTS && users <= BITMAPS_TO_USERS) return counts;
    }
    return ask(question, fromStates(question, hours));

    async function ask(question: CountQuestion, { query, params }: Asking): Promise<EventCounts> {
      const { rows, totals } = await reads.ask<Row>(query, params, signal);
      return countsOf(question, rows, totals);
    }
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

/** What whole hours leave of the window. */
const IN_EDGES = `(${within('from', 'edge')} OR ${within('otherEdge', 'to')})`;

type Asking = { readonly query: string; readonly params: Record<string, unknown> };

/** The totals come from the same reading as the groups, so they cannot contradict each other. */
const ENDING = `GROUP BY bucket WITH TOTALS ORDER BY bucket LIMIT ${MAX_GROUPS + 1}`;

function exactly({ projectId, event, fromMs, toMs, groupBy }: CountQuestion): Asking {
  return {
    query: `SELECT ${GROUPINGS[groupBy ?? 'none'].ofEvent} AS bucket, uniqExact(event_id) AS events, uniqExact(${USER}) AS users
      FROM events_raw_v1 WHERE ${OF_PROJECT} AND ${LIVE} AND ${within('from', 'to')} ${ENDING}`,
    params: { project: projectId, event, from: fromMs, to: toMs },
  };
}

/** Whole hours from the hourly counts, with the states of their users. */
function fromStates(question: CountQuestion, hours: Span | null): Asking {
  const { ofEvent, ofSpan } = GROUPINGS[question.groupBy ?? 'none'];
  return {
    query: `SELECT bucket, sum(landed) + uniqExactMerge(ids) AS events, uniqCombined64Merge(people) AS users FROM (
        SELECT ${ofSpan('hour')} AS bucket, toInt64(event_counts_hourly.events) AS landed, ${NO_IDS} AS ids, event_counts_hourly.users AS people
        FROM event_counts_hourly WHERE ${OF_PROJECT} AND ${spans('hour', 'hoursFrom', 'hoursTo')}
        UNION ALL
        SELECT ${ofSpan('hour')} AS bucket, landed, ${NO_IDS} AS ids, ${NO_USERS} AS people
        FROM (${COPIES} WHERE ${OF_PROJECT} AND ${spans('hour', 'hoursFrom', 'hoursTo')} AND copies != 0)
        UNION ALL
        SELECT ${ofEvent} AS bucket, toInt64(0) AS landed, uniqExactState(event_id) AS ids, ${USERS_OF_EVENTS} AS people
        FROM events_raw_v1 WHERE ${OF_PROJECT} AND ${LIVE} AND ${IN_EDGES}
        GROUP BY bucket
      ) ${ENDING}`,
    params: paramsOf(question, hours),
  };
}

/** Whole hours from the hourly counts without their users, who come from bitmaps: whole days, and the hours around them. */
function fromBitmaps(question: CountQuestion, hours: Span): Asking {
  const { ofEvent, ofSpan } = GROUPINGS[question.groupBy ?? 'none'];
  const days = wholeDays(hours);
  return {
    query: `SELECT bucket, sum(landed) AS events, ${USERS_ON_PLACES} AS users FROM (
        SELECT ${ofSpan('hour')} AS bucket, toInt64(event_counts_hourly.events) AS landed, ${NO_PLACES} AS people
        FROM event_counts_hourly WHERE ${OF_PROJECT} AND ${spans('hour', 'hoursFrom', 'hoursTo')}
        UNION ALL
        SELECT ${ofSpan('hour')} AS bucket, landed, ${NO_PLACES} AS people
        FROM (${COPIES} WHERE ${OF_PROJECT} AND ${spans('hour', 'hoursFrom', 'hoursTo')} AND copies != 0)
        UNION ALL
        SELECT ${ofSpan('start')} AS bucket, toInt64(0) AS landed, event_users.users AS people
        FROM event_users
        WHERE ${OF_PROJECT} AND (seconds = 86400 AND ${spans('start', 'daysFrom', 'daysTo')}
          OR seconds = 3600 AND (${spans('start', 'hoursFrom', 'daysFrom')} OR ${spans('start', 'daysTo', 'hoursTo')}))
        UNION ALL
        SELECT ${ofEvent} AS bucket, toInt64(uniqExact(event_id)) AS landed, ${PLACES_OF_EVENTS} AS people
        FROM events_raw_v1 WHERE ${OF_PROJECT} AND ${LIVE} AND ${IN_EDGES}
        GROUP BY bucket
      ) ${ENDING}`,
    params: {
      ...paramsOf(question, hours),
      daysFrom: days.fromMs / 1_000,
      daysTo: days.toMs / 1_000,
    },
  };
}

function paramsOf({ projectId, event, fromMs, toMs }: CountQuestion, hours: Span | null): Record<string, unknown> {
  return {
    project: projectId,
    event,
    from: fromMs,
    edge: hours?.fromMs ?? toMs,
    hoursFrom: (hours?.fromMs ?? 0) / 1_000,
    hoursTo: (hours?.toMs ?? 0) / 1_000,
    otherEdge: hours?.toMs ?? toMs,
    to: toMs,
  };
}

/** From the first millisecond to before the last. */
type Span = { readonly fromMs: number; readonly toMs: number };

/** The hours that lie in the window whole, or null when there are none. */
function wholeHours({ fromMs, toMs }: Span): Span | null {
  const first = Math.ceil(fromMs / HOUR_MS) * HOUR_MS;
  const end = Math.floor(Math.min(toMs, LAST_HOUR_MS) / HOUR_MS) * HOUR_MS;
  return first < end ? { fromMs: first, toMs: end } : null;
}

/** The days that lie in the hours whole; an empty span at their end when there are none. */
function wholeDays({ fromMs, toMs }: Span): Span {
  const first = Math.ceil(fromMs / DAY_MS) * DAY_MS;
  const end = Math.floor(toMs / DAY_MS) * DAY_MS;
  return first < end ? { fromMs: first, toMs: end } : { fromMs: toMs, toMs };
}

/** That an event is not before the one parameter, and is before the other. The sorting key finds such rows. */
function within(from: string, to: string): string {
  return `(timestamp >= fromUnixTimestamp64Milli({${from}:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({${to}:Int64}, 'UTC'))`;
}

/** The same of hours and days. */
function spans(start: 'hour' | 'start', from: string, to: string): string {
  return `(${start} >= toDateTime({${from}:UInt32}, 'UTC') AND ${start} < toDateTime({${to}:UInt32}, 'UTC'))`;
}
