/**
 * What a project may query, and the filter that ClickHouse puts onto every
 * table that lies beneath. The filter goes by what the database has now, not by
 * a list: a table that an operator adds is filtered too, or is empty to a project.
 */

import { literal } from '../connection/quoting.ts';
import type { Days } from './asked-days.ts';
import { onDays } from './day-index.ts';
import type { Person } from './one-person.ts';

/** Where what services report can be asked by itself. */
export const SERVICE_DATABASE = 'monitor';

/** `name` as it stands in a query; a name without database lies in Weir's own. */
export type ReadableTable = { readonly name: string; readonly comment: string };

export const READABLE_TABLES: readonly ReadableTable[] = [
  {
    name: 'events',
    comment:
      'Each event once: of the same name, id and hour, the copy that arrived last. distinct_id is the user, else the user its anonymous_id was linked to, else the anonymous_id, or null where these mean nobody (undefined, null, …).',
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
    comment:
      'The user of each linked anonymous id: that of the first event that arrived with both and links them ($identify, $alias, $create_alias; of Amplitude and Mixpanel any).',
  },
  {
    name: 'event_counts_hourly',
    comment:
      'Counts by event, hour and channel, fast however many events there are: sum(events), uniqCombined64Merge(users). An event that was sent twice counts twice: event_copies has what is too much.',
  },
  {
    name: 'event_copies',
    comment:
      'With FINAL: how many of sum(events) in event_counts_hourly are copies of events that were sent again, known once an hour has been quiet for a minute.',
  },
  {
    name: 'events_raw_v1',
    comment: 'Every event as it was stored. An event that was sent again may appear twice; with FINAL it appears once.',
  },
  {
    name: 'monitor.events',
    comment: 'The events that services reported. Look-ups by trace_id, request_id and job_id use an index.',
  },
];

/** Something in Weir's databases that has rows. */
export type Relation = {
  readonly database: string;
  readonly name: string;
  readonly engine: string;
  readonly hasProjectId: boolean;
  /** Its rows say when they expire. */
  readonly hasExpiry: boolean;
  /** It is one of `READABLE_TABLES`. */
  readonly isReadable: boolean;
};

/** By this name a filter finds what it is for. */
export const fullNameOf = ({ database, name }: Relation): string => `${database}.${name}`;

/** What the view `events` reads, and what the view `identities` does, and with it `distinct_id`. */
export const EVENTS = 'events_raw_v1';
const LINKS = 'identity_links';

const PROJECT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * What a query does not need of the project's rows. `needsIdentities`: false leaves out every link of an anonymous id.
 * `person`: leaves all events and links that cannot be this one's out. `days`: all events of other days.
 */
export type Narrowing = {
  readonly needsIdentities?: boolean;
  readonly person?: Person | null;
  readonly days?: Days | null;
};

/**
 * The value of `additional_table_filters` that leaves only the project's rows,
 * without those that have expired and wait for a merge to remove them.
 * Weir's own views have none: what they read is filtered. What another's
 * view reads may lie elsewhere, so it shows nothing; nor does a table that does
 * not say whose its rows are.
 */
export function filtersFor(
  projectId: string,
  relations: readonly Relation[],
  { needsIdentities = true, person = null, days = null }: Narrowing = {},
): Record<string, string> {
  // It becomes part of an expression, so nothing but a UUID may ever come here.
  if (!PROJECT_ID.test(projectId)) throw new Error('a project id is a UUID in lower case');
  const isOwned = `project_id = toUUID('${projectId}')`;
  const filtered = relations.filter(({ engine, isReadable }) => !(engine === 'View' && isReadable));
  return Object.fromEntries(filtered.map((relation) => [fullNameOf(relation), filterOf(relation)]));

  function filterOf({ name, engine, hasProjectId, hasExpiry }: Relation): string {
    if (!hasProjectId || engine.endsWith('View') || (name === LINKS && !needsIdentities)) return '0';
    const conditions = [isOwned, ...(hasExpiry ? ['expires_at > now()'] : [])];
    if (person !== null && name === EVENTS) conditions.push(`(user_id = ${literal(person.id)} OR ${isAnyId(person)})`);
    if (days !== null && name === EVENTS) conditions.push(...onDays(days));
    if (person !== null && name === LINKS) conditions.push(isAnyId(person));
    return conditions.join(' AND ');
  }
}

/** That the anonymous id is one of the person's: linked to it, or itself the `distinct_id` while nothing is. */
const isAnyId = ({ id, anonymousIds }: Person): string =>
  `anonymous_id IN (${[id, ...anonymousIds].map(literal).join(', ')})`;
