/** All HTTP surfaces on one app: what every request passes, the routes, and the answers when nothing fits. */
import { Hono } from 'hono';
import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import type { Log } from '../log.ts';
import { nativeDoor } from './doors/native.ts';
import { type HealthDeps, healthRoutes } from './health.ts';
import { type Door, type IngestDeps, type IngestOptions, ingest } from './ingest.ts';
import { refuse } from './refusals.ts';

export type RequestObservation = { readonly method: string; readonly route: string; readonly status: number };

export type AppDeps = {
  readonly ingest: IngestDeps;
  readonly health: HealthDeps;
  /** The metrics page in Prometheus text. */
  readonly metricsText: () => Promise<string>;
  readonly newRequestId: () => string;
  readonly onRequest: (observation: RequestObservation) => void;
  readonly log: Log;
};

export type AppOptions = {
  readonly ingest: IngestOptions;
  readonly allowedOrigins: readonly string[];
  readonly depth503Threshold: number;
};

type Env = { Variables: { requestId: string } };

/** The front doors. Adding one is adding a file and naming it here. */
const DOORS: readonly Door[] = [nativeDoor];

/** Every path outside the front doors and the methods it takes, for an honest 405. */
const OTHER_PATHS = [
  '/healthz',
  '/health',
  '/health/live',
  '/livez',
  '/health/ready',
  '/readyz',
  '/ready',
  '/internal/metrics',
] as const;

export function createApp(deps: AppDeps, options: AppOptions): Hono<Env> {
  const app = new Hono<Env>();
  const methods = new Map<string, string>(OTHER_PATHS.map((path) => [path, 'GET, HEAD, OPTIONS']));
  for (const { path } of DOORS) methods.set(path, 'POST, OPTIONS');

  app.use(observe(deps, methods), corsFor(options.allowedOrigins));
  for (const door of DOORS) app.post(door.path, ingest(door, deps.ingest, options.ingest));
  app.route('/', healthRoutes(deps.health, options));
  app.get('/internal/metrics', async (c) =>
    c.text(await deps.metricsText(), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );

  app.notFound((c) => {
    const allowed = methods.get(c.req.path);
    if (allowed === undefined) return refuse(c, { refused: 'not_found' });
    c.header('Allow', allowed);
    return refuse(c, { refused: 'method_not_allowed' });
  });
  app.onError((error, c) => {
    deps.log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

/** Request id, the headers every answer carries, and one observation a request. */
function observe(
  { newRequestId, onRequest, log, ingest: { flags } }: AppDeps,
  routes: ReadonlyMap<string, string>,
): MiddlewareHandler<Env> {
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
    const route = routes.has(path) ? path : 'other';
    onRequest({ method, route, status: c.res.status });
    if (!isProbe(path)) log.debug({ requestId, method, route, status: c.res.status }, 'request answered');
  };
}

const WELL_FORMED_ID = /^[\w.:@/+=-]{1,128}$/;
const isProbe = (path: string) => OTHER_PATHS.some((probe) => probe === path);

function corsFor(allowedOrigins: readonly string[]): MiddlewareHandler<Env> {
  return cors({
    origin: allowedOrigins.length === 0 ? '*' : [...allowedOrigins],
    allowMethods: ['GET', 'POST', 'OPTIONS'],
    allowHeaders: ['Authorization', 'Content-Type', 'Content-Encoding', 'X-Api-Key', 'X-Request-Id', 'Idempotency-Key'],
    exposeHeaders: ['Retry-After', 'X-Request-Id', 'Weir-Ack'],
    maxAge: 86_400,
  });
}
