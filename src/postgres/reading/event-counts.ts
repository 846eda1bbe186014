/**
 * How many events of a name a project has in a window, and of how many users. Events of whole hours come from the
 * hourly counts, what is left at either edge from the events themselves. Users are counted from the events, one by one;
 * of many events, from bitmaps of finished days (`user-days.ts`), which say a little less exactly who they are over
 * several days, and need not read them.
 */
import type { Count, CountEvents, CountQuestion, EventCounts } from '../../pipeline/read-ports.ts';
import type { Ask, Reads } from './bounded-reads.ts';
import { PLACES, PLACE_OF, WHO } from './user-days.ts';

/** Groups in one answer: more than the hours of a year. */
const MAX_GROUPS = 10_000;
/** From so many events on, one user more or less than there are is worth the time that bitmaps save. */
const BITMAPS_FROM_EVENTS = 50_000;
/** With four users a place the error is 0.3 %; it doubles with every two more. */
const BITMAPS_TO_USERS = 4 * PLACES;

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** From the first millisecond to before the last. */
type Span = { readonly fromMs: number; readonly toMs: number };
type Groups = Map<string | number, Count>;
type Row = { readonly bucket: string | null; readonly events: string; readonly users: string };

/** The group of an event and that of an hour. */
const GROUPINGS = {
  channel: ['channel', 'channel'],
  hour: [`${epoch('"timestamp"', 3_600)}::text`, `${epoch('hour', 3_600)}::text`],
  day: [`${epoch('"timestamp"', 86_400)}::text`, `${epoch('hour', 86_400)}::text`],
  none: ["''", "''"],
} as const;

function epoch(column: string, seconds: number): string {
  return `(floor(date_part('epoch', ${column}) / ${seconds})::bigint * ${seconds})`;
}

const OF_PROJECT = 'project_id = $1 AND event = $2';
/** One is gone with the second it expires, wherever it still lies. What was counted stays counted. */
const LIVE = '(expires_at IS NULL OR expires_at > now())';

export function createCountEvents(reads: Reads): CountEvents {
  return (question, signal) =>
    reads.within(signal, async (ask) => {
      const hours = question.isExact ? null : wholeHours(question);
      const byDay = question.groupBy === null || question.groupBy === 'day';
      const counts = hours !== null && byDay ? await fromBitmaps(ask, question, hours) : null;
      return counts ?? oneByOne(ask, question, hours);
    });
}

/** Totals come from the same reading as the groups, so they cannot contradict each other. */
async function oneByOne(ask: Ask, question: CountQuestion, hours: Span | null): Promise<EventCounts> {
  const { projectId, event, fromMs, toMs, groupBy } = question;
  const [ofEvent, ofHour] = GROUPINGS[groupBy ?? 'none'];
  const rows = await ask<Row>(
    `WITH seen AS (
       SELECT ${ofEvent} AS bucket, ${question.isExact ? WHO : `hashtextextended(${WHO}, 0)`} AS who,
         count(*) FILTER (WHERE "timestamp" < $5 OR "timestamp" >= $6) AS events
       FROM analytics.events_raw WHERE ${OF_PROJECT} AND "timestamp" >= $3 AND "timestamp" < $4 AND ${LIVE} GROUP BY 1, 2
     ), landed AS (
       SELECT ${ofHour} AS bucket, sum(events) AS events
       FROM analytics.event_counts_hourly WHERE ${OF_PROJECT} AND hour >= $5 AND hour < $6 GROUP BY 1
     ), grouped AS (
       SELECT bucket, sum(events) AS events, sum(users) AS users FROM (
         SELECT bucket, sum(events) AS events, count(who) AS users FROM seen GROUP BY bucket
         UNION ALL SELECT bucket, events, 0 FROM landed
       ) AS parts GROUP BY bucket
     )
     SELECT NULL AS bucket, coalesce(sum(events), 0)::text AS events,
       (SELECT count(*) FROM (SELECT DISTINCT who FROM seen WHERE who IS NOT NULL) AS people)::text AS users FROM grouped
     UNION ALL
     (SELECT bucket, events::text, users::text FROM grouped WHERE ${groupBy === null ? 'false' : 'true'}
      ORDER BY ${groupBy === 'channel' ? 'bucket COLLATE "C"' : 'bucket::bigint'} LIMIT ${MAX_GROUPS + 1})`,
    [projectId, event, ...instants(fromMs, toMs, hours?.fromMs ?? toMs, hours?.toMs ?? toMs)],
  );
  const [total, ...groups] = rows;
  const listed = groups.map(({ bucket, events, users }): [string | number, Count] => [
    groupBy === 'channel' ? bucket! : Number(bucket),
    { events: Number(events), users: Number(users) },
  ]);
  return answerOf(question, { events: Number(total!.events), users: Number(total!.users) }, new Map(listed));
}

type Day = {
  readonly day: string;
  readonly events: string;
  readonly kept: string | null;
  readonly users: number | null;
};

