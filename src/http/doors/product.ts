import { readList, readOne } from '../../event/bodies.ts';
import { MAX_TEXT_LENGTH, type EventFormat } from '../../event/format.ts';
import { listOf, oneOf, text } from '../../event/kinds.ts';
import { COUNTS, type Door, TRUNCATED, answerSchema, listed, noneUsable, rejectionsSchema } from './door.ts';

const MAX_EVENTS = 1_000;
const MAX_TAGS = 1_000;

const productFormat: EventFormat = {
  event: { keys: ['event_name'] },
  timestamp: { keys: ['timestamp'] },
  userId: { keys: ['user_id'], required: true },
  properties: { keys: ['metadata'] },
  kept: {
    channel: { kind: oneOf('web', 'mobile', 'api', 'email', 'push', '') },
    campaign_id: { kind: text(MAX_TEXT_LENGTH) },
    tags: { kind: listOf(text(MAX_TEXT_LENGTH), { maxItems: MAX_TAGS }) },
  },
};

const EXAMPLE = {
  event_name: 'order_placed',
  user_id: 'u1',
  timestamp: 1777897800,
  channel: 'web',
  campaign_id: 'spring',
  tags: ['new', 'trial'],
  metadata: { amount: 49.9, currency: 'EUR' },
};

const ACCEPTED = { status: { type: 'string', const: 'accepted' } } as const;

/** One product event: `{"event_name", "user_id", "timestamp", …, "metadata"}`. */
export const productDoor: Door = {
  path: '/events',
  source: 'product',
  summary: 'Send one product event.',
  withoutHeader: 'anonymous',
  format: productFormat,
  body: {
    kind: 'whole',
    open: readOne,
    schema: (event) => event,
  },
  answer({ accepted, rejections }) {
    if (accepted > 0) return { status: 202, body: { status: 'accepted' } };
    // One event, one reason: it is the whole answer.
    return { refused: 'invalid_events', message: rejections[0]!.reason };
  },
  answers: { 202: answerSchema(ACCEPTED) },
  refusals: ['invalid_json', 'invalid_events'],
  example: EXAMPLE,
};

/** Up to 1000 product events, as an array or as `{"events": [...]}`. */
export const productBulkDoor: Door = {
  path: '/events/bulk',
  source: 'product',
  summary: `Send up to ${MAX_EVENTS} product events.`,
  withoutHeader: 'anonymous',
  format: productFormat,
  body: {
    kind: 'whole',
    open: (body) => readList(body, { mayBeBare: true, maxEvents: MAX_EVENTS }),
    schema(event) {
      const list = { type: 'array', items: event, minItems: 1, maxItems: MAX_EVENTS };
      return { anyOf: [list, { type: 'object', properties: { events: list }, required: ['events'] }] };
    },
  },
  answer(decoded) {
    const { accepted, rejected } = decoded;
    if (accepted === 0) return noneUsable(decoded, 'index');
    return { status: 202, body: { status: 'accepted', accepted, rejected, ...listed(decoded, 'index') } };
  },
  answers: {
    202: answerSchema({ ...ACCEPTED, ...COUNTS }, { errors: rejectionsSchema('index'), ...TRUNCATED }),
  },
  refusals: ['invalid_json', 'invalid_envelope', 'too_many_events', 'invalid_events'],
  example: { events: [EXAMPLE, { ...EXAMPLE, user_id: 'u2' }] },
};
