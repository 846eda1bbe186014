/** What a project may query. */

/** `name` as it stands in a query; one without schema is found in `analytics`. */
export type ReadableTable = { readonly name: string; readonly comment: string };

export const READABLE_TABLES: readonly ReadableTable[] = [
  {
    name: 'events',
    comment:
      'Each event once, the copy that arrived first. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id.',
  },
  {
    name: 'persons',
    comment: 'Each distinct_id: when it was first and last seen, how many events and sessions, which anonymous ids.',
  },
  {
    name: 'sessions',
    comment: 'Each session_id: whose it was at its end, from when to when, how many events.',
  },
  {
    name: 'identities',
    comment: 'The user of each linked anonymous id: that of the first $identify event that arrived with both.',
  },
  {
    name: 'event_counts_hourly',
    comment: 'Counts by event, hour and channel, fast however many events there are.',
  },
  {
    name: 'monitor.events',
    comment: 'The events that services reported. Look-ups by trace_id, request_id and job_id use an index.',
  },
];

const NAMES: ReadonlySet<string> = new Set(
  READABLE_TABLES.flatMap(({ name }) => (name.includes('.') ? [name] : [name, `analytics.${name}`])),
);

export const isReadable = (schema: string | undefined, name: string): boolean =>
  !name.includes('.') && NAMES.has(schema === undefined ? name : `${schema}.${name}`);

/** Every column of any of them. */
export const COLUMNS: ReadonlySet<string> = new Set(
  `project_id event_id event timestamp distinct_id user_id anonymous_id session_id properties extras source received_at
  channel service env level trace_id request_id job_id campaign_id tags first_seen last_seen events sessions is_identified
  anonymous_ids started_at ended_at duration_seconds hour name data`
    .trim()
    .split(/\s+/),
);
