/** JSON Schemas for describing answers. */
import { MAX_LISTED_REJECTIONS } from '../../event/event.ts';
import type { JsonSchema } from '../../event/kinds.ts';

const COUNT: JsonSchema = { type: 'integer', minimum: 0 };

/** The schema of a list of rejections, each with its position under `place`. */
export const rejectionsSchema = (place: 'index' | 'line'): JsonSchema => ({
  type: 'array',
  maxItems: MAX_LISTED_REJECTIONS,
  items: {
    type: 'object',
    properties: { [place]: COUNT, reason: { type: 'string' } },
    required: [place, 'reason'],
  },
});

/** The schema of an answer object; all but the fields of `sometimes` are always present. */
export function answerSchema(
  always: Record<string, JsonSchema>,
  sometimes: Record<string, JsonSchema> = {},
): JsonSchema {
  return {
    type: 'object',
    properties: { ...always, ...sometimes },
    required: Object.keys(always),
    additionalProperties: false,
  };
}

/** The schemas of the counts in nearly every answer. */
export const COUNTS = { accepted: COUNT, rejected: COUNT } as const;
export const TRUNCATED = { errors_truncated: { type: 'boolean', const: true } } as const;
