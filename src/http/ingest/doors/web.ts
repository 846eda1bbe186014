import { readList } from '../../../event/event-lists.ts';
import type { ChosenFormat, EventFormat } from '../../../event/format.ts';
import { type CheckedField, flag, number, object, oneOf, shape, text, uuid } from '../../../event/kinds.ts';
import { type Door, inEvents, listed } from './door.ts';
import { COUNTS, TRUNCATED, answerSchema, rejectionsSchema } from '../../description/answer-schema.ts';

const MAX_EVENTS = 1_000;
const MAX_PATH_LENGTH = 2_000;
const MAX_CUSTOM_BYTES = 16 * 1024;
/** Bounds for sizes and durations of a page; no screen and no load is negative or that large. */
const measure = { kind: number(0, 1e9) };
const milliseconds = { kind: number(0, 60_000) };

const metadata: CheckedField = {
  kind: shape({
    user_agent: { kind: text(512) },
    ip: { kind: text(64) },
    timezone: { kind: text(64) },
    language: { kind: text(64) },
    device_pixel_ratio: measure,
    screen_width: measure,
    screen_height: measure,
    viewport_width: measure,
    viewport_height: measure,
  }),
};

/** The fields of all five types. */
const common = {
  timestamp: { keys: ['timestamp'] },
  eventId: { keys: ['id', 'event_id', 'eventId', 'messageId', 'message_id', 'uuid'], required: true, kind: uuid },
  sessionId: { keys: ['session_id'], required: true, kind: uuid },
  userId: { keys: ['user_id'] },
  project: { keys: ['tenant_id'] },
  kept: { metadata },
} as const satisfies EventFormat;

const webFormat: ChosenFormat = {
  by: 'type',
  formats: {
    pageview: {
      ...common,
      gathered: {
        title: { kind: text(500), required: true },
        path: { kind: text(MAX_PATH_LENGTH), required: true },
        referrer: { kind: text(MAX_PATH_LENGTH) },
        load_time: measure,
        time_to_first_byte: measure,
      },
    },
    click: {
      ...common,
      gathered: {
        element: { kind: text(64), required: true },
        selector: { kind: text(MAX_PATH_LENGTH) },
        coordinates: {
          kind: shape({ x: { kind: number(), required: true }, y: { kind: number(), required: true } }),
        },
        is_double_click: { kind: flag },
        text: { kind: text(200) },
      },
    },
    scroll: {
      ...common,
      gathered: {
        scroll_depth: { kind: number(0, 100), required: true },
        direction: { kind: oneOf('up', 'down'), required: true },
        element: { kind: text(64) },
      },
    },
    performance: {
      ...common,
      gathered: {
        metrics: {
          kind: shape({
            lcp: milliseconds,
            fcp: milliseconds,
            ttfb: milliseconds,
            fid: { kind: number(0, 10_000) },
            cls: { kind: number(0, 10) },
          }),
          required: true,
        },
      },
    },
    custom: {
      ...common,
      event: { keys: ['event_name'], maxLength: 100 },
      properties: { keys: ['properties'], required: true, kind: object({ maxBytes: MAX_CUSTOM_BYTES }) },
    },
  },
};

/** Five kinds of events of web pages: `{"events": [{"id", "session_id", "timestamp", "type", …}]}`. */
export const webDoor: Door = {
  paths: ['/ingest'],
  source: 'web',
  summary: `Send up to ${MAX_EVENTS} events of web pages.`,
  withoutHeader: 'nobody',
  format: webFormat,
  bodyAround: inEvents,
  body: {
    kind: 'whole',
    open: (body) => readList(body, { mayBeBare: false, maxEvents: MAX_EVENTS }),
    schema: (event) => ({
      type: 'object',
      properties: { events: { type: 'array', items: event, minItems: 1, maxItems: MAX_EVENTS } },
      required: ['events'],
    }),
  },
  answer(decoded, { receivedAt, newBatchId, now }) {
    const { accepted, rejected } = decoded;
    return {
      status: 200,
      body: {
        status: rejected === 0 ? 'success' : accepted > 0 ? 'partial' : 'rejected',
        batch_id: newBatchId(),
        events_accepted: accepted,
        events_rejected: rejected,
        ingest_latency_ms: Math.max(0, now() - receivedAt),
        ...listed(decoded, 'index'),
      },
    };
  },
  answers: {
    200: answerSchema(
      {
        status: { type: 'string', enum: ['success', 'partial', 'rejected'] },
        batch_id: { type: 'string', format: 'uuid' },
        events_accepted: COUNTS.accepted,
        events_rejected: COUNTS.rejected,
        ingest_latency_ms: { type: 'number', minimum: 0, description: 'Until the events were decoded.' },
      },
      { errors: rejectionsSchema('index'), ...TRUNCATED },
    ),
  },
  refusals: ['invalid_json', 'invalid_envelope', 'too_many_events'],
  example: {
    events: [
      {
        id: '0198c0de-0000-7000-8000-000000000001',
        session_id: '0198c0de-0000-7000-8000-00000000000a',
        timestamp: '2026-05-04T12:30:00.000Z',
        type: 'pageview',
        title: 'Prices',
        path: '/prices',
        load_time: 812,
        metadata: { user_agent: 'Mozilla/5.0', viewport_width: 1280, language: 'en' },
      },
      {
        id: '0198c0de-0000-7000-8000-000000000002',
        session_id: '0198c0de-0000-7000-8000-00000000000a',
        timestamp: '2026-05-04T12:30:04.500Z',
        type: 'custom',
        event_name: 'plan_chosen',
        properties: { plan: 'pro' },
      },
    ],
  },
};