/** Null where they would save nothing, or say too little. */
async function fromBitmaps(ask: Ask, question: CountQuestion, hours: Span): Promise<EventCounts | null> {
  const { projectId, event } = question;
  const days = await ask<Day>(
    `SELECT ${epoch('hour', 86_400)}::text AS day, sum(c.events)::text AS events, k.events::text AS kept, k.users
     FROM analytics.event_counts_hourly AS c
     LEFT JOIN analytics.event_users_daily AS k
       ON k.project_id = c.project_id AND k.event = c.event AND k.day = (c.hour AT TIME ZONE 'UTC')::date
     WHERE c.project_id = $1 AND c.event = $2 AND hour >= $3 AND hour < $4 GROUP BY 1, k.events, k.users ORDER BY min(hour)`,
    [projectId, event, ...instants(hours.fromMs, hours.toMs)],
  );
  const kept = days.filter(({ day, events, kept: of }) => events === of && isWhole(Number(day) * 1_000, hours));
  if (kept.length === 0 || sum(days, ({ events }) => Number(events)) < BITMAPS_FROM_EVENTS) return null;
  const groups: Groups = new Map(
    days.map(({ day, events, users }) => [
      Number(day),
      { events: Number(events), users: kept.some((of) => of.day === day) ? users! : 0 },
    ]),
  );
  const rest = spansBetween(
    question,
    kept.map(({ day }) => Number(day) * 1_000),
  );
  const rows = await ask<Row>(
    `WITH merged AS (
       SELECT bit_or(places) AS places FROM analytics.event_users_daily WHERE ${OF_PROJECT} AND day = ANY ($3::date[])
     ), seen AS (
       SELECT ${epoch('"timestamp"', 86_400)} AS bucket, ${WHO} AS who,
         count(*) FILTER (WHERE "timestamp" < $4 OR "timestamp" >= $5) AS events
       FROM unnest($6::timestamptz[], $7::timestamptz[]) AS span (first, next)
       -- A span at a time, by the index.
       CROSS JOIN LATERAL (
         SELECT "timestamp", user_id, anonymous_id FROM analytics.events_raw
         WHERE ${OF_PROJECT} AND "timestamp" >= first AND "timestamp" < next AND ${LIVE} OFFSET 0
       ) AS events
       GROUP BY 1, 2
     ), more AS (
       SELECT count(DISTINCT ${PLACE_OF('who')}) AS places FROM seen
       WHERE who IS NOT NULL AND get_bit((SELECT places FROM merged), ${PLACE_OF('who')}) = 0
     )
     SELECT NULL AS bucket, '0' AS events, (bit_count(merged.places) + more.places)::text AS users FROM merged, more
     UNION ALL
     SELECT bucket::text, sum(events)::text, count(who)::text FROM seen GROUP BY bucket`,
    [
      projectId,
      event,
      kept.map(({ day }) => new Date(Number(day) * 1_000).toISOString().slice(0, 10)),
      ...instants(hours.fromMs, hours.toMs),
      instants(...rest.map(({ fromMs }) => fromMs)),
      instants(...rest.map(({ toMs }) => toMs)),
    ],
  );
  for (const { bucket, events, users } of rows.filter((row) => row.bucket !== null)) {
    const known = groups.get(Number(bucket)) ?? { events: 0, users: 0 };
    groups.set(Number(bucket), { events: known.events + Number(events), users: known.users + Number(users) });
  }
  const users = usersOn(Number(rows.find(({ bucket }) => bucket === null)!.users));
  if (users > BITMAPS_TO_USERS) return null;
  return answerOf(question, { events: sum([...groups.values()], ({ events }) => events), users }, groups);
}

/** The users that are to be expected when so many places are taken: some share one. */
const usersOn = (places: number) => Math.round(-PLACES * Math.log(1 - Math.min(places, PLACES - 1) / PLACES));

function answerOf({ groupBy }: CountQuestion, total: Count, groups: Groups): EventCounts {
  const listed = groupBy === null ? [] : [...groups].map(([group, count]) => ({ group, ...count }));
  if (groupBy === 'day') listed.sort((a, b) => Number(a.group) - Number(b.group));
  return { total, groups: listed.slice(0, MAX_GROUPS), isTruncated: listed.length > MAX_GROUPS };
}

const instants = (...epochsMs: readonly number[]): string[] => epochsMs.map((ms) => new Date(ms).toISOString());

const sum = <T>(items: readonly T[], of: (item: T) => number): number => items.reduce((all, item) => all + of(item), 0);

const isWhole = (day: number, { fromMs, toMs }: Span) => day >= fromMs && day + DAY_MS <= toMs;

/** The hours that lie in the window whole, or null when there are none. */
function wholeHours({ fromMs, toMs }: Span): Span | null {
  const first = Math.ceil(fromMs / HOUR_MS) * HOUR_MS;
  const end = Math.floor(toMs / HOUR_MS) * HOUR_MS;
  return first < end ? { fromMs: first, toMs: end } : null;
}

/** What these days, in order, leave of the window. */
function spansBetween({ fromMs, toMs }: Span, days: readonly number[]): Span[] {
  const starts = [fromMs, ...days.map((day) => day + DAY_MS)];
  const ends = [...days, toMs];
  return starts
    .map((start, index) => ({ fromMs: start, toMs: ends[index]! }))
    .filter((span) => span.fromMs < span.toMs);
}
