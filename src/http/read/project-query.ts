/**
 * SQL queries about one project: `POST …/query` streams the rows, `GET …/schema` says what can be queried. The
 * credential alone decides whose rows are visible; the id in the path must agree with it.
 */
import type { Context, Handler } from 'hono';
import type { Flags } from '../../pipeline/flags.ts';
import { authorizeReader } from '../access/auth.ts';
import { nodeBody } from '../request/door-request.ts';
import { bodyLimits, readBody } from '../request/body.ts';
import type { Credentials } from '../access/credentials.ts';
import { type Refusal, isRefusal } from '../answers/refusals.ts';
import { refuse } from '../answers/refusal-reply.ts';
import { nodeOf } from '../description/route.ts';
import { watchForDeparture } from './departed-client.ts';
import { MAX_BODY_BYTES, type ReadLimits, type VisitDeps, type Visitor, createVisits, sqlIn } from './visits.ts';

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
    const answer = await visits.query(visitorOf(c, projectId), sql);
    return isRefusal(answer) ? refuse(c, answer) : c.body(answer, 200, { 'Content-Type': 'application/json' });
  }

  async function schema(c: Context): Promise<Response> {
    const projectId = await admitted(c);
    if (typeof projectId !== 'string') return refuse(c, projectId);
    const found = await visits.schema(visitorOf(c, projectId));
    return isRefusal(found) ? refuse(c, found) : c.json(found);
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

  function visitorOf(c: Context, projectId: string): Visitor {
    const { outgoing } = nodeOf(c);
    watchForDeparture(nodeOf(c), clock);
    const gone = new AbortController();
    // Also when all of the answer was sent: nobody listens any more.
    outgoing.once('close', () => gone.abort());
    return {
      requestId: c.get('requestId') as string,
      projectId,
      left: gone.signal,
      cut: () => void outgoing.destroy(),
    };
  }
}

const NOT_THIS_PROJECT: Refusal = { refused: 'forbidden', message: 'this token does not belong to that project' };

const BODY_LIMITS = bodyLimits({ maxBytes: MAX_BODY_BYTES });

/** The query in the body; null when the client disconnected before its end. */
async function sqlOf(c: Context): Promise<string | Refusal | null> {
  const { incoming } = nodeOf(c);
  // Small, and few at a time: not worth a reservation in the channel.
  const body = await readBody(
    { headers: incoming.headers, body: nodeBody(incoming) },
    { grow: () => true, release: () => {} },
    BODY_LIMITS,
  );
  if (body === 'aborted') return null;
  return isRefusal(body) ? body : sqlIn(body.bytes);
}
