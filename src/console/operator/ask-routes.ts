/** Asking SQL about a project: what its clients may ask with a secret token, in the same limits. */
import type { Context } from 'hono';
import * as v from 'valibot';
import { isRefusal } from '../../http/answers/refusals.ts';
import { MAX_BODY_BYTES, type Visitor } from '../../http/read/visits.ts';
import { findProject } from '../../operations/find-project.ts';
import type { ConsoleEnv } from '../env.ts';
import { refuse } from '../refusals.ts';
import { cutOff } from './cut-off.ts';
import { type OperatorDeps, eventsOf } from './operator-deps.ts';
import { type OperatorRoute, rawRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

const Question = v.strictObject({
  sql: v.pipe(v.string('must be a text'), v.maxBytes(MAX_BODY_BYTES, `must have at most ${MAX_BODY_BYTES} bytes`)),
});

export function askRoutes(deps: OperatorDeps): OperatorRoute[] {
  const { db, recipes } = deps;
  const tag = 'Ask';
  return [
    route({
      method: 'GET',
      path: '/cookbook',
      tag,
      summary: 'Questions of product people, each with its SQL.',
      answer: schemas.Cookbook,
      says: 'Those of docs/QUERIES.md, in the SQL of this store.',
      handle: async () => ({ recipes: [...recipes] }),
    }),
    rawRoute({
      method: 'GET',
      path: '/projects/:id/schema',
      tag,
      summary: 'List what can be queried in SQL.',
      description:
        'As the project endpoint. `events` is empty for whoever may not see the contents of events: clients chose those names.',
      answers: { 200: { description: 'Tables, names of events, limits.', schema: schemas.ProjectSchema } },
      refusals: ['not_found', 'too_many_queries', 'store_unavailable', 'query_refused'],
      async answer({ c, id, operator }) {
        const { visits } = eventsOf(deps);
        await findProject(db, id);
        const found = await visits.schema(visitorOf(c, id));
        if (isRefusal(found)) return refuse(c, asOwn(found));
        // As in the live view. The columns are the operators' choice, those of promoted properties too.
        return c.json(operator.showsEvents ? found : { ...found, events: [] });
      },
    }),
    rawRoute({
      method: 'POST',
      path: '/projects/:id/query',
      tag,
      summary: 'Query a project’s events in SQL.',
      description:
        'Body, limits and answer are those of the project endpoint. Needs the right to see contents of events.',
      isReading: true,
      body: Question,
      answers: {
        200: {
          description: 'The rows, streamed as they are found; one without `stats` was cut off.',
          schema: schemas.QueryAnswer,
        },
      },
      refusals: ['forbidden', 'not_found', 'query_refused', 'too_many_queries', 'store_unavailable'],
      async answer({ c, id, body: { sql }, operator }) {
        const { visits } = eventsOf(deps);
        if (!operator.showsEvents) {
          return refuse(c, {
            refused: 'forbidden',
            message: 'answers hold the values of events, which are hidden from you (CONSOLE_SHOW_EVENTS)',
          });
        }
        await findProject(db, id);
        const answer = await visits.query(visitorOf(c, id), sql);
        if (isRefusal(answer)) return refuse(c, asOwn(answer));
        return c.body(answer, 200, { 'Content-Type': 'application/json' });
      },
    }),
  ];
}

/** Refusals of reading, by the names that they have here. */
type Read = { readonly refused: string; readonly message?: string; readonly details?: readonly object[] };

function asOwn({ refused, message, details }: Read): Parameters<typeof refuse>[1] {
  const more = { ...(message !== undefined && { message }), ...(details !== undefined && { details }) };
  if (refused === 'too_many_queries') return { refused, ...more, retryAfterS: 1 };
  if (refused === 'store_unavailable') return { refused, ...more, retryAfterS: 5 };
  return { refused: 'query_refused', ...more };
}

function visitorOf(c: Context<ConsoleEnv>, projectId: string): Visitor {
  return { requestId: c.get('requestId'), projectId, left: c.req.raw.signal, cut: () => cutOff(c) };
}
