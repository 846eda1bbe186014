import { readList, readOne } from '../../../event/event-lists.ts';
import type { EventFormat } from '../../../event/format.ts';
import { label, labels, oneOf } from '../../../event/kinds.ts';
import { asItIs, type Door, EVENT_IDS, listed, noneUsable } from './door.ts';
import { COUNTS, TRUNCATED, answerSchema, rejectionsSchema } from '../../description/answer-schema.ts';

const MAX_EVENTS = 1_000;

const productFormat: EventFormat = {
  event: { keys: ['event_name'] },
  timestamp: { keys: ['timestamp'] },
  userId: { keys: ['user_id'], required: true },
  otherId: { keys: EVENT_IDS },
  properties: { keys: ['metadata'] },
  kept: {
    channel: { kind: oneOf('web', 'mobile', 'api', 'email', 'push', '') },
    campaign_id: { kind: label },
    tags: { kind: labels },
  },
  elsewhere: { key: 'specversion', hint: 'CloudEvents go to /cloudevents' },
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

/** The common part of both doors of the family. */
const product = { source: 'product', withoutHeader: 'anonymous', format: productFormat } as const;

const ACCEPTED = { status: { type: 'string', const: 'accepted' } } as const;

const ANSWER_TO_ONE = { status: 202, body: JSON.stringify({ status: 'accepted' }) } as const;

/** One product event: `{"event_name", "user_id", "timestamp", …, "metadata"}`. */
export const productDoor: Door = {
  paths: ['/events'],
  ...product,
  bodyAround: asItIs,
  summary: 'Send one product event.',
  body: {
    kind: 'whole',
    open: readOne,
    schema: (event) => event,
  },
  answer({ accepted, rejections }) {
    if (accepted > 0) return ANSWER_TO_ONE;
    // One event, one reason: it is the whole answer.
    return { refused: 'invalid_events', message: rejections[0]!.reason };
  },
  answers: { 202: answerSchema(ACCEPTED) },
  refusals: ['invalid_json', 'invalid_events'],
  example: EXAMPLE,
};

/** Up to 1000 product events, as an array or as `{"events": [...]}`. */
export const productBulkDoor: Door = {
  paths: ['/events/bulk'],
  ...product,
  summary: `Send up to ${MAX_EVENTS} product events.`,
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

/** Product events, one or many. */
export const productDoors: readonly Door[] = [productDoor, productBulkDoor];
