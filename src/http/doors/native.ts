import { decodeEvents } from '../../event/decode.ts';
import { readEnvelope } from '../../event/envelope.ts';
import type { Door } from '../ingest.ts';

/** Weir's own format: `{"token"?, "events": [...], "batch_id"?, "sent_at"?}`. */
export const nativeDoor: Door = {
  path: '/api/v1/ingest/events',
  source: 'native',
  isNative: true,

  open(body) {
    const envelope = readEnvelope(body);
    if (!envelope.ok) return { refused: envelope.code, message: envelope.message };
    return {
      token: envelope.token,
      idempotencyKey: envelope.batchId,
      eventCount: envelope.events.count,
      decode: (context) => decodeEvents(envelope.events, context),
    };
  },

  answer({ accepted, rejected, rejections, truncated }) {
    return {
      status: accepted > 0 ? 202 : 200,
      body: {
        accepted,
        rejected,
        ...(rejections.length > 0 ? { errors: rejections } : {}),
        ...(truncated ? { errors_truncated: true } : {}),
      },
    };
  },
};
