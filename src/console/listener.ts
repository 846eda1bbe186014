/** The console's own listening socket. */
import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RequestError, getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { listenTrouble } from '../http/listener/server.ts';
import type { Log } from '../log/log.ts';
import type { ConsoleEnv } from './env.ts';

export type ConsoleServer = {
  readonly port: number;
  /** Ends every connection, whatever is under way. */
  close(): Promise<void>;
};

export type ListenerLimits = {
  readonly maxConnections: number;
  /** For the head of a request, and for all of it. */
  readonly headMs: number;
  readonly requestMs: number;
  readonly checkMs: number;
};

const LIMITS: ListenerLimits = { maxConnections: 256, headMs: 10_000, requestMs: 30_000, checkMs: 2_000 };
const NAMES = { host: 'CONSOLE_HOST', port: 'CONSOLE_PORT' } as const;
const MAX_HEAD_BYTES = 16 * 1024;
const KEEP_ALIVE_MS = 30_000;
const FIRST_PORT = 8081;
/** So many services of this machine may have taken the first ones. */
const PORTS_TRIED = 100;
/** Others are no methods of the API, and some of them no request that a handler could be given. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

/**
 * `app` is made once the port is known. With `auto`, the first free port from 8081. Throws `CannotListen`.
 */
export async function listenConsole(
  makeApp: (port: number) => Hono<ConsoleEnv>,
  { host, port, log, limits = LIMITS }: { host: string; port: number | 'auto'; log: Log; limits?: ListenerLimits },
): Promise<ConsoleServer> {
  const server = createServer({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: limits.headMs,
    requestTimeout: limits.requestMs,
    connectionsCheckingInterval: limits.checkMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  server.maxConnections = limits.maxConnections;
  const taken = await takePort(server, { host, port });
  server.on('error', (error) => log.warn({ err: error }, 'a connection to the console could not be accepted'));
  const answer = getRequestListener(makeApp(taken).fetch, {
    // Whoever sends none is refused by the app.
    hostname: 'unnamed',
    errorHandler: (error) => answerWithout(error, log),
  });
  server.on('request', (incoming, outgoing) => {
    if (METHODS.has(incoming.method!)) void answer(incoming, outgoing);
    else outgoing.writeHead(405, { 'Cache-Control': 'no-store', Connection: 'close' }).end();
  });
  return {
    port: taken,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function takePort(server: Server, { host, port }: { host: string; port: number | 'auto' }): Promise<number> {
  const tried = port === 'auto' ? Array.from({ length: PORTS_TRIED }, (_, place) => FIRST_PORT + place) : [port];
  for (const [place, next] of tried.entries()) {
    try {
      server.listen({ host, port: next });
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (isTaken && place < tried.length - 1) continue;
      throw listenTrouble(error as NodeJS.ErrnoException, { host, port: next }, NAMES);
    }
  }
  throw new Error('no port was tried');
}

/** For requests that do not even reach the app: an invalid address, or a bug around it. */
function answerWithout(error: unknown, log: Log): Response {
  const isInvalid = error instanceof RequestError;
  if (!isInvalid) log.error({ err: error }, 'request to the console failed');
  const body = isInvalid
    ? { error: 'this is not a valid HTTP request', code: 'invalid_request' }
    : { error: 'an internal error', code: 'internal' };
  return Response.json(body, { status: isInvalid ? 400 : 500, headers: { 'Cache-Control': 'no-store' } });
}
