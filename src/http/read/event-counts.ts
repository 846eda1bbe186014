/** `GET /metrics`: how many events of a name, and of how many users, in a window of time. */
import type { Handler } from 'hono';
import type { Clock } from '../../runtime/clock.ts';
import { TOO_MANY_FIELDS } from '../../event/form.ts';
import type { ProjectId } from '../../event/event.ts';
import { MAX_TEXT_LENGTH } from '../../event/text.ts';
import { LATEST_INSTANT_MS, readInstant } from '../../event/timestamp.ts';
import type { Log } from '../../log/log.ts';
import { type Flags } from '../../pipeline/flags.ts';
import {
  type CountEvents,
  type CountQuestion,
  type EventCounts,
  ReadFailure,
  type ReadFailureKind,
} from '../../pipeline/read-ports.ts';
import { authorizeReader } from '../access/auth.ts';
import type { Credentials } from '../access/credentials.ts';
import { type CountRefusal, GROUPINGS } from './event-counts-operation.ts';
import { type Refusal as AnyRefusal, isRefusal } from '../answers/refusals.ts';
import { refuse } from '../answers/refusal-reply.ts';
import { nodeOf } from '../description/route.ts';
import { hasTooManyParameters, queryOf } from '../request/request-target.ts';
import { watchForDeparture } from './departed-client.ts';

type Refusal = AnyRefusal<CountRefusal>;

export type EventCountsDeps = {
  readonly credentials: Credentials;
  readonly countEvents: CountEvents;
  readonly flags: Flags;
  readonly clock: Clock;
  readonly log: Log;
};

/** The query string, with defaults filled in. */
export type RequestedCounts = Omit<CountQuestion, 'projectId'>;

/** The known parameters. Others are ignored: proxies and browsers add theirs. */
const PARAMETERS = ['event_name', 'from', 'to', 'group_by', 'exact'] as const;

/** The longest name of an event: no longer one was ever stored. */
const NAME = new RegExp(`^.{1,${MAX_TEXT_LENGTH}}$`, 'su');
const DAY_MS = 86_400_000;

/** Answers with counts. Independent of the state of intake, until the process ends. */
export function eventCounts({ credentials, countEvents, flags, clock, log }: EventCountsDeps): Handler {
  return async (c) => {
    if (flags.facts().intake === 'draining') return refuse(c, { refused: 'shutting_down' });
    const credential = await authorizeReader(nodeOf(c).incoming, credentials, { allowsAnonymous: true });
    if (isRefusal(credential)) return refuse(c, credential);
    const asked = readCountQuery(c.req.url, clock.now());
    if (isRefusal(asked)) return refuse(c, asked);
    watchForDeparture(nodeOf(c), clock);
    const counted = await count(credential.projectId, asked, c.req.raw.signal);
    return isRefusal(counted) ? refuse(c, counted) : c.json(countsAnswer(asked, counted));
  };

  async function count(
    projectId: ProjectId,
    asked: RequestedCounts,
    signal: AbortSignal,
  ): Promise<EventCounts | Refusal> {
    try {
      return await countEvents({ ...asked, projectId }, signal);
    } catch (error) {
      if (!(error instanceof ReadFailure)) throw error;
      if (!signal.aborted) log.warn({ err: error, kind: error.kind }, 'events could not be counted');
      return FAILURES[error.kind];
    }
  }
}

const FAILURES: Record<ReadFailureKind, Refusal> = {
  unavailable: { refused: 'store_unavailable' },
  busy: { refused: 'store_unavailable', retryAfterS: 1, message: 'too many queries at once; try again in a moment' },
  'too-much': {
    refused: 'store_unavailable',
    message: 'counting takes too long or too much memory; ask for a shorter window, or without exact=true',
  },
};

/** Reads the query of the target of a request that arrived at `nowMs`. Refusals name the parameter. */
export function readCountQuery(target: string, nowMs: number): RequestedCounts | Refusal {
  if (hasTooManyParameters(target)) return invalid(TOO_MANY_FIELDS);
  const query = queryOf(target);
  const repeated = PARAMETERS.find((name) => query.getAll(name).length > 1);
  if (repeated !== undefined) return invalid(`${repeated} is given more than once`);

  const event = query.get('event_name') ?? '';
  if (event === '') return invalid('event_name is required');
  if (!NAME.test(event)) return invalid(`event_name has more than ${MAX_TEXT_LENGTH} characters`);

  // A whole second, so that the echo is one; the next one, so that events of this moment are counted.
  const now = Math.ceil(nowMs / 1_000) * 1_000;
  const fromMs = instantOf(query.get('from'), now - DAY_MS);
  const toMs = instantOf(query.get('to'), now);
  if (fromMs === null) return invalid(`from ${NO_INSTANT}`);
  if (toMs === null) return invalid(`to ${NO_INSTANT}`);
  if (fromMs >= toMs) {
    return invalid(`from must be before to${query.has('from') ? '' : '; without from it is 24 hours ago'}`);
  }

  const given = query.get('group_by');
  const groupBy = GROUPINGS.find((grouping) => grouping === given) ?? null;
  if (given !== null && groupBy === null) return invalid(`group_by must be one of ${GROUPINGS.join(', ')}`);

  const exact = query.get('exact') ?? 'false';
  if (exact !== 'true' && exact !== 'false') return invalid('exact must be true or false');
  return { event, fromMs, toMs, groupBy, isExact: exact === 'true' };
}

const NO_INSTANT =
  'must be epoch seconds or milliseconds from 1970 on, or an RFC 3339 instant with an offset such as 2026-02-06T23:00:00Z';

const invalid = (message: string): Refusal => ({ refused: 'invalid_query', message });

/** Epoch ms of a parameter by the one rule for instants, which is written for JSON; null when it is none. */
function instantOf(given: string | null, byDefault: number): number | null {
  if (given === null) return byDefault;
  // In a query string a plus sign stands for a space, which everybody forgets in the offset of an instant.
  const text = given.replace(/ (?=\d\d(?::?\d\d)?$)/, '+');
  const instant = readInstant(/^[\d-][\d.eE+-]*$/.test(text) ? text : JSON.stringify(text), LATEST_INSTANT_MS);
  return typeof instant === 'number' ? instant : null;
}

/** The answer, as the contract has it. */
export function countsAnswer(
  { event, fromMs, toMs, groupBy }: RequestedCounts,
  { total, groups, isTruncated }: EventCounts,
) {
  return {
    event_name: event,
    from: fromMs / 1_000,
    to: toMs / 1_000,
    ...(groupBy && { grouped_by: groupBy }),
    total_events: total.events,
    unique_users: total.users,
    ...(groupBy && {
      data: groups.map(({ group, events, users }) => ({
        group: typeof group === 'number' ? instantText(group) : group,
        total_events: events,
        unique_users: users,
      })),
    }),
    ...(isTruncated && { data_truncated: true }),
  };
}

/** RFC 3339 of a whole second. */
const instantText = (seconds: number) => new Date(seconds * 1_000).toISOString().replace('.000Z', 'Z');
