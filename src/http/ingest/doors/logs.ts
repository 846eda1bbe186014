/** What loggers and log shippers send by HTTP: winston, pino, Vector, Fluent Bit. */
import type { LenientFormat } from '../../../event/lenient-format.ts';
import { rawStringOf } from '../../../event/raw-json.ts';
import { answerSchema, COUNTS } from '../../description/answer-schema.ts';
import type { Door, DoorAnswer } from './door.ts';
import { isNone, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk, type SdkOpening } from './sdk-opening.ts';
import { apiKeyHeader, basicUser, bearer, inQuery } from './sdk-tokens.ts';

const TIMES = ['timestamp', '@timestamp', 'time', '_time', 'date', 'ts', 'dt'] as const;

/** Pino's levels by their numbers. */
const LEVELS: Readonly<Record<string, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

const format: LenientFormat = {
  lenient: true,
  event: { paths: ['event', 'event_name'], constant: 'log' },
  timestamp: TIMES.map((at) => ({ at })),
  userId: { paths: ['user_id', 'userId'] },
  anonymousId: { paths: ['anonymous_id', 'anonymousId'] },
  sessionId: { paths: ['session_id', 'sessionId'] },
  // Shippers send again the very same bytes; two records without a time may be two of the same kind.
  eventId: { paths: ['event_id', 'eventId', 'uuid'], otherwise: 'record' },
  properties: ['properties', 'data'],
  restButFor: ['service', 'env', 'level', 'trace_id', 'request_id', 'job_id', 'channel', 'campaign_id', 'tags'],
  spelt: { level: (raw) => (Object.hasOwn(LEVELS, raw) ? rawStringOf(LEVELS[raw]!) : raw) },
};

/** A record may have a field of that name as well. */
const OPENING: SdkOpening = { lists: ['logs'], mayFollow: true };

const STATUS = { type: 'string' } as const;

export const logsDoor: Door = {
  source: 'logs',
  paths: ['/logs'],
  summary: 'Take records of loggers and log shippers.',
  tokens: [bearer, basicUser, apiKeyHeader, inQuery('token', 'api_key')],
  format,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    open: (body, limits, head) => openSdk(body, head, OPENING, limits),
    schema: (event) => ({
      anyOf: [event, { type: 'array', items: event }, { type: 'object', properties: { logs: { type: 'array' } } }],
    }),
  },
  // winston takes nothing but 200, and never tries again.
  answer(decoded): DoorAnswer {
    const { accepted } = decoded;
    if (!isNone(decoded)) return { status: 200, body: { status: 'ok', accepted, ...rejectedIn(decoded) } };
    return { status: 400, body: { status: 'rejected', accepted, error: whyNone(decoded), ...rejectedIn(decoded) } };
  },
  answers: {
    200: answerSchema({ status: STATUS, accepted: COUNTS.accepted }, REJECTED),
    400: answerSchema({ status: STATUS, accepted: COUNTS.accepted, error: STATUS }, REJECTED),
  },
  ownRefusals: sdkRefusals(),
  refusals: SDK_REFUSALS,
  example: [{ level: 30, time: 1777897800000, msg: 'order placed', service: 'shop', user_id: 'u1', amount: 49.9 }],
};
