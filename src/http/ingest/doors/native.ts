import { findToken } from '../../../event/envelope-token.ts';
import { readEnvelope } from '../../../event/envelope.ts';
import type { EventFormat } from '../../../event/format.ts';
import { type Door, inEvents, listed } from './door.ts';
import { COUNTS, TRUNCATED, answerSchema, rejectionsSchema } from '../../description/answer-schema.ts';

export const nativeFormat: EventFormat = {
  event: { keys: ['event'] },
  timestamp: { keys: ['timestamp'] },
  anonymousId: { keys: ['anonymous_id', 'anonymousId'] },
  userId: { keys: ['user_id', 'userId'] },
  sessionId: { keys: ['session_id', 'sessionId'] },
  eventId: { keys: ['event_id', 'eventId', 'messageId', 'uuid'] },
  otherId: { keys: ['message_id', 'id'] },
  properties: { keys: ['properties'] },
  extras: { keys: ['extras'] },
};

const ANSWER = answerSchema(COUNTS, { errors: rejectionsSchema('index'), ...TRUNCATED });

/** Weir's own format: `{"token"?, "events": [...], "batch_id"?, "sent_at"?}`. */
export const nativeDoor: Door = {
  paths: ['/api/v1/ingest/events'],
  source: 'native',
  summary: 'Send events in Weir’s own format.',
  withoutHeader: 'token in body',
  format: nativeFormat,
  bodyAround: inEvents,
  body: {
    kind: 'whole',
    findToken,
    *open(body, { maxEvents = Infinity }) {
      const envelope = yield* readEnvelope(body, { maxEvents });
      return envelope.ok ? { ...envelope, idempotencyKey: envelope.batchId } : envelope;
    },
    schema: (event) => ({
      type: 'object',
      properties: {
        token: { type: ['string', 'null'], maxLength: 512, description: 'For beacons, which cannot set headers.' },
        events: { anyOf: [{ type: 'array', items: event }, { type: 'null' }] },
        batch_id: { type: ['string', 'null'], maxLength: 200, description: 'The same as an Idempotency-Key.' },
        sent_at: {
          description:
            'When the client sends the request, by its own clock: an instant, by which Weir corrects that clock. Any other value counts as absent.',
        },
      },
      additionalProperties: false,
    }),
  },
  answer: (decoded) => ({
    status: decoded.accepted > 0 ? 202 : 200,
    body: { accepted: decoded.accepted, rejected: decoded.rejected, ...listed(decoded, 'index') },
  }),
  answers: { 200: ANSWER, 202: ANSWER },
  refusals: ['invalid_json', 'invalid_envelope'],
  example: {
    events: [
      {
        event: 'signed_up',
        timestamp: '2026-05-04T12:30:00.000Z',
        user_id: 'u1',
        anonymous_id: 'a1',
        session_id: 's1',
        event_id: '0198c0de-0000-7000-8000-000000000000',
        properties: { plan: 'pro' },
        extras: { channel: 'web' },
      },
    ],
  },
};
