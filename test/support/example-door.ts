import { readList } from '../../src/event/event-lists.ts';
import { number, oneOf, text } from '../../src/event/kinds.ts';
import { type Door, listed } from '../../src/http/ingest/doors/door.ts';
import { COUNTS, TRUNCATED, answerSchema, rejectionsSchema } from '../../src/http/description/answer-schema.ts';

const MAX_READINGS = 500;

/** Measurements of sensors: `[{"kind", "at", "device", "value", "unit"?}]`. */
export const readingsDoor: Door = {
  paths: ['/readings'],
  source: 'readings',
  summary: `Send up to ${MAX_READINGS} readings of sensors.`,
  withoutHeader: 'nobody',
  format: {
    event: { keys: ['kind'] },
    timestamp: { keys: ['at', 'timestamp'] },
    anonymousId: { keys: ['device'], required: true },
    gathered: {
      value: { kind: number(-1e6, 1e6), required: true },
      unit: { kind: oneOf('C', 'F', '%') },
    },
    kept: { site: { kind: text(64) } },
  },
  body: {
    kind: 'whole',
    open: (body) => readList(body, { mayBeBare: true, maxEvents: MAX_READINGS }),
    schema(event) {
      const list = { type: 'array', items: event, minItems: 1, maxItems: MAX_READINGS };
      return { anyOf: [list, { type: 'object', properties: { events: list }, required: ['events'] }] };
    },
  },
  answer: (decoded) => ({
    status: decoded.accepted > 0 ? 202 : 200,
    body: { accepted: decoded.accepted, rejected: decoded.rejected, ...listed(decoded, 'index') },
  }),
  answers: {
    200: answerSchema(COUNTS, { errors: rejectionsSchema('index'), ...TRUNCATED }),
    202: answerSchema(COUNTS, { errors: rejectionsSchema('index'), ...TRUNCATED }),
  },
  refusals: ['invalid_json', 'invalid_envelope', 'too_many_events'],
  example: [{ kind: 'temperature', at: 1777897800, device: 'roof-3', value: 21.5, unit: 'C' }],
};
