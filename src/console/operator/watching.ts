/** What the paths that watch the service say of themselves: `console/watch/` answers them, its `answers.ts` in full. */
import * as v from 'valibot';
import type { FindAnswer, NowAnswer, Series as SeriesAnswer } from '../watch/answers.ts';
import { MAX_REQUEST_ID } from '../watch/find-route.ts';
import { MAX_TEXT } from '../watch/live-route.ts';
import type { DescribedRoute, SchemaOf } from './described.ts';
import { Count, Text, Uuid } from './fields.ts';

const Millis = v.pipe(v.number(), v.minValue(0));
const Known = v.nullable(v.number());
const Digits = v.pipe(v.string(), v.regex(/^\d{1,15}$/));
const Rates = v.strictObject({ accepted: Known, stored: Known, rejected: Known, deadLettered: Known });
const Latency = v.strictObject({ p50: Known, p99: Known });
const Pending = v.nullable(v.strictObject({ events: Count, bytes: Count, limitEvents: Count, limitBytes: Count }));
const Reason = v.strictObject({ code: Text, said: Text, words: Text, remedy: Text, anchor: Text });
const Column = v.array(Known);

const Now = v.looseObject({
  at: Millis,
  health: v.nullable(v.looseObject({ status: v.picklist(['ok', 'degraded', 'down']) })),
  reasons: v.array(Reason),
  rates: Rates,
  latency: Latency,
  pending: Pending,
  breaker: v.nullable(Text),
  stores: v.array(v.strictObject({ name: Text, connected: v.boolean() })),
});

const Series = v.strictObject({
  at: v.array(Millis),
  accepted: Column,
  stored: Column,
  rejected: Column,
  deadLettered: Column,
  pendingEvents: Column,
  pendingBytes: Column,
  p50: Column,
  p99: Column,
});

const Looked = v.picklist(['all', 'a part', 'not asked', 'unavailable']);

const Found = v.strictObject({
  events: v.array(
    v.looseObject({
      place: v.picklist(['stored', 'dead-letter', 'pending', 'replicated', 'rejected', 'gone']),
      projectId: Text,
      id: v.nullable(Text),
      acceptedAt: Known,
      storedAt: Known,
    }),
  ),
  requests: v.array(
    v.strictObject({
      requestId: Text,
      projectId: Uuid,
      receivedAt: Millis,
      accepted: Count,
      rejected: Count,
      isRefused: v.boolean(),
    }),
  ),
  requestsSince: Known,
  looked: v.strictObject({ pending: Looked, store: Looked, letters: Looked, rejected: Looked }),
});

const Wanted = v.pipe(v.string(), v.maxLength(MAX_TEXT));

/** Which events; all of it narrows further. */
const FILTER = {
  project: v.optional(Uuid),
  event: v.optional(Wanted),
  /** As it was sent: another one than a UUID is stored as the UUID that is made of it. */
  id: v.optional(Wanted),
  user: v.optional(Wanted),
};

export const WATCHING: readonly DescribedRoute[] = [
  {
    method: 'GET',
    path: '/now',
    tag: 'Now',
    summary: 'What the service does now: rates, latency, what is pending, and what is wrong with what to do about it.',
    answers: {
      200: { description: 'null where something is not known.', schema: Now satisfies SchemaOf<NowAnswer, typeof Now> },
    },
    refusals: [],
  },
  {
    method: 'GET',
    path: '/now/series',
    tag: 'Now',
    summary: 'The numbers of up to an hour, in columns; with `after`, those since then.',
    query: v.strictObject({ seconds: v.optional(Digits), after: v.optional(Digits) }),
    answers: {
      200: {
        description: 'Columns of equal length; null where there is a gap.',
        schema: Series satisfies SchemaOf<SeriesAnswer, typeof Series>,
      },
    },
    refusals: ['invalid_request'],
  },
  {
    method: 'GET',
    path: '/live',
    tag: 'Now',
    summary: 'A sample of events as they are accepted, and what becomes of them, as server-sent events.',
    description: '`batch`: events, and how many more there were; `steps`: what became of those shown; `rates`; `end`.',
    query: v.strictObject(FILTER),
    answers: { 200: { description: 'It goes on until the session ends.', mediaType: 'text/event-stream' } },
    refusals: ['invalid_request', 'busy'],
  },
  {
    method: 'GET',
    path: '/events/find',
    tag: 'Now',
    summary: 'Where an event is, by one of `id`, `requestId` and `user`.',
    description: '`looked` says which places were looked through to the end.',
    query: v.strictObject({
      project: FILTER.project,
      id: FILTER.id,
      user: FILTER.user,
      requestId: v.optional(v.pipe(v.string(), v.maxLength(MAX_REQUEST_ID))),
    }),
    answers: {
      200: {
        description: 'Every event once, where it is furthest.',
        schema: Found satisfies SchemaOf<FindAnswer, typeof Found>,
      },
    },
    refusals: ['invalid_request', 'busy'],
  },
];
