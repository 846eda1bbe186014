/**
 * Answering SQL about one project, whoever asks: a visit holds a slot for as long as the store works on its answer, and
 * few are let in at a time, so that reading cannot starve the inserts.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import type { ProjectReader, QueryFailure } from '../../pipeline/read-ports.ts';
import type { Refusal } from '../answers/refusals.ts';
import { jsonAnswer } from './query-answer.ts';
import type { QuerySlots } from './query-slots.ts';

export type ReadLimits = {
  readonly maxExecutionS: number;
  readonly maxRows: number;
  readonly maxResultBytes: number;
  /** Of one project. */
  readonly maxAtOnce: number;
};

export type VisitDeps = {
  readonly reader: ProjectReader;
  readonly querySlots: QuerySlots;
  readonly clock: Clock;
  readonly newQueryId: () => string;
  readonly log: Log;
};

/** The most bytes of a question. */
export const MAX_BODY_BYTES = 64 * 1024;
/** How long an answer may take beyond the store's own limit: a slow reader holds a slot. */
const DELIVERY_MS = 30_000;
/** A client that reads nothing of an answer for this long counts as gone. */
const STALL_MS = 10_000;

/** Whoever waits for an answer. */
export type Visitor = {
  readonly requestId: string;
  readonly projectId: string;
  /** Aborts when the client has disconnected. */
  readonly left: AbortSignal;
  /** Ends the connection at once, so that half an answer is never taken for a complete one. */
  readonly cut: () => void;
};

export type Visits = {
  /** The answer as JSON; the visit lasts until it has been read, or is read no more. */
  query(visitor: Visitor, sql: string): Promise<ReadableStream<Uint8Array> | Refusal>;
  /** The tables and events of a project, with the limits, as they are answered. */
  schema(visitor: Visitor): Promise<object | Refusal>;
};

export function createVisits({ reader, querySlots, clock, newQueryId, log }: VisitDeps, limits: ReadLimits): Visits {
  return { query, schema };

  async function query(visitor: Visitor, sql: string): Promise<ReadableStream<Uint8Array> | Refusal> {
    const visit = await begin(visitor);
    if (visit === null) return { refused: 'too_many_queries' };
    const { queryId, signal, end } = visit;
    const { requestId, projectId, cut } = visitor;
    const startedAt = clock.elapsed();
    const elapsedMs = () => Math.round(clock.elapsed() - startedAt);
    const note = (outcome: object) =>
      log.info({ requestId, projectId, queryId, elapsedMs: elapsedMs(), ...outcome }, 'query ended');
    try {
      const answer = await reader.query(projectId, sql, { queryId, signal });
      if (answer.kind !== 'answer') {
        note({ outcome: answer.kind, rows: 0, error: answer.error });
        end();
        return refusalOf(answer);
      }
      return jsonAnswer(answer, {
        maxRows: limits.maxRows,
        maxBytes: limits.maxResultBytes,
        elapsedMs,
        stalled: (taken) => clock.sleep(STALL_MS, taken),
        cut,
        onEnd({ rows, isWhole, isTruncated }) {
          note({ outcome: isWhole ? 'answered' : 'cut short', rows, isTruncated });
          end();
        },
      });
    } catch (error) {
      end();
      throw error;
    }
  }

  async function schema(visitor: Visitor): Promise<object | Refusal> {
    const visit = await begin(visitor);
    if (visit === null) return { refused: 'too_many_queries' };
    try {
      const found = await reader.schema(visitor.projectId, visit.signal);
      if (found.kind !== 'schema') return refusalOf(found);
      const { tables, events } = found;
      return {
        tables,
        events,
        limits: {
          sql_bytes: MAX_BODY_BYTES,
          rows: limits.maxRows,
          result_bytes: limits.maxResultBytes,
          seconds: limits.maxExecutionS,
          queries_at_once: limits.maxAtOnce,
        },
      };
    } finally {
      visit.end();
    }
  }

  /** Takes a slot; null when there is none. */
  async function begin({ projectId, left, cut }: Visitor) {
    const gone = new AbortController();
    const abort = () => gone.abort();
    left.addEventListener('abort', abort, { once: true });
    if (left.aborted) abort();
    const leave = await querySlots.take(projectId, gone.signal);
    if (leave === null) {
      left.removeEventListener('abort', abort);
      return null;
    }
    void clock.sleep(limits.maxExecutionS * 1000 + DELIVERY_MS, gone.signal).then(() => {
      if (!gone.signal.aborted) cut();
    });
    const queryId = newQueryId();
    return { queryId, signal: gone.signal, end };

    /** Also ends what the store may still do for it, for which the slot is held, and the timer. */
    function end() {
      left.removeEventListener('abort', abort);
      gone.abort();
      void reader.stopped(queryId).then(leave);
    }
  }

  function refusalOf(failure: QueryFailure): Refusal {
    const { error } = failure;
    if (failure.kind === 'unavailable') {
      const { message } = failure;
      if (failure.isForOperator) log.warn({ error, reason: message }, 'the store of the events refuses reads');
      return { refused: 'store_unavailable', ...(message && { message }) };
    }
    const details = error && [{ [`${error.store}_code`]: error.code, [`${error.store}_name`]: error.name }];
    return { refused: 'query_refused', message: failure.message, ...(details && { details }) };
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The SQL in a body `{"sql": "…"}`. */
export function sqlIn(bytes: Uint8Array): string | Refusal {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    return { refused: 'invalid_encoding' };
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { refused: 'invalid_json' };
  }
  const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed);
  if (!isObject) return { refused: 'invalid_query', message: 'the body must be an object: {"sql": "SELECT …"}' };
  const { sql, ...rest } = parsed as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    return {
      refused: 'invalid_query',
      message: `unknown key ${JSON.stringify(unknown.slice(0, 100))}: the body has only "sql"`,
    };
  }
  return typeof sql === 'string' ? sql : { refused: 'invalid_query', message: 'sql must be a string' };
}
