/** Everything that Weir serves over HTTP: the front doors, every other route, and the answers when nothing matches. */
import { RequestError, getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import type { Handler, MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { createDoorRouter, listenerFor, placeOf } from './ingest/door-router.ts';
import type { Door } from './ingest/doors/door.ts';
import { doorRoutes } from './ingest/door-operation.ts';
import { nativeDoor } from './ingest/doors/native.ts';
import { ndjsonDoor } from './ingest/doors/ndjson.ts';
import { productDoors } from './ingest/doors/product.ts';
import { sdkDoors } from './ingest/doors/sdk-doors.ts';
import { webDoor } from './ingest/doors/web.ts';
import { clientSettings, settingsTarget } from './client-settings.ts';
import { ga4Debug } from './ga4-debug.ts';
import { countsOperation } from './read/event-counts-operation.ts';
import { type EventCountsDeps, eventCounts } from './read/event-counts.ts';
import { type AnswerHeaders, REQUEST_ID, audienceAt, createAnswerHeaders } from './answers/common-headers.ts';
import { type HealthDeps, healthRoutes } from './health/health.ts';
import type { IngestDeps, IngestOptions } from './ingest/ingest.ts';
import { metricsPage } from './health/metrics-page.ts';
import { describedRoutes } from './description/openapi.ts';
import { queryOperation, schemaOperation } from './read/project-query-operations.ts';
import { type ProjectQueryDeps, projectQuery } from './read/project-query.ts';
import type { ReadLimits } from './read/visits.ts';
import { type RefusalCode } from './answers/refusals.ts';
import { REFUSED, bareReplyTo, refuse } from './answers/refusal-reply.ts';
import { ANY_ROUTE, type DoorRoute, type ObserveRequest, type Route, type RouteKind } from './description/route.ts';
import type { Served } from './listener/server.ts';

export type AppDeps = {
  readonly ingest: IngestDeps;
  readonly health: HealthDeps;
  readonly countEvents: EventCountsDeps['countEvents'];
  readonly query: ProjectQueryDeps;
  /** The metrics page in Prometheus text. */
  readonly metricsText: (withProcess: boolean) => Promise<string>;
  readonly newRequestId: () => string;
  readonly onRequest: ObserveRequest;
  readonly log: Log;
};

export type AppOptions = {
  readonly ingest: IngestOptions;
  readonly query: ReadLimits;
  readonly allowedOrigins: readonly string[];
  readonly depth503Threshold: number;
  /** The token that the metrics page requires; null for none. */
  readonly metricsToken: string | null;
};

type Env = { Variables: { requestId: string; [REFUSED]?: RefusalCode }; Bindings: { incoming: IncomingMessage } };

/** The front doors. To add one, add a file and name it here. */
const DOORS: readonly Door[] = [nativeDoor, ndjsonDoor, ...productDoors, webDoor, ...sdkDoors];

export { DOORS };

/** Answers every request. */
export function createApp(deps: AppDeps, options: AppOptions): Served {
  const { onRequest, log } = deps;
  const { flags } = deps.ingest;
  const answerHeaders = createAnswerHeaders({ flags, newRequestId: deps.newRequestId }, options);
  const routes = routesOf(deps, options);
  const { clock } = deps.ingest;
  const answer = getRequestListener(webApp(routes, answerHeaders, { onRequest, clock, log }).fetch, {
    // For clients of HTTP/1.0, which may omit the host; nothing depends on the name.
    hostname: 'localhost',
    errorHandler: (error) => answerWithout(error, log),
  });
  const doorRouter = createDoorRouter(
    new Map(routes.filter(isDoor).map((route) => [placeOf(route.method, route.path), route])),
    {
      answerHeaders,
      onRequest,
      clock,
      log,
    },
  );
  // Never rejects: an error is answered, or the connection ends.
  const others: RequestListener = (incoming, outgoing) => {
    incoming.url = settingsTarget(incoming.url!);
    void answer(incoming, outgoing);
  };
  return { doorRouter, listener: listenerFor(doorRouter, { others, clock }) };
}

const isDoor = (route: Route): route is DoorRoute => 'receive' in route;

type ObserveDeps = Pick<AppDeps, 'onRequest' | 'log'> & { readonly clock: Pick<Clock, 'elapsed'> };

/** Everything but the front doors. */
function webApp(routes: readonly Route[], answerHeaders: AnswerHeaders, deps: ObserveDeps): Hono<Env> {
  const app = new Hono<Env>();
  app.use(observe(routes, answerHeaders, deps));
  app.options('*', (c) => {
    const isForPages = audienceAt(c.req.path) !== 'machine';
    return c.body(null, 204, isForPages ? answerHeaders.preflight(c.env.incoming.headers) : {});
  });
  for (const route of routes) if (!isDoor(route)) app.on(route.method, route.path, route.handler);

  // Behind every handler: a request that gets here has the right path and the wrong method.
  for (const [path, known] of Map.groupBy(routes, ({ path }) => path)) app.all(path, wrongMethod(known));
  app.notFound((c) => refuse(c, { refused: 'not_found' }));
  app.onError((error, c) => {
    deps.log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

/** For requests that do not even reach the app: an invalid address, or a bug around it. */
function answerWithout(error: unknown, log: Log): Response {
  const refused: RefusalCode = error instanceof RequestError ? 'invalid_request' : 'internal';
  if (refused === 'internal') log.error({ err: error }, 'request failed');
  const { status, headers, body } = bareReplyTo(refused);
  return new Response(body, { status, headers });
}

/** Every route of the app. */
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
  const doors = DOORS.flatMap((door) => doorRoutes(door, deps.ingest, options.ingest));
  const routes = [
    ...doors,
    counts,
    ...questions,
    ...clientSettings({ newId: deps.ingest.newEventId }),
    ga4Debug(deps.ingest, options.ingest),
    ...healthRoutes(health, options),
    metricsPage(metricsText, { clock: deps.ingest.clock, token: options.metricsToken }),
  ];
  return describedRoutes(routes, health);
}

function wrongMethod(routes: readonly Route[]): Handler {
  const methods = routes.flatMap((route) =>
    route.method === 'GET' && !isDoor(route) ? ['GET', 'HEAD'] : [route.method],
  );
  const allowed = [...methods, 'OPTIONS'].join(', ');
  return (c) => {
    c.header('Allow', allowed);
    return refuse(c, { refused: 'method_not_allowed' });
  };
}

/** Sets the headers that every answer carries, and records one observation per request. */
function observe(
  routes: readonly Route[],
  answerHeaders: AnswerHeaders,
  { onRequest, clock, log }: ObserveDeps,
): MiddlewareHandler<Env> {
  const probes = new Set(routes.filter((route) => !isDoor(route) && route.isProbe).map(({ path }) => path));
  const kinds = new Map(routes.map(({ path, operation }) => [path, KINDS[operation.tag]]));
  return async (c, next) => {
    const { headers } = c.env.incoming;
    const startedAt = clock.elapsed();
    const requestId = answerHeaders.requestId(headers);
    c.set('requestId', requestId);
    await next();
    const { method, path } = c.req;
    // The route pattern, so that ids in paths do not become names of metrics.
    const found = routePath(c, -1);
    const route = found === EVERY_PATH ? ANY_ROUTE : found;
    const kind = kinds.get(route) ?? 'other';
    const audience = kind === 'ingest' || kind === 'read' ? 'private' : audienceAt(path);
    // Set through the context, every header would wrap the body again, in a stream that copies it.
    for (const [name, value] of answerHeaders.common(headers, audience).list) {
      // An answer may have several `Vary` headers; all others occur once.
      if (name === 'Vary') c.res.headers.append(name, value);
      else c.res.headers.set(name, value);
    }
    c.res.headers.set(REQUEST_ID, requestId);
    const elapsedMs = clock.elapsed() - startedAt;
    onRequest({ method, route, kind, status: c.res.status, elapsedMs, refused: c.get(REFUSED) ?? null });
    if (!probes.has(path)) log.debug({ requestId, method, route, status: c.res.status }, 'request answered');
  };
}

const EVERY_PATH = '/*';

const KINDS: Readonly<Record<Route['operation']['tag'], RouteKind>> = {
  Events: 'ingest',
  Clients: 'other',
  Reading: 'read',
  Health: 'health',
  Description: 'other',
};
