/** The description of `GET /metrics` for the API. */
import type { JsonSchema } from '../../event/kinds.ts';
import { MAX_TEXT_LENGTH } from '../../event/text.ts';
import { answerSchema } from '../description/answer-schema.ts';
import type { RefusalCode } from '../answers/refusals.ts';
import { type Operation, TOKEN_IN_HEADER } from '../description/route.ts';

/** What it may answer instead of counts. The compiler checks it. */
const COUNT_REFUSALS = [
  'invalid_query',
  'unauthorized',
  'forbidden',
  'internal',
  'shutting_down',
  'store_unavailable',
] as const satisfies readonly RefusalCode[];
export type CountRefusal = (typeof COUNT_REFUSALS)[number];

export const GROUPINGS = ['channel', 'hour', 'day'] as const;

const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
const SECONDS: JsonSchema = { type: 'number', minimum: 0, description: 'Epoch seconds.' };
const INSTANT =
  'epoch seconds or milliseconds (below 1e11 it is seconds), or RFC 3339 with an offset, whose plus sign may be a space.';
const COUNTS = { total_events: COUNT, unique_users: COUNT };

export const countsOperation: Operation = {
  tag: 'Reading',
  summary: 'Count the events of one name, and their users, in a window of time.',
  description:
    'Needs a secret token, or none where INGEST_ANONYMOUS_PROJECT names a project. Works while intake is switched off. ' +
    'Other parameters are ignored; one of these given twice is refused.',
  schemes: [...TOKEN_IN_HEADER, 'none'],
  parameters: [
    {
      in: 'query',
      name: 'event_name',
      description: 'The name of the events to count.',
      required: true,
      schema: { type: 'string', minLength: 1, maxLength: MAX_TEXT_LENGTH },
    },
    {
      in: 'query',
      name: 'from',
      description: `Inclusive; 24 hours ago by default: ${INSTANT}`,
      schema: { type: 'string' },
    },
    { in: 'query', name: 'to', description: `Exclusive; now by default: ${INSTANT}`, schema: { type: 'string' } },
    {
      in: 'query',
      name: 'group_by',
      description: 'Separate counts for each group; hours and days are in UTC.',
      schema: { type: 'string', enum: GROUPINGS },
    },
    {
      in: 'query',
      name: 'exact',
      description: 'Reads every event of the window and counts every event id once; false by default.',
      schema: { type: 'string', enum: ['true', 'false'] },
    },
  ],
  answers: {
    200: {
      description: 'The counts. A user in two groups counts once in the total. Groups ascend.',
      schema: answerSchema(
        { event_name: { type: 'string' }, from: SECONDS, to: SECONDS, ...COUNTS },
        {
          grouped_by: { type: 'string', enum: GROUPINGS },
          data: { type: 'array', items: answerSchema({ group: { type: 'string' }, ...COUNTS }) },
          data_truncated: { type: 'boolean', const: true },
        },
      ),
    },
  },
  refusals: COUNT_REFUSALS,
};
