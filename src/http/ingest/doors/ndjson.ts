import { digitsOrText, label } from '../../../event/kinds.ts';
import { MAX_TEXT_LENGTH } from '../../../event/text.ts';
import { type Door, EVENT_IDS, listed, noneUsable } from './door.ts';
import { COUNTS, TRUNCATED, answerSchema, rejectionsSchema } from '../../description/answer-schema.ts';

const optional = { kind: label };

/** Reports of services, one JSON object per line: `{"timestamp", "service", "name", …, "data"}`. */
export const ndjsonDoor: Door = {
  paths: ['/v1/events'],
  source: 'ndjson',
  summary: 'Send service events as NDJSON, one event a line, decoded as the body streams in.',
  withoutHeader: 'nobody',
  body: { kind: 'lines' },
  format: {
    event: { keys: ['name'] },
    timestamp: { keys: ['timestamp'] },
    userId: { keys: ['user_id'] },
    otherId: { keys: EVENT_IDS },
    properties: { keys: ['data'] },
    kept: {
      service: { kind: digitsOrText(MAX_TEXT_LENGTH, { minLength: 1 }), required: true },
      env: optional,
      job_id: optional,
      request_id: optional,
      trace_id: optional,
      level: optional,
    },
  },
  answer(decoded) {
    const { accepted, rejected } = decoded;
    if (accepted === 0 && rejected > 0) return noneUsable(decoded, 'line');
    return { status: 200, body: { accepted, ...(rejected > 0 ? { rejected } : {}), ...listed(decoded, 'line') } };
  },
  answers: {
    200: answerSchema(
      { accepted: COUNTS.accepted },
      { rejected: COUNTS.rejected, errors: rejectionsSchema('line'), ...TRUNCATED },
    ),
  },
  refusals: ['invalid_events'],
  example: [
    {
      timestamp: '2026-05-04T12:30:00.000Z',
      service: 'checkout',
      name: 'order_failed',
      env: 'production',
      trace_id: 'trc_z',
      level: 'error',
      user_id: 'u1',
      data: { order_id: 17, reason: 'card declined' },
    },
    { timestamp: 1777897801, service: 'mailer', name: 'mail_sent', job_id: 'job_9' },
  ],
};
