/** Everything that the console serves over HTTP, put together. */
import { Hono, type MiddlewareHandler } from 'hono';
import type { Log } from '../log/log.ts';
import type { ConsoleEnv } from './env.ts';
import { refusalOf, refuse } from './refusals.ts';
import { type ConsoleAddress, knownHost, ownPage } from './session/own-page.ts';

export type ConsoleAppDeps = {
  readonly address: ConsoleAddress;
  /** The routes of the operator API, relative to `API`. */
  readonly families: readonly Hono<ConsoleEnv>[];
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
export function createConsoleApp({ address, families, newRequestId, log }: ConsoleAppDeps): Hono<ConsoleEnv> {
  const app = new Hono<ConsoleEnv>();
  app.use(everyAnswer(newRequestId), knownHost(address));
  app.use(`${API}/*`, ownPage(address));
  for (const family of families) app.route(API, family);
  app.notFound((c) => refuse(c, { refused: 'not_found' }));
  app.onError((error, c) => {
    const refusal = refusalOf(error);
    if (refusal !== null) return refuse(c, refusal);
    log.error({ err: error, requestId: c.get('requestId'), path: c.req.path }, 'request to the console failed');
    return refuse(c, { refused: 'internal' });
  });
  return app;
}

function everyAnswer(newRequestId: () => string): MiddlewareHandler<ConsoleEnv> {
  return async (c, next) => {
    const requestId = newRequestId();
    c.set('requestId', requestId);
    await next();
    c.res.headers.set('X-Request-Id', requestId);
    for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
  };
}
