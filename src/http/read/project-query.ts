/**
 * SQL queries about one project: `POST …/query` streams the rows, `GET …/schema` says what can be queried. The
 * credential alone decides whose rows are visible; the id in the path must agree with it.
 */
import type { Context, Handler } from 'hono';
import type { Flags } from '../../pipeline/flags.ts';
import { authorizeReader } from '../access/auth.ts';
import { nodeBody } from '../request/door-request.ts';
import { readBody } from '../request/body.ts';
import type { Credentials } from '../access/credentials.ts';
import { jsonAnswer } from './query-answer.ts';
import { type Refusal, isRefusal } from '../answers/refusals.ts';
import { refuse } from '../answers/refusal-reply.ts';
import { nodeOf } from '../description/route.ts';
import { watchForDeparture } from './departed-client.ts';
import {
  MAX_BODY_BYTES,
  type ReadLimits,
  STALL_MS,
  type VisitDeps,
  type Visitor,
  createVisits,
  sqlIn,
} from './visits.ts';

export type ProjectQueryDeps = VisitDeps & { readonly credentials: Credentials; readonly flags: Flags };

/** Both handlers, which share the slots. */
export function projectQuery(deps: ProjectQueryDeps, limits: ReadLimits): { query: Handler; schema: Handler } {
  const { credentials, flags, clock } = deps;
  const visits = createVisits(deps, limits);
  return { query, schema };

  async function query(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    const sql = await sqlOf(c);
    // The client has disconnected: the status is only counted.
    if (sql === null) return c.body(null, 400);
    if (typeof sql !== 'string') return refuse(c, sql);
    const { visitor, forget } = visitorOf(c, projectId);
    try {
      const answer = await visits.query(visitor, sql);
      if (isRefusal(answer)) {
        forget();
        return refuse(c, answer);
      }
      const stream = jsonAnswer(answer, {
        maxRows: limits.maxRows,
        maxBytes: limits.maxResultBytes,
        elapsedMs: answer.elapsedMs,
        stalled: (taken) => clock.sleep(STALL_MS, taken),
        cut: visitor.cut,
        onEnd(summary) {
          answer.end(summary);
          forget();
        },
      });
      return c.body(stream, 200, { 'Content-Type': 'application/json' });
    } catch (error) {
      forget();
      throw error;
    }
  }

  async function schema(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    const { visitor, forget } = visitorOf(c, projectId);
    try {
      const found = await visits.schema(visitor);
      return isRefusal(found) ? refuse(c, found) : c.json(found);
    } finally {
      forget();
    }
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

  /** Whoever sent the request; `forget` when the answer is over. */
  function visitorOf(c: Context, projectId: string): { visitor: Visitor; forget: () => void } {
    const { outgoing } = nodeOf(c);
    watchForDeparture(nodeOf(c), clock);
    const gone = new AbortController();
    const abort = () => gone.abort();
    outgoing.once('close', abort);
    const visitor = {
      requestId: c.get('requestId') as string,
      projectId,
      left: gone.signal,
      cut: () => void outgoing.destroy(),
    };
    return { visitor, forget: () => void outgoing.off('close', abort) };
  }
}

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
  return isRefusal(body) ? body : sqlIn(body.bytes);
}
