/** The descriptions of the queries about a project for the API. */
import type { JsonSchema } from '../../event/kinds.ts';
import { answerSchema } from '../description/answer-schema.ts';
import type { RefusalCode } from '../answers/refusals.ts';
import { type Operation, type Parameter, TOKEN_IN_HEADER } from '../description/route.ts';

const TEXT: JsonSchema = { type: 'string' };
const COUNT: JsonSchema = { type: 'integer', minimum: 0 };

const PROJECT: Parameter = {
  in: 'path',
  name: 'id',
  description: 'The project that the token belongs to.',
  required: true,
  schema: { type: 'string', format: 'uuid' },
};

/** Refusals of both. */
const REFUSALS = [
  'unauthorized',
  'forbidden',
  'too_many_queries',
  'internal',
  'shutting_down',
  'store_unavailable',
] as const satisfies readonly RefusalCode[];

export const queryOperation: Operation = {
  tag: 'Reading',
  summary: 'Query a project’s events in SQL.',
  description:
    'One SELECT in the SQL of the store, ClickHouse’s or Postgres’s; every table shows the project’s own rows and no ' +
    'others. Needs a secret token. Works while intake is switched off. Rows are streamed as they are found; an answer without `stats` was cut off.',
  schemes: TOKEN_IN_HEADER,
  parameters: [PROJECT],
  body: {
    description: 'The question.',
    required: true,
    mediaTypes: ['application/json'],
    schema: { type: 'object', properties: { sql: TEXT }, required: ['sql'], additionalProperties: false },
    example: { sql: 'SELECT event, count() AS events FROM events GROUP BY event ORDER BY event' },
  },
  answers: {
    200: {
      description: 'The rows, each a list in the order of the columns. Integers of 64 bits and decimals are text.',
      schema: answerSchema({
        columns: { type: 'array', items: answerSchema({ name: TEXT, type: TEXT }) },
        rows: { type: 'array', items: { type: 'array' } },
        stats: answerSchema({ rows: COUNT, truncated: { type: 'boolean' }, elapsed_ms: COUNT }),
      }),
      example: {
        columns: [
          { name: 'event', type: 'LowCardinality(String)' },
          { name: 'events', type: 'UInt64' },
        ],
        rows: [['signed_up', '2']],
        stats: { rows: 1, truncated: false, elapsed_ms: 12 },
      },
    },
  },
  refusals: [
    'invalid_json',
    'invalid_encoding',
    'invalid_query',
    'query_refused',
    'body_too_large',
    'unsupported_encoding',
    ...REFUSALS,
  ],
};

const columnSchema = answerSchema({ name: TEXT, type: TEXT, comment: TEXT });

export const schemaOperation: Operation = {
  tag: 'Reading',
  summary: 'List what can be queried in SQL.',
  description:
    'Tables with their columns, the limits, and up to 1000 names of the project’s events. Needs a secret token.',
  schemes: TOKEN_IN_HEADER,
  parameters: [PROJECT],
  answers: {
    200: {
      description: 'The tables, the names of events (the most frequent first), and the limits of one query.',
      schema: answerSchema({
        tables: {
          type: 'array',
          items: answerSchema({ name: TEXT, comment: TEXT, columns: { type: 'array', items: columnSchema } }),
        },
        events: { type: 'array', items: TEXT },
        limits: answerSchema({
          sql_bytes: COUNT,
          rows: COUNT,
          result_bytes: COUNT,
          seconds: COUNT,
          queries_at_once: COUNT,
        }),
      }),
    },
  },
  refusals: REFUSALS,
};
