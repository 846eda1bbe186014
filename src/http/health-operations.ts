/** What the health paths say of themselves in the description of the API. */
import type { JsonSchema } from '../event/kinds.ts';
import { answerSchema } from './doors/door.ts';
import type { Answer, Operation } from './route.ts';

const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
const TEXT: JsonSchema = { type: 'string' };
const FLAG: JsonSchema = { type: 'boolean' };
const oneOf = (...values: readonly string[]): JsonSchema => ({ type: 'string', enum: values });
const orNull = (schema: JsonSchema): JsonSchema => ({ anyOf: [schema, { type: 'null' }] });

function operation(summary: string, answers: Operation['answers']): Operation {
  return { tag: 'Health', summary, schemes: ['nobody'], answers, refusals: ['internal'] };
}

const HEALTHZ = answerSchema({ status: oneOf('ok', 'down'), version: TEXT, ingest_disabled: FLAG, dlq_depth: COUNT });

export const healthzOperation = operation('Whether a person is needed.', {
  200: { description: 'No.', schema: HEALTHZ },
  503: { description: 'Accepted events have no durable home, or too many are dead-lettered.', schema: HEALTHZ },
});

export const healthOperation = operation('Everything about the state of this process, with reasons.', {
  200: {
    description: 'Always, whatever the state.',
    schema: answerSchema(
      {
        status: oneOf('ok', 'degraded', 'down'),
        reasons: { type: 'array', items: TEXT, description: 'Every departure from the ordinary, for a person.' },
        version: TEXT,
        intake: oneOf('open', 'disabled', 'draining'),
        enqueued: { ...COUNT, description: 'Events accepted since the start.' },
        dropped: { type: 'integer', const: 0, description: 'No accepted event is ever dropped.' },
        pending: { ...COUNT, description: 'Events accepted and not yet settled.' },
        queue_depth: COUNT,
        pending_bytes: COUNT,
        reserved_bytes: { ...COUNT, description: 'For bodies that are being read.' },
        unhomed_batches: { ...COUNT, description: 'Batches that neither store would take.' },
        breaker: oneOf('closed', 'half-open', 'open'),
        journal: orNull(answerSchema({ state: TEXT, bytes: COUNT, max_bytes: COUNT })),
        clickhouse_connected: FLAG,
        postgres_connected: FLAG,
        dlq: orNull(
          answerSchema({
            depth: COUNT,
            events: COUNT,
            bytes: COUNT,
            oldest: orNull({ type: 'string', format: 'date-time' }),
            quarantined: COUNT,
          }),
        ),
      },
      {
        workers: {
          type: 'array',
          description:
            'Only with several workers: each of them. `delivering`: one that only delivers what others left.',
          items: answerSchema({
            worker: { type: 'integer', minimum: 1 },
            pid: orNull(COUNT),
            state: oneOf('starting', 'listening', 'silent', 'missing', 'delivering'),
          }),
        },
      },
    ),
  },
});

export const liveOperation = operation('Whether the process turns.', {
  200: { description: 'It does.', schema: answerSchema({ status: oneOf('ok') }) },
});

export const readyOperation = operation('Whether this process would accept an event now.', {
  200: { description: 'It would.', schema: answerSchema({ status: oneOf('ready') }) },
  503: {
    description: 'It would not, and why.',
    schema: answerSchema({
      status: oneOf('not_ready'),
      reason: oneOf(
        'ingest_disabled',
        'shutting_down',
        'ingest_down',
        'channel_full',
        'journal_full',
        'journal_failed',
        'tokens_unavailable',
      ),
    }),
  },
});

export const storesOperation = operation('Whether both stores answer and are migrated; for gating a start.', {
  200: { description: 'They do.', schema: answerSchema({ status: oneOf('ready') }) },
  503: {
    description: 'They do not.',
    schema: answerSchema({
      status: oneOf('not_ready'),
      error: TEXT,
      missing: { type: 'array', items: oneOf('clickhouse', 'postgres'), minItems: 1 },
    }),
  },
});

const PROMETHEUS: Answer = {
  description: 'The metrics page, in Prometheus text.',
  mediaType: 'text/plain; version=0.0.4; charset=utf-8',
  schema: TEXT,
};
export const pageOperation = operation('Numbers for Prometheus. Do not let the outside reach it.', { 200: PROMETHEUS });
