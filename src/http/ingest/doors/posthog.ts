/** The doors for PostHog's clients: the generations of posthog-js, posthog-node, and the newer protocol of both. */
import type { LenientFormat, People, ReadPath } from '../../../event/lenient-format.ts';
import { readLenientInstant } from '../../../event/lenient-instant.ts';
import { wordsOf } from '../../../event/lenient-text.ts';
import type { Decoded } from '../../../event/decode.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door, DoorAnswer, RequestHead } from './door.ts';
import { isNone, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk, type OpenedSdk, type SdkOpening } from './sdk-opening.ts';
import { apiKeyHeader, bearer, inQuery } from './sdk-tokens.ts';

const PEOPLE_PATHS = [
  'distinct_id',
  ...['distinct_id', '$device_id', '$user_id', '$is_identified', '$anon_distinct_id', 'alias', '$group_type'].map(
    (name) => `properties.${name}`,
  ),
  'properties.$group_key',
] as const;

/** The person an event belongs to, as its client names it. */
const distinctId = (read: ReadPath) =>
  read('distinct_id') ?? read('properties.distinct_id') ?? read('properties.$device_id');

function people(read: ReadPath): People {
  const id = distinctId(read);
  const words = wordsOf(id);
  const event = wordsOf(read('event'));
  if (event === '$create_alias') {
    const named = read('properties.distinct_id');
    return { userId: named === null || named.raw === id?.raw ? id : named, anonymousId: read('properties.alias') };
  }
  // A server that describes a group has no person to name.
  if (event === '$groupidentify' && words === groupNamed(read)) return { userId: null, anonymousId: null };
  const device = read('properties.$device_id');
  const isSaid = wordsOf(read('properties.$is_identified'));
  const isIdentified =
    isSaid === 'true' ||
    (isSaid !== 'false' && (read('properties.$user_id') !== null || device === null || wordsOf(device) !== words));
  return isIdentified
    ? { userId: id, anonymousId: read('properties.$anon_distinct_id') ?? device }
    : { userId: null, anonymousId: id };
}

const groupNamed = (read: ReadPath): string =>
  `$${wordsOf(read('properties.$group_type'))}_${wordsOf(read('properties.$group_key'))}`;

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['event'] },
  timestamp: [{ at: 'timestamp' }, { ago: 'offset' }, { at: 'properties.$time' }],
  sentAt: ['sent_at'],
  people,
  reads: PEOPLE_PATHS,
  sessionId: { paths: ['properties.$session_id', 'session_id'] },
  eventId: { paths: ['uuid', 'properties.$insert_id'] },
  properties: ['properties'],
  tokens: ['api_key', 'properties.token', 'token'],
  refuse: { paths: PEOPLE_PATHS, reason: (read) => (distinctId(read) === null ? 'distinct_id required' : null) },
};

export const POSTHOG_TOKENS = [bearer, apiKeyHeader, 'body', inQuery('api_key', 'token')] as const;

export const POSTHOG_OPENING = {
  lists: ['batch'],
  tokens: { inEnvelope: ['api_key', 'token'], inEvent: ['api_key', 'properties.token', 'token'] },
  sentAt: 'sent_at',
} satisfies SdkOpening;

/** The opened body with its sending time: from the query for older clients, and none for imports. */
export function sentByPosthog(opened: OpenedSdk, { query }: RequestHead): OpenedSdk {
  if (opened.envelope.get('historical_migration') === 'true') return { ...opened, sentAt: null };
  return { ...opened, sentAt: opened.sentAt ?? readLenientInstant(query().get('_') ?? 'null') };
}

const EXAMPLE = {
  event: 'plan chosen',
  uuid: '0198c0de-0000-7000-8000-000000000000',
  distinct_id: 'u1',
  timestamp: '2026-05-04T12:30:00.000Z',
  properties: { plan: 'pro', $session_id: 's1', $device_id: 'a1' },
};

const posthog = {
  source: 'posthog',
  tokens: POSTHOG_TOKENS,
  format,
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
} satisfies Partial<Door>;

const OK = { status: { type: 'string' } } as const;

export const posthogDoor: Door = {
  ...posthog,
  paths: ['/e', '/i/v0/e', '/capture', '/i/v0/ai/batch'],
  summary: 'Take what clients of PostHog send.',
  body: {
    kind: 'whole',
    sniffsGzip: true,
    *open(body, limits, head) {
      const opened = yield* openSdk(body, head, POSTHOG_OPENING, limits);
      return 'code' in opened ? opened : sentByPosthog(opened, head);
    },
    schema: (event) => ({
      anyOf: [event, { type: 'array', items: event }, { type: 'object', properties: { batch: { type: 'array' } } }],
    }),
  },
  answer: (decoded): DoorAnswer =>
    isNone(decoded)
      ? { status: 400, body: { status: 'Error', error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 200, body: { status: 'Ok', ...rejectedIn(decoded) } },
  answers: {
    200: answerSchema(OK, REJECTED),
    400: answerSchema({ ...OK, error: { type: 'string' } }, REJECTED),
  },
  example: { api_key: 'phc_token', batch: [EXAMPLE] },
};

/** The newer protocol, whose answer gives the outcome of each event that was not accepted. */
const posthogV1Door: Door = {
  ...posthog,
  paths: ['/i/v1/analytics/events'],
  summary: 'Take what clients of PostHog send that speak its protocol v1.',
  body: {
    ...posthogDoor.body,
    kind: 'whole',
    *open(body, limits, head) {
      const opened = yield* openSdk(body, head, POSTHOG_OPENING, limits);
      if ('code' in opened) return opened;
      // `created_at` stays the same over retries; this header does not.
      const sentAt = readLenientInstant(JSON.stringify(head.headers['posthog-request-timestamp'] ?? null));
      return { ...opened, sentAt };
    },
    schema: () => ({ type: 'object', properties: { batch: { type: 'array' } } }),
  },
  listsAllRejections: true,
  answer: (decoded) => ({ status: 200, body: { results: verdictsOf(decoded) } }),
  answers: { 200: answerSchema({ results: { type: 'object' } }) },
  example: { created_at: '2026-05-04T12:30:01.000Z', batch: [EXAMPLE] },
};

function verdictsOf({ rejections }: Decoded): object {
  return Object.fromEntries(
    rejections.flatMap(({ id, reason }) => (id === undefined ? [] : [[id, { result: 'drop', details: reason }]])),
  );
}

export const posthogDoors: readonly Door[] = [posthogDoor, posthogV1Door];
