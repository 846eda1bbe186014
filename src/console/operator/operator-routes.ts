/** The operator API: everything that the command line does for dead letters, rejected events, switches and projects. */
import { Hono } from 'hono';
import type { ConsoleEnv } from '../env.ts';
import { refusalOf, refuse } from '../refusals.ts';
import { askRoutes } from './ask-routes.ts';
import type { DescribedRoute } from './described.ts';
import { jobRoutes } from './job-routes.ts';
import { ledgerRoutes } from './ledger-routes.ts';
import { letterActions } from './letter-actions.ts';
import { letterRoutes } from './letter-routes.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { projectRoutes } from './project-routes.ts';
import { rejectedRoutes } from './rejected-routes.ts';
import type { OperatorRoute } from './route.ts';
import { explainError } from './store-errors.ts';
import { switchRoutes } from './switch-routes.ts';
import { tokenRoutes } from './token-routes.ts';

/** POSTs that change nothing, by path: a viewer may send them. */
export const READING_POSTS: readonly string[] = ['/letters/count', '/letters/try', '/projects/:id/query'];

/** What is open to a viewer besides GET is held to `READING_POSTS` by a test. */
export function describedRoutes(deps: OperatorDeps): OperatorRoute[] {
  return [
    ...letterRoutes(deps),
    ...letterActions(deps),
    ...jobRoutes(deps),
    ...switchRoutes(deps),
    ...rejectedRoutes(deps),
    ...projectRoutes(deps),
    ...tokenRoutes(deps),
    ...askRoutes(deps),
    ...ledgerRoutes(deps),
  ];
}

/** Routes relative to the operator API, behind the check of the session: handlers find the operator in their context. */
export function operatorRoutes(deps: OperatorDeps): Hono<ConsoleEnv> {
  const { log } = deps;
  const app = new Hono<ConsoleEnv>();
  const routes = describedRoutes(deps);
  for (const { method, path, handler } of routes) app.on(method, path, handler);
  app.get('/openapi.json', async (c) => c.json(await description([...routes, ...deps.others, SELF])));
  app.onError((error, c) => {
    const refusal = refusalOf(error);
    if (refusal !== null) return refuse(c, refusal);
    const message = explainError(error);
    if (message !== null) return refuse(c, { refused: 'store_unavailable', message });
    log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request to the console failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;

  /** Loaded when somebody asks for it. */
  async function description(all: readonly DescribedRoute[]) {
    const { describeConsole } = await import('./openapi.ts');
    return describeConsole(all, deps);
  }
}

const SELF: DescribedRoute = {
  method: 'GET',
  path: '/openapi.json',
  tag: 'Description',
  summary: 'This description.',
  answers: { 200: { description: 'An OpenAPI document.' } },
  refusals: [],
};
