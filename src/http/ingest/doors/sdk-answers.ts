/** Answers to other services' clients: statuses that make them keep their events and retry. */
import type { Decoded } from '../../../event/decode.ts';
import type { JsonSchema } from '../../../event/kinds.ts';
import { COUNTS, rejectionsSchema } from '../../description/answer-schema.ts';
import { type RefusalCode, rowOf } from '../../answers/refusals.ts';
import { type DoorRefusal, listed, type OwnRefusals } from './door.ts';

/** Why a body of another service's client may be refused as a whole. */
export const SDK_REFUSALS: readonly DoorRefusal[] = ['invalid_json', 'invalid_envelope'];

/** A client's statuses for "later": when there is no room, or a project sends too much; and when intake is closed. */
export type Later = { readonly busy: 429 | 503; readonly off: 429 | 503; readonly shuttingDown: 429 | 503 };

const ALWAYS_503: Later = { busy: 503, off: 503, shuttingDown: 503 };

/** The status of a refusal, where a family differs from the table. */
export function sdkStatus({ busy, off, shuttingDown }: Later = ALWAYS_503) {
  const own: Partial<Record<RefusalCode, number>> = {
    rate_limited: busy,
    channel_full: busy,
    shutting_down: shuttingDown,
    unauthorized: 401,
    forbidden: 403,
    body_too_large: 413,
    unsupported_encoding: 415,
    internal: 500,
  };
  // Whatever else passes is a reason to keep the events, whatever its name.
  return (code: RefusalCode): number => own[code] ?? (rowOf(code).status === 503 ? off : 400);
}

/** Refusals in the common error shape, under the statuses of a family. */
export function sdkRefusals(later?: Later): OwnRefusals {
  return {
    status: sdkStatus(later),
    body: ({ code, message }) => ({ error: message, code }),
    schema: {
      type: 'object',
      properties: { error: { type: 'string' }, code: { type: 'string' } },
      required: ['error', 'code'],
      additionalProperties: false,
    },
  };
}

/** The part of an answer that reports rejections, for clients that ignore it; empty when there are none. */
export function rejectedIn(decoded: Decoded): { rejected?: number; errors?: object[] } {
  if (decoded.rejected === 0) return {};
  const { errors = [] } = listed(decoded, 'index');
  return { rejected: decoded.rejected, errors };
}

/** The schema of that part. */
export const REJECTED: Record<string, JsonSchema> = { rejected: COUNTS.rejected, errors: rejectionsSchema('index') };

/** Whether events were sent and none was usable. */
export const isNone = ({ accepted, rejected }: Decoded): boolean => accepted === 0 && rejected > 0;

/** Why none was usable, as a sentence. */
export const whyNone = ({ rejected, rejections: [first] }: Decoded): string =>
  `all ${rejected} events were rejected: ${first?.reason ?? 'none could be used'}`;

/** The smallest possible image. */
export const PIXEL = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');
