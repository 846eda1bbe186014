/** The doors for Segment's clients, and for those that use its protocol: RudderStack and Jitsu. */
import type { LenientChoice, LenientFormat, ReadPath } from '../../../event/lenient-format.ts';
import { wordsOf } from '../../../event/lenient-text.ts';
import { answerSchema } from '../../description/answer-schema.ts';
import type { Door, DoorAnswer } from './door.ts';
import { isNone, PIXEL, REJECTED, rejectedIn, SDK_REFUSALS, sdkRefusals, whyNone } from './sdk-answers.ts';
import { openSdk, type SdkOpening } from './sdk-opening.ts';
import { apiKeyHeader, basicUser, bearer, inQuery, writeKeyHeader } from './sdk-tokens.ts';

/** The kinds of events, and the short forms of their paths. */
const TYPES = { track: 't', page: 'p', identify: 'i', group: 'g', alias: 'a', screen: 's' } as const;
type Type = keyof typeof TYPES;
const TYPE_NAMES = Object.keys(TYPES) as Type[];

const common = {
  lenient: true,
  timestamp: [{ at: 'timestamp' }, { at: 'originalTimestamp' }],
  sentAt: ['sentAt'],
  userId: { paths: ['userId'] },
  anonymousId: { paths: ['anonymousId'] },
  sessionId: { paths: ['context.sessionId'] },
  eventId: { paths: ['messageId'] },
  properties: ['properties'],
  tokens: ['writeKey'],
} satisfies Partial<LenientFormat>;
const withTraits = { ...common, properties: ['traits', 'context.traits'] };

const format: LenientChoice = {
  lenient: true,
  choose,
  reads: ['type', 'event'],
  formats: {
    track: { ...common, event: { paths: ['event'] } },
    page: { ...common, event: { constant: '$page' } },
    screen: { ...common, event: { constant: '$screen' } },
    identify: { ...withTraits, event: { constant: '$identify' } },
    group: { ...withTraits, event: { constant: '$group' } },
    alias: { ...common, event: { constant: '$alias' }, anonymousId: { paths: ['previousId'] } },
  },
};

function choose(read: ReadPath, hint: string | null) {
  const type = wordsOf(read('type')) ?? hint ?? (read('event') === null ? null : 'track');
  if (type === null) return { reason: 'type required' };
  return Object.hasOwn(TYPES, type) ? type : { reason: `type must be one of ${TYPE_NAMES.join(', ')}` };
}

/** The format of Jitsu, which masks the key that it writes into its events. */
const maskedFormat: LenientChoice = {
  ...format,
  formats: Object.fromEntries(
    Object.entries(format.formats).map(([type, { tokens = [], ...one }]) => [type, { ...one, without: tokens }]),
  ),
};

const LATER = { busy: 429, off: 429, shuttingDown: 429 } as const;
const OPENING: SdkOpening = {
  lists: ['batch'],
  tokens: { inEnvelope: ['writeKey'], inEvent: ['writeKey'] },
  sentAt: 'sentAt',
};
const HEADERS = [basicUser, bearer, writeKeyHeader, apiKeyHeader] as const;

const EXAMPLE = {
  type: 'track',
  event: 'Plan Chosen',
  messageId: '0198c0de-0000-7000-8000-000000000000',
  timestamp: '2026-05-04T12:30:00.000Z',
  userId: 'u1',
  anonymousId: 'a1',
  properties: { plan: 'pro' },
  context: { sessionId: 's1' },
};

const SUCCESS = { type: 'boolean' } as const;

const segment = {
  source: 'segment',
  tokens: [...HEADERS, 'body', inQuery('writeKey')],
  format,
  body: {
    kind: 'whole',
    sniffsGzip: true,
    *open(body, limits, head) {
      const opened = yield* openSdk(body, head, OPENING, limits);
      return 'code' in opened ? opened : { ...opened, hint: typeIn(head.path) };
    },
    schema: (event) => ({
      anyOf: [event, { type: 'array', items: event }, { type: 'object', properties: { batch: { type: 'array' } } }],
    }),
  },
  answer: (decoded): DoorAnswer =>
    isNone(decoded)
      ? { status: 400, body: { success: false, error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 200, body: { success: true, ...rejectedIn(decoded) } },
  answers: {
    200: answerSchema({ success: SUCCESS }, REJECTED),
    400: answerSchema({ success: SUCCESS, error: { type: 'string' } }, REJECTED),
  },
  ownRefusals: sdkRefusals(LATER),
  refusals: SDK_REFUSALS,
} satisfies Partial<Door>;

const batchDoor: Door = {
  ...segment,
  paths: ['/v1/batch', '/v1/b', '/v1/import', '/beacon/v1/batch'],
  summary: 'Take batches of clients of Segment and RudderStack.',
  example: { batch: [EXAMPLE] },
};

const typedDoors = TYPE_NAMES.map((type): Door => ({
  ...segment,
  paths: [`/v1/${type}`, `/v1/${TYPES[type]}`],
  summary: `Take events of the kind ${type} of clients of Segment and RudderStack.`,
  example: { ...EXAMPLE, type },
}));

const jitsuDoors = TYPE_NAMES.map((type): Door => ({
  ...segment,
  paths: [`/api/s/${type}`, `/api/s/s2s/${type}`],
  summary: `Take events of the kind ${type} of clients of Jitsu.`,
  tokens: [...HEADERS, inQuery('writeKey')],
  format: maskedFormat,
  // Its client only checks that the body is JSON.
  answer: (decoded) =>
    isNone(decoded)
      ? { status: 400, body: { ok: false, error: whyNone(decoded), ...rejectedIn(decoded) } }
      : { status: 200, body: { ok: true, ...rejectedIn(decoded) } },
  answers: {
    200: answerSchema({ ok: SUCCESS }, REJECTED),
    400: answerSchema({ ok: SUCCESS, error: { type: 'string' } }, REJECTED),
  },
  example: { ...EXAMPLE, type },
}));

/** An image that sends an event: it is always returned, and its status is for a person. */
const pixelDoors = TYPE_NAMES.map((type): Door => ({
  ...segment,
  paths: [`/v1/pixel/${type}`],
  methods: ['GET'],
  summary: `Take an event of the kind ${type} from an image.`,
  answer: (decoded) => ({ status: isNone(decoded) ? 400 : 200, body: PIXEL }),
  contentType: 'image/gif',
  answers: { 200: { type: 'string' }, 400: { type: 'string' } },
  ownRefusals: { ...sdkRefusals(LATER), body: () => PIXEL, contentType: 'image/gif', schema: { type: 'string' } },
  example: { ...EXAMPLE, type },
}));

function typeIn(path: string): Type | null {
  const last = path.slice(path.lastIndexOf('/') + 1);
  return TYPE_NAMES.find((type) => last === type || last === TYPES[type]) ?? null;
}

export const segmentDoors: readonly Door[] = [batchDoor, ...typedDoors, ...jitsuDoors, ...pixelDoors];
