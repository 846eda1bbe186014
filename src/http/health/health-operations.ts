/** The health paths' descriptions for the API. */
import type { JsonSchema } from '../../event/kinds.ts';
import { REJECTION_KINDS } from '../../event/rejection-kind.ts';
import { answerSchema } from '../description/answer-schema.ts';
import type { Answer, Operation } from '../description/route.ts';

const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
const TEXT: JsonSchema = { type: 'string' };
const FLAG: JsonSchema = { type: 'boolean' };
const oneOf = (...values: readonly string[]): JsonSchema => ({ type: 'string', enum: values });
const orNull = (schema: JsonSchema): JsonSchema => ({ anyOf: [schema, { type: 'null' }] });

function operation(summary: string, answers: Operation['answers']): Operation {
  return { tag: 'Health', summary, schemes: ['none'], answers, refusals: ['internal'] };
}

const HEALTHZ = answerSchema({ status: oneOf('ok', 'down'), version: TEXT, ingest_disabled: FLAG, dlq_depth: COUNT });

export const healthzOperation = operation('Whether an operator is needed.', {
  200: { description: 'No.', schema: HEALTHZ },
  503: { description: 'Accepted events have no durable home, or too many are dead-lettered.', schema: HEALTHZ },
});

export const healthOperation = operation('Everything about the state of this process, with reasons.', {
  200: {
    description: 'Always, whatever the state.',
    schema: answerSchema(
      {
        status: oneOf('ok', 'degraded', 'down'),
        reasons: { type: 'array', items: TEXT, description: 'Each departure from normal operation, as a sentence.' },
        version: TEXT,
        role: { ...oneOf('all', 'ingest', 'flush'), description: 'What this process does: `WEIR_ROLE`.' },
        intake: oneOf('open', 'disabled', 'elsewhere', 'draining'),
        enqueued: { ...COUNT, description: 'Events accepted since the start.' },
        dropped: { type: 'integer', const: 0, description: 'No accepted event is ever dropped.' },
        pending: { ...COUNT, description: 'Events accepted and not yet settled.' },
        queue_depth: COUNT,
        pending_bytes: COUNT,
        reserved_bytes: { ...COUNT, description: 'Bytes reserved for request bodies that are being read.' },
        unhomed_batches: { ...COUNT, description: 'Batches that neither store accepted.' },
        breaker: oneOf('closed', 'half-open', 'open'),
        journal: orNull(answerSchema({ state: TEXT, bytes: COUNT, max_bytes: COUNT })),
        topic: orNull({
          ...answerSchema({
            name: TEXT,
            connected: FLAG,
            reading: orNull(
              answerSchema({ member: FLAG, partitions: COUNT, lag_records: COUNT, lag_seconds: { type: 'number' } }),
            ),
          }),
          description:
            'With CHANNEL=kafka the topic between intake and inserts; `reading` is null for a process that only appends, and its lag is that of the partitions it holds.',
        }),
        postgres_connected: FLAG,
        dlq: orNull(
          answerSchema({
            depth: COUNT,
            events: COUNT,
            bytes: COUNT,
            oldest: orNull({ type: 'string', format: 'date-time' }),
            quarantined: COUNT,
            estimated: { ...FLAG, description: 'There are too many dead letters to count: the numbers are estimates.' },
          }),
        ),
        rebuild: orNull({
          ...answerSchema({
            state: oneOf('copying', 'checking', 'finishing', 'blocked'),
            rows: COUNT,
            total: COUNT,
            detail: orNull(TEXT),
          }),
          description: 'The table of events is being rebuilt for this version, in the background; null when it is not.',
        }),
        rejecting: {
          type: 'array',
          description:
            'The families of doors that rejected events within the last hour. It changes no status: what a client sends is no trouble of Weir.',
          items: answerSchema({
            door: { ...TEXT, description: 'The source of its events, such as `segment`.' },
            rejected: { ...COUNT, description: 'Events rejected since `since`, without an hour’s pause.' },
            reasons: answerSchema({}, Object.fromEntries(REJECTION_KINDS.map((kind) => [kind, COUNT]))),
            since: { type: 'string', format: 'date-time' },
            last: { type: 'string', format: 'date-time' },
          }),
        },
      },
      {
        clickhouse_connected: { ...FLAG, description: 'Where ClickHouse stores the events.' },
        workers: {
          type: 'array',
          description:
            'Each worker, if there are several. `delivering`: a process that only delivers the events a former worker left behind.',
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

export const liveOperation = operation('Whether the event loop is running.', {
  200: { description: 'It does.', schema: answerSchema({ status: oneOf('ok') }) },
});

export const readyOperation = operation('Whether this process would accept an event now.', {
  200: { description: 'It would.', schema: answerSchema({ status: oneOf('ready') }) },
  503: {
    description: 'It would not; `reason` says why.',
    schema: answerSchema({
      status: oneOf('not_ready'),
      reason: oneOf(
        'ingest_disabled',
        'ingest_elsewhere',
        'topic_unavailable',
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

export const storesOperation = operation('Whether the stores answer and are migrated; for gating a start.', {
  200: { description: 'They do.', schema: answerSchema({ status: oneOf('ready') }) },
  503: {
    description: 'At least one of them does not.',
    schema: answerSchema({
      status: oneOf('not_ready'),
      error: TEXT,
      missing: { type: 'array', items: oneOf('clickhouse', 'postgres', 'kafka'), minItems: 1 },
    }),
  },
});

const PROMETHEUS: Answer = {
  description: 'The metrics page, in Prometheus text.',
  mediaType: 'text/plain; version=0.0.4; charset=utf-8',
  schema: TEXT,
};
export const pageOperation: Operation = {
  ...operation('Metrics for Prometheus. Do not expose this path to the outside.', { 200: PROMETHEUS }),
  description:
    'If the operator has set `METRICS_TOKEN`, this page requires `Authorization: Bearer <that token>`. With `?process=false` it leaves out what is so of any process (`process_*`, `nodejs_*`).',
  refusals: ['unauthorized', 'internal'],
};
