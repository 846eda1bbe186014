/** All HTTP surfaces on one app: what every request passes, the routes, and the answers when nothing fits. */
import { Hono } from 'hono';
import type { Handler, MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { routePath } from 'hono/route';
import type { Log } from '../log.ts';
import type { Door } from './doors/door.ts';
import { operationOf } from './doors/operation.ts';
import { nativeDoor } from './doors/native.ts';
import { ndjsonDoor } from './doors/ndjson.ts';
import { productBulkDoor, productDoor } from './doors/product.ts';
import { webDoor } from './doors/web.ts';
import { countsOperation } from './event-counts-operation.ts';
import { type EventCountsDeps, eventCounts } from './event-counts.ts';
import { pageOperation } from './health-operations.ts';
import { type HealthDeps, healthRoutes } from './health.ts';
import { type IngestDeps, type IngestOptions, ingest } from './ingest.ts';
import { describedRoutes } from './openapi.ts';
import { queryOperation, schemaOperation } from './project-query-operations.ts';
import { type ProjectQueryDeps, type ReadLimits, projectQuery } from './project-query.ts';
import { refuse } from './refusals.ts';
import type { Route } from './route.ts';

export type RequestObservation = { readonly method: string; readonly route: string; readonly status: number };

export type AppDeps = {
  readonly ingest: IngestDeps;
  readonly health: HealthDeps;
  readonly countEvents: EventCountsDeps['countEvents'];
  readonly query: ProjectQueryDeps;
  /** The metrics page in Prometheus text. */
  readonly metricsText: () => Promise<string>;
  readonly newRequestId: () => string;
  readonly onRequest: (observation: RequestObservation) => void;
  readonly log: Log;
};

export type AppOptions = {
  readonly ingest: IngestOptions;
  readonly query: ReadLimits;
  readonly allowedOrigins: readonly string[];
  readonly depth503Threshold: number;
};

type Env = { Variables: { requestId: string } };

/** The front doors. Adding one is adding a file and naming it here. */
const DOORS: readonly Door[] = [nativeDoor, ndjsonDoor, productDoor, productBulkDoor, webDoor];

export function createApp(deps: AppDeps, options: AppOptions): Hono<Env> {
  const app = new Hono<Env>();
  const routes = routesOf(deps, options);
  app.use(observe(deps, routes), corsFor(options.allowedOrigins));
  for (const { method, path, handler } of routes) app.on(method, path, handler);

  // Behind every handler: whoever comes here has the path right and the method wrong.
  for (const [path, known] of Map.groupBy(routes, ({ path }) => path)) app.all(path, wrongMethod(known));
  app.notFound((c) => refuse(c, { refused: 'not_found' }));
  app.onError((error, c) => {
    deps.log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

/** Every route there is. */
export function routesOf(deps: AppDeps, options: AppOptions): readonly Route[] {
  const { countEvents, health, log, metricsText } = deps;
  const counts: Route = {
    method: 'GET',
    path: '/metrics',
    handler: eventCounts({ ...deps.ingest, countEvents, log }),
    operation: countsOperation,
  };
  const { query, schema } = projectQuery(deps.query, options.query);
  const questions: readonly Route[] = [
    { method: 'POST', path: '/api/v1/projects/:id/query', handler: query, operation: queryOperation },
    { method: 'GET', path: '/api/v1/projects/:id/schema', handler: schema, operation: schemaOperation },
  ];
  const doors = DOORS.map(doorRoute);
  const routes = [...doors, counts, ...questions, ...healthRoutes(health, options), metricsPage()];
  return describedRoutes(routes, health);

  function metricsPage(): Route {
    const contentType = { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' };
    const handler: Handler = async (c) => c.text(await metricsText(), 200, contentType);
    return { method: 'GET', path: '/internal/metrics', handler, isProbe: true, operation: pageOperation };
  }

  function doorRoute(door: Door): Route {
    const handler = ingest(door, deps.ingest, options.ingest);
    return { method: 'POST', path: door.path, handler, operation: operationOf(door) };
  }
}

function wrongMethod(routes: readonly { method: string }[]): Handler {
  const methods = routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  const allowed = [...methods, 'OPTIONS'].join(', ');
  return (c) => {
    c.header('Allow', allowed);
    return refuse(c, { refused: 'method_not_allowed' });
  };
}

/** Request id, the headers every answer carries, and one observation a request. */
function observe(
  { newRequestId, onRequest, log, ingest: { flags } }: AppDeps,
  routes: readonly Route[],
): MiddlewareHandler<Env> {
  const probes = new Set(routes.filter(({ isProbe }) => isProbe).map(({ path }) => path));
  return async (c, next) => {
    const given = c.req.header('x-request-id');
    const requestId = given !== undefined && WELL_FORMED_ID.test(given) ? given : newRequestId();
    c.set('requestId', requestId);
    c.header('X-Request-Id', requestId);
    c.header('X-Content-Type-Options', 'nosniff');
    await next();
    // A client that keeps its connection would keep sending here.
    if (flags.facts().intake === 'draining') c.header('Connection', 'close');
    const { method, path } = c.req;
    // The pattern, so that ids in paths do not become names of metrics.
    const found = routePath(c, -1);
    const route = found === EVERY_PATH ? 'other' : found;
    onRequest({ method, route, status: c.res.status });
    if (!probes.has(path)) log.debug({ requestId, method, route, status: c.res.status }, 'request answered');
  };
}

const WELL_FORMED_ID = /^[\w.:@/+=-]{1,128}$/;
const EVERY_PATH = '/*';

function corsFor(allowedOrigins: readonly string[]): MiddlewareHandler<Env> {
  return cors({
    origin: allowedOrigins.length === 0 ? '*' : [...allowedOrigins],
    allowMethods: ['GET', 'POST', 'OPTIONS'],
    allowHeaders: ['Authorization', 'Content-Type', 'Content-Encoding', 'X-Api-Key', 'X-Request-Id', 'Idempotency-Key'],
    exposeHeaders: ['Retry-After', 'X-Request-Id', 'Weir-Ack'],
    maxAge: 86_400,
  });
}
