/** The door for Amplitude's clients. They trust only the number `code` in the answer. */
import type { Decoded } from '../../../event/decode.ts';
import type { LenientChoice, LenientFormat } from '../../../event/lenient-format.ts';
import { wordsOf } from '../../../event/lenient-text.ts';
import type { RefusalCode } from '../../answers/refusals.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door, OwnRefusals, RequestFacts } from './door.ts';
import { isNone, SDK_REFUSALS, sdkStatus, whyNone } from './sdk-answers.ts';
import { openSdk, type SdkOpening } from './sdk-opening.ts';
import { apiKeyHeader, bearer } from './sdk-tokens.ts';

const common = {
  lenient: true,
  event: { paths: ['event_type'] },
  timestamp: [{ at: 'time' }],
  userId: { paths: ['user_id'] },
  anonymousId: { paths: ['device_id'] },
  sessionId: { paths: ['session_id'], absent: ['-1'] },
  eventId: { paths: ['insert_id'] },
  tokens: ['api_key'],
} satisfies LenientFormat;

const format: LenientChoice = {
  lenient: true,
  choose: (read) => wordsOf(read('event_type')) ?? '',
  reads: ['event_type'],
  formats: {
    $identify: { ...common, properties: ['user_properties'] },
    $groupidentify: { ...common, properties: ['group_properties'] },
  },
  otherwise: { ...common, properties: ['event_properties'] },
};

export const AMPLITUDE_OPENING = {
  lists: ['events'],
  tokens: { inEnvelope: ['api_key'], inEvent: ['api_key'] },
  sentAt: 'client_upload_time',
} satisfies SdkOpening;

const status = sdkStatus({ busy: 429, off: 429, shuttingDown: 503 });

/** Events that are listed wait half a minute; others use up their tries in seconds. A batch has no more than these. */
const THROTTLED = {
  eps_threshold: 0,
  throttled_events: Array.from({ length: 200 }, (_, index) => index),
  throttled_users: {},
  throttled_devices: {},
  exceeded_daily_quota_users: {},
  exceeded_daily_quota_devices: {},
};

/** What this client reads besides the number. */
const BESIDE: Partial<Record<number, object>> = { 400: { missing_field: 'events' }, 429: THROTTLED };

function wordsFor(code: RefusalCode, message: string): string {
  if (status(code) === 429) return 'Too many requests';
  // These words tell the client that no retry will help.
  return code === 'unauthorized' ? `Invalid API key: ${message}` : message;
}

export const amplitudeRefusals: OwnRefusals = {
  status,
  body: ({ code, status: number, message }) => ({ code: number, error: wordsFor(code, message), ...BESIDE[number] }),
  schema: {
    type: 'object',
    properties: { code: { type: 'integer' }, error: { type: 'string' } },
    required: ['code', 'error'],
  },
};

const NUMBER = { type: 'integer' } as const;

export const amplitudeDoor: Door = {
  source: 'amplitude',
  summary: 'Take what clients of Amplitude send.',
  paths: ['/2/httpapi'],
  tokens: ['body', bearer, apiKeyHeader],
  format,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    open: (body, limits, head) => openSdk(body, head, AMPLITUDE_OPENING, limits),
    schema: (event) => ({ type: 'object', properties: { events: { type: 'array', items: event } } }),
  },
  answer: (decoded, facts) =>
    isNone(decoded) ? { status: 400, body: invalid(decoded) } : { status: 200, body: ingested(decoded, facts) },
  answers: {
    200: answerSchema({
      code: NUMBER,
      events_ingested: NUMBER,
      payload_size_bytes: NUMBER,
      server_upload_time: NUMBER,
    }),
    400: answerSchema({
      code: NUMBER,
      error: { type: 'string' },
      events_with_invalid_fields: { type: 'object' },
      events_with_missing_fields: { type: 'object' },
    }),
  },
  ownRefusals: amplitudeRefusals,
  refusals: SDK_REFUSALS,
  example: {
    api_key: 'token',
    events: [
      {
        event_type: 'Plan Chosen',
        insert_id: '0198c0de-0000-7000-8000-000000000000',
        time: 1777897800000,
        user_id: 'u1',
        device_id: 'a1',
        session_id: 1777897800000,
        event_properties: { plan: 'pro' },
      },
    ],
  },
};

/** Also for a batch of which a part was rejected: this client would send all of it again, or none. */
function ingested({ accepted }: Decoded, { bodyBytes, receivedAt }: RequestFacts): object {
  return { code: 200, events_ingested: accepted, payload_size_bytes: bodyBytes, server_upload_time: receivedAt };
}

/** Every event is listed: an unlisted one would be sent a dozen times. */
function invalid(decoded: Decoded): object {
  return {
    code: 400,
    error: whyNone(decoded),
    events_with_invalid_fields: { event: Array.from({ length: decoded.rejected }, (_, index) => index) },
    events_with_missing_fields: {},
  };
}
