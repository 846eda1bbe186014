/** All HTTP surfaces: the front doors, every other route, and the answers when nothing fits. */
import { RequestError, getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import type { Handler, MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Log } from '../log.ts';
import { createDoorway, listenerFor } from './doorway.ts';
import type { Door } from './doors/door.ts';
import { operationOf } from './doors/operation.ts';
import { nativeDoor } from './doors/native.ts';
import { ndjsonDoor } from './doors/ndjson.ts';
import { productBulkDoor, productDoor } from './doors/product.ts';
import { webDoor } from './doors/web.ts';
import { countsOperation } from './event-counts-operation.ts';
import { type EventCountsDeps, eventCounts } from './event-counts.ts';
import { type EveryAnswer, REQUEST_ID, createEveryAnswer } from './every-answer.ts';
import { pageOperation } from './health-operations.ts';
import { type HealthDeps, healthRoutes } from './health.ts';
import { type IngestDeps, type IngestOptions, ingest } from './ingest.ts';
import { describedRoutes } from './openapi.ts';
import { queryOperation, schemaOperation } from './project-query-operations.ts';
import { type ProjectQueryDeps, type ReadLimits, projectQuery } from './project-query.ts';
import { type RefusalCode, bareReplyTo, refuse } from './refusals.ts';
import { ANY_ROUTE, type DoorRoute, type ObserveRequest, type Route } from './route.ts';
import type { Served } from './server.ts';

export type AppDeps = {
  readonly ingest: IngestDeps;
  readonly health: HealthDeps;
  readonly countEvents: EventCountsDeps['countEvents'];
  readonly query: ProjectQueryDeps;
  /** The metrics page in Prometheus text. */
  readonly metricsText: () => Promise<string>;
  readonly newRequestId: () => string;
  readonly onRequest: ObserveRequest;
  readonly log: Log;
};

export type AppOptions = {
  readonly ingest: IngestOptions;
  readonly query: ReadLimits;
  readonly allowedOrigins: readonly string[];
  readonly depth503Threshold: number;
};

type Env = { Variables: { requestId: string }; Bindings: { incoming: IncomingMessage } };

/** The front doors. Adding one is adding a file and naming it here. */
const DOORS: readonly Door[] = [nativeDoor, ndjsonDoor, productDoor, productBulkDoor, webDoor];

/** Answers every request. */
export function createApp(deps: AppDeps, options: AppOptions): Served {
  const { onRequest, log } = deps;
  const { flags } = deps.ingest;
  const everyAnswer = createEveryAnswer({ flags, newRequestId: deps.newRequestId }, options);
  const routes = routesOf(deps, options);
  const answer = getRequestListener(webApp(routes, everyAnswer, { onRequest, log }).fetch, {
    // For clients of HTTP/1.0, which may name no host; nothing depends on the name.
    hostname: 'localhost',
    errorHandler: (error) => answerWithout(error, log),
  });
  const doorway = createDoorway(new Map(routes.filter(isDoor).map(({ path, receive }) => [path, receive])), {
    everyAnswer,
    onRequest,
    log,
  });
  // Never rejects: what goes wrong is answered, or the connection ends.
  const others: RequestListener = (incoming, outgoing) => void answer(incoming, outgoing);
  return { doorway, listener: listenerFor(doorway, { others, clock: deps.ingest.clock }) };
}

const isDoor = (route: Route): route is DoorRoute => 'receive' in route;

/** Everything but the front doors. */
function webApp(
  routes: readonly Route[],
  everyAnswer: EveryAnswer,
  { onRequest, log }: Pick<AppDeps, 'onRequest' | 'log'>,
): Hono<Env> {
  const app = new Hono<Env>();
  app.use(observe(routes, everyAnswer, { onRequest, log }));
  app.options('*', (c) => c.body(null, 204, everyAnswer.preflight));
  for (const route of routes) if (!isDoor(route)) app.on(route.method, route.path, route.handler);

  // Behind every handler: whoever comes here has the path right and the method wrong.
  for (const [path, known] of Map.groupBy(routes, ({ path }) => path)) app.all(path, wrongMethod(known));
  app.notFound((c) => refuse(c, { refused: 'not_found' }));
  app.onError((error, c) => {
    log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

/** For what does not even reach the app: an address that is none, or a bug around it. */
function answerWithout(error: unknown, log: Log): Response {
  const refused: RefusalCode = error instanceof RequestError ? 'invalid_request' : 'internal';
  if (refused === 'internal') log.error({ err: error }, 'request failed');
  const { status, headers, body } = bareReplyTo(refused);
  return new Response(body, { status, headers });
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
    const receive = ingest(door, deps.ingest, options.ingest);
    return { method: 'POST', path: door.path, receive, operation: operationOf(door) };
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

/** The headers every answer carries, and one observation a request. */
function observe(
  routes: readonly Route[],
  everyAnswer: EveryAnswer,
  { onRequest, log }: Pick<AppDeps, 'onRequest' | 'log'>,
): MiddlewareHandler<Env> {
  const probes = new Set(routes.filter((route) => !isDoor(route) && route.isProbe).map(({ path }) => path));
  return async (c, next) => {
    const { headers } = c.env.incoming;
    const requestId = everyAnswer.requestId(headers);
    c.set('requestId', requestId);
    await next();
    for (const [name, value] of everyAnswer.common(headers).list) c.header(name, value);
    c.header(REQUEST_ID, requestId);
    const { method, path } = c.req;
    // The pattern, so that ids in paths do not become names of metrics.
    const found = routePath(c, -1);
    const route = found === EVERY_PATH ? ANY_ROUTE : found;
    onRequest(method, route, c.res.status);
    if (!probes.has(path)) log.debug({ requestId, method, route, status: c.res.status }, 'request answered');
  };
}

const EVERY_PATH = '/*';
