/** Everything that the console serves over HTTP, put together. */
import { Hono, type MiddlewareHandler } from 'hono';
import type { Log } from '../log/log.ts';
import type { Clock } from '../runtime/clock.ts';
import type { ConsoleEnv } from './env.ts';
import { refusalOf, refuse } from './refusals.ts';
import { READING_POSTS } from './operator/operator-routes.ts';
import { type ConsoleAddress, knownHost, ownPage } from './session/own-page.ts';
import { boundedBody, onlyJson } from './session/request-bodies.ts';
import { rememberSessions } from './session/remembered-sessions.ts';
import { type SignInDeps, sessionRoutes, signInRoute } from './session/session-routes.ts';
import { signedIn } from './session/signed-in.ts';

export type ConsoleAppDeps = {
  readonly address: ConsoleAddress;
  readonly signIn: SignInDeps;
  /** The routes of the operator API, relative to its path: behind the check of the session, all of them. */
  readonly families: readonly Hono<ConsoleEnv>[];
  /** The page and its files. */
  readonly page: Hono<ConsoleEnv>;
  readonly clock: Pick<Clock, 'elapsed' | 'sleep'>;
  readonly newRequestId: () => string;
  readonly log: Log;
};

const API = '/api/v1/operator';

/** Nothing but the page's own files may run in it, nobody may frame it, and nothing of it leaves with a link. */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

/** Answers every request of the console. */
export function createConsoleApp(deps: ConsoleAppDeps): Hono<ConsoleEnv> {
  const { address, signIn, clock, log } = deps;
  const app = new Hono<ConsoleEnv>();
  app.use(everyAnswer(deps.newRequestId), knownHost(address));
  app.use(`${API}/*`, ownPage(address), onlyJson, boundedBody);
  const sessions = rememberSessions(signIn.sessions, { clock });
  app.route(API, signInRoute({ ...signIn, sessions }));
  const readingPosts = READING_POSTS.map((path) => `${API}${path}`);
  app.use(`${API}/*`, signedIn({ sessions, clock, showEvents: signIn.showEvents, readingPosts }));
  for (const family of [sessionRoutes({ ...signIn, sessions }), ...deps.families]) app.route(API, family);
  app.route('/', deps.page);
  answerOtherMethods(app);
  app.notFound((c) => refuse(c, { refused: 'not_found' }));
  app.onError((error, c) => {
    const refusal = refusalOf(error);
    if (refusal !== null) return refuse(c, refusal);
    // Nobody reads the answer.
    if (isGone(error)) return refuse(c, { refused: 'invalid_request' });
    log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request to the console failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

/** Whether the client ended its request before it was whole, as Node says it. */
const isGone = (error: Error): boolean => error.message === 'aborted' && 'code' in error && error.code === 'ECONNRESET';

/** Behind every handler: a request that gets there has the right path and the wrong method. */
function answerOtherMethods(app: Hono<ConsoleEnv>): void {
  const routes = app.routes.filter(({ method, path }) => method !== 'ALL' && !path.endsWith('*'));
  for (const [path, known] of Map.groupBy(routes, ({ path }) => path)) {
    const methods = known.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    const allowed = [...new Set(methods)].join(', ');
    app.all(path, (c) => {
      c.header('Allow', allowed);
      return refuse(c, { refused: 'method_not_allowed' });
    });
  }
}

function everyAnswer(newRequestId: () => string): MiddlewareHandler<ConsoleEnv> {
  return async (c, next) => {
    const requestId = newRequestId();
    c.set('requestId', requestId);
    await next();
    // Hono answers HEAD as GET and drops the body, whose source would wait for a reader that never comes.
    if (c.req.method === 'HEAD') await c.res.body?.cancel();
    c.res.headers.set('X-Request-Id', requestId);
    for (const [name, value] of Object.entries(HEADERS)) {
      // Only files whose names change with their contents say something else: that they may be kept.
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    }
  };
}
