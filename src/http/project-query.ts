/**
 * SQL questions about one project: `POST …/query` streams the rows, `GET
 * …/schema` says what can be asked. Whose rows are seen is decided by the
 * credential alone; the id in the path must agree with it. Few questions run at
 * a time, so that reading cannot starve the inserts.
 */
import type { Context, Handler } from 'hono';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Flags } from '../pipeline/flags.ts';
import type { ProjectReader, QueryFailure } from '../pipeline/reading.ts';
import { authorizeReader } from './auth.ts';
import { nodeBody } from './door-request.ts';
import { readBody } from './body.ts';
import type { Credentials } from './credentials.ts';
import { jsonAnswer } from './query-answer.ts';
import { type Refusal, isRefusal, refuse } from './refusals.ts';
import { nodeOf } from './route.ts';

export type ProjectQueryDeps = {
  readonly reader: ProjectReader;
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
  /** Each may use two threads and a gigabyte of ClickHouse's memory. */
  readonly maxAtOnce: number;
};

const MAX_BODY_BYTES = 64 * 1024;
/** So that one project's dashboard does not keep the others out. */
const MAX_AT_ONCE_OF_A_PROJECT = 2;
/** How long an answer may take beyond ClickHouse's own limit: whoever reads slowly holds a place. */
const DELIVERY_MS = 30_000;

/** Both handlers; they share the places. */
export function projectQuery(deps: ProjectQueryDeps, limits: ReadLimits): { query: Handler; schema: Handler } {
  const { reader, credentials, flags, clock, newQueryId, log } = deps;
  const places = createPlaces(limits.maxAtOnce);
  return { query, schema };

  async function query(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    const sql = await sqlOf(c);
    // Nobody is there to read the answer; a status only closes the books.
    if (sql === null) return c.body(null, 400);
    if (typeof sql !== 'string') return refuse(c, sql);
    return inPlace(c, projectId, (visit) => answerQuery(c, sql, visit));
  }

  async function schema(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    return inPlace(c, projectId, (visit) => answerSchema(c, visit));
  }

  /** The project whose rows may be seen. */
  async function admitted(c: Context): Promise<string | Refusal> {
    if (flags.facts().intake === 'draining') return { refused: 'shutting_down' };
    const credential = await authorizeReader(nodeOf(c).incoming, credentials);
    if (isRefusal(credential)) return credential;
    // One answer for the id of another project, of none and for nonsense: whether a project exists is not told.
    return c.req.param('id')?.toLowerCase() === credential.projectId ? credential.projectId : NOT_THIS_PROJECT;
  }

  /** Takes a place for as long as the answer takes; `answer` ends the visit. */
  async function inPlace(c: Context, projectId: string, answer: (visit: Visit) => Promise<Response>) {
    const leave = places.take(projectId);
    if (leave === null) return refuse(c, { refused: 'too_many_queries' });
    const { outgoing } = nodeOf(c);
    const gone = new AbortController();
    const abort = () => gone.abort();
    outgoing.once('close', abort);
    void clock.sleep(limits.maxExecutionS * 1000 + DELIVERY_MS, gone.signal).then(() => {
      if (!gone.signal.aborted) outgoing.destroy();
    });
    const visit = { projectId, signal: gone.signal, cut: () => void outgoing.destroy(), end };
    try {
      return await answer(visit);
    } catch (error) {
      end();
      throw error;
    }

    /** Also ends what ClickHouse may still do for it, and the watch over the time. */
    function end() {
      outgoing.off('close', abort);
      gone.abort();
      leave?.();
    }
  }

  async function answerQuery(c: Context, sql: string, { projectId, signal, cut, end }: Visit): Promise<Response> {
    const queryId = newQueryId();
    const startedAt = clock.elapsed();
    const elapsedMs = () => Math.round(clock.elapsed() - startedAt);
    const noted = { requestId: c.get('requestId') as string, projectId, queryId };
    const answer = await reader.query(projectId, sql, { queryId, signal });
    if (answer.kind !== 'answer') {
      const { kind: outcome, clickhouse } = answer;
      log.info({ ...noted, elapsedMs: elapsedMs(), outcome, rows: 0, clickhouse }, 'query ended');
      end();
      return failed(c, answer);
    }
    const stream = jsonAnswer(answer, {
      maxRows: limits.maxRows,
      maxBytes: limits.maxResultBytes,
      elapsedMs,
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
        queries_at_once: Math.min(MAX_AT_ONCE_OF_A_PROJECT, limits.maxAtOnce),
      },
    });
  }

  function failed(c: Context, failure: QueryFailure): Response {
    const { clickhouse } = failure;
    if (failure.kind === 'unavailable') {
      if (failure.isForOperator) log.warn({ clickhouse }, 'clickhouse refuses to be read');
      return refuse(c, { refused: 'store_unavailable' });
    }
    const details = clickhouse && [{ clickhouse_code: clickhouse.code, clickhouse_name: clickhouse.name }];
    return refuse(c, { refused: 'query_refused', message: failure.message, ...(details && { details }) });
  }
}

type Visit = {
  readonly projectId: string;
  /** Aborted when nobody waits for the answer any more, or for too long. */
  readonly signal: AbortSignal;
  /** Ends the connection at once. */
  readonly cut: () => void;
  readonly end: () => void;
};

const NOT_THIS_PROJECT: Refusal = { refused: 'forbidden', message: 'this token does not belong to that project' };

/** The question in the body; null when the client went away before its end. */
async function sqlOf(c: Context): Promise<string | Refusal | null> {
  const { incoming } = nodeOf(c);
  // Small, and few at a time: not worth a place in the channel.
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

/** Places for questions that run at the same time. */
function createPlaces(maxAtOnce: number) {
  const taken = new Map<string, number>();
  let total = 0;
  return { take };

  /** Gives the way to give the place back, or null when there is none. */
  function take(projectId: string): (() => void) | null {
    const own = taken.get(projectId) ?? 0;
    if (total >= maxAtOnce || own >= MAX_AT_ONCE_OF_A_PROJECT) return null;
    total += 1;
    taken.set(projectId, own + 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      total -= 1;
      const left = taken.get(projectId)! - 1;
      if (left === 0) taken.delete(projectId);
      else taken.set(projectId, left);
    };
  }
}
