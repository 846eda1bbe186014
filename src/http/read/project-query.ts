/**
 * SQL queries about one project: `POST …/query` streams the rows, `GET …/schema` says what can be queried. The
 * credential alone decides whose rows are visible; the id in the path must agree with it. Few queries run at a time, so
 * that reading cannot starve the inserts.
 */
import type { Context, Handler } from 'hono';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import type { Flags } from '../../pipeline/flags.ts';
import type { ProjectReader, QueryFailure } from '../../pipeline/read-ports.ts';
import { authorizeReader } from '../access/auth.ts';
import { nodeBody } from '../request/door-request.ts';
import { readBody } from '../request/body.ts';
import type { Credentials } from '../access/credentials.ts';
import { jsonAnswer } from './query-answer.ts';
import type { QuerySlots } from './query-slots.ts';
import { type Refusal, isRefusal } from '../answers/refusals.ts';
import { refuse } from '../answers/refusal-reply.ts';
import { nodeOf } from '../description/route.ts';
import { watchForDeparture } from './departed-client.ts';

export type ProjectQueryDeps = {
  readonly reader: ProjectReader;
  readonly querySlots: QuerySlots;
  readonly credentials: Credentials;
  readonly flags: Flags;
  readonly clock: Clock;
  readonly newQueryId: () => string;
  readonly log: Log;
};

export type ReadLimits = {
  readonly maxExecutionS: number;
  readonly maxRows: number;
  readonly maxResultBytes: number;
  /** Of one project. */
  readonly maxAtOnce: number;
};

const MAX_BODY_BYTES = 64 * 1024;
/** How long an answer may take beyond the store's own limit: a slow reader holds a slot. */
const DELIVERY_MS = 30_000;
/** A client that reads nothing of an answer for this long counts as gone. */
const STALL_MS = 10_000;

/** Both handlers, which share the slots. */
export function projectQuery(deps: ProjectQueryDeps, limits: ReadLimits): { query: Handler; schema: Handler } {
  const { reader, querySlots, credentials, flags, clock, newQueryId, log } = deps;
  return { query, schema };

  async function query(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    const sql = await sqlOf(c);
    // The client has disconnected: the status is only counted.
    if (sql === null) return c.body(null, 400);
    if (typeof sql !== 'string') return refuse(c, sql);
    return inPlace(c, projectId, (visit) => answerQuery(c, sql, visit));
  }

  async function schema(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    return inPlace(c, projectId, (visit) => answerSchema(c, visit));
  }

  /** The project whose rows are visible. */
  async function admitted(c: Context): Promise<string | Refusal> {
    if (flags.facts().intake === 'draining') return { refused: 'shutting_down' };
    const credential = await authorizeReader(nodeOf(c).incoming, credentials);
    if (isRefusal(credential)) return credential;
    // The same answer for the id of another project, of none and for nonsense: whether a project exists is not
    // revealed.
    return c.req.param('id')?.toLowerCase() === credential.projectId ? credential.projectId : NOT_THIS_PROJECT;
  }

  /** Holds a slot for as long as the store works on the answer; `answer` ends the visit. */
  async function inPlace(c: Context, projectId: string, answer: (visit: Visit) => Promise<Response>) {
    const { outgoing } = nodeOf(c);
    watchForDeparture(nodeOf(c), clock);
    const gone = new AbortController();
    const abort = () => gone.abort();
    outgoing.once('close', abort);
    const leave = await querySlots.take(projectId, gone.signal);
    if (leave === null) {
      outgoing.off('close', abort);
      return refuse(c, { refused: 'too_many_queries' });
    }
    void clock.sleep(limits.maxExecutionS * 1000 + DELIVERY_MS, gone.signal).then(() => {
      if (!gone.signal.aborted) outgoing.destroy();
    });
    const queryId = newQueryId();
    const visit = { projectId, queryId, signal: gone.signal, cut: () => void outgoing.destroy(), end };
    try {
      return await answer(visit);
    } catch (error) {
      end();
      throw error;
    }

    /** Also ends what the store may still do for it, for which the slot is held, and the timer. */
    function end() {
      outgoing.off('close', abort);
      gone.abort();
      void reader.stopped(queryId).then(leave);
    }
  }

  async function answerQuery(c: Context, sql: string, visit: Visit): Promise<Response> {
    const { projectId, queryId, signal, cut, end } = visit;
    const startedAt = clock.elapsed();
    const elapsedMs = () => Math.round(clock.elapsed() - startedAt);
    const noted = { requestId: c.get('requestId') as string, projectId, queryId };
    const answer = await reader.query(projectId, sql, { queryId, signal });
    if (answer.kind !== 'answer') {
      const { kind: outcome, error } = answer;
      log.info({ ...noted, elapsedMs: elapsedMs(), outcome, rows: 0, error }, 'query ended');
      end();
      return failed(c, answer);
    }
    const stream = jsonAnswer(answer, {
      maxRows: limits.maxRows,
      maxBytes: limits.maxResultBytes,
      elapsedMs,
      stalled: (taken) => clock.sleep(STALL_MS, taken),
      cut,
      onEnd({ rows, isWhole, isTruncated }) {
        const outcome = isWhole ? 'answered' : 'cut short';
        log.info({ ...noted, elapsedMs: elapsedMs(), outcome, rows, isTruncated }, 'query ended');
        end();
      },
    });
    return c.body(stream, 200, { 'Content-Type': 'application/json' });
  }

  async function answerSchema(c: Context, { projectId, signal, end }: Visit): Promise<Response> {
    const found = await reader.schema(projectId, signal);
    end();
    if (found.kind !== 'schema') return failed(c, found);
    const { tables, events } = found;
    return c.json({
      tables,
      events,
      limits: {
        sql_bytes: MAX_BODY_BYTES,
        rows: limits.maxRows,
        result_bytes: limits.maxResultBytes,
        seconds: limits.maxExecutionS,
        queries_at_once: limits.maxAtOnce,
      },
    });
  }

  function failed(c: Context, failure: QueryFailure): Response {
    const { error } = failure;
    if (failure.kind === 'unavailable') {
      const { message } = failure;
      if (failure.isForOperator) log.warn({ error, reason: message }, 'the store of the events refuses reads');
      return refuse(c, { refused: 'store_unavailable', ...(message && { message }) });
    }
    const details = error && [{ [`${error.store}_code`]: error.code, [`${error.store}_name`]: error.name }];
    return refuse(c, { refused: 'query_refused', message: failure.message, ...(details && { details }) });
  }
}

type Visit = {
  readonly projectId: string;
  /** The query's id in the store. */
  readonly queryId: string;
  /** Aborts when the client has disconnected, or has waited for too long. */
  readonly signal: AbortSignal;
  /** Ends the connection at once. */
  readonly cut: () => void;
  readonly end: () => void;
};

const NOT_THIS_PROJECT: Refusal = { refused: 'forbidden', message: 'this token does not belong to that project' };

/** The query in the body; null when the client disconnected before its end. */
async function sqlOf(c: Context): Promise<string | Refusal | null> {
  const { incoming } = nodeOf(c);
  // Small, and few at a time: not worth a reservation in the channel.
  const body = await readBody(
    { headers: incoming.headers, body: nodeBody(incoming) },
    { grow: () => true, release: () => {} },
    { maxBytes: MAX_BODY_BYTES },
  );
  if (body === 'aborted') return null;
  if (isRefusal(body)) return body;
  let text: string;
  try {
    text = UTF8.decode(body.bytes);
  } catch {
    return { refused: 'invalid_encoding' };
  }
  return sqlIn(text);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function sqlIn(text: string): string | Refusal {
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
