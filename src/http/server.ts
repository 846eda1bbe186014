/** The listening socket: Node's HTTP server with every wait bounded. */
import { createAdaptorServer } from '@hono/node-server';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

export type HttpServer = {
  readonly port: number;
  /** Takes no new connection and resolves when the last request has been answered. Idle connections end at once. */
  close(): Promise<void>;
  /** Cuts whatever is still connected. */
  cut(): void;
};

/** Thrown when the address cannot be listened on; the message says what to do. */
export class CannotListen extends Error {
  override readonly name = 'CannotListen';
}

/** A request that has not arrived whole by then is given up: a byte a second must not hold a place for ever. */
const REQUEST_TIMEOUT_MS = 60_000;
const HEADERS_TIMEOUT_MS = 15_000;
/** Longer than the 60 s after which common load balancers drop idle connections, so that they close first. */
const KEEP_ALIVE_MS = 65_000;
const TIMEOUT_CHECK_MS = 5_000;
const CLOSE_CHECK_MS = 20;

export async function listen(
  fetch: Parameters<typeof createAdaptorServer>[0]['fetch'],
  { clock, log }: { clock: Clock; log: Log },
  { host, port }: { host: string; port: number },
): Promise<HttpServer> {
  const server = createAdaptorServer({
    fetch,
    createServer,
    serverOptions: {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
  }) as Server;
  const opened = Promise.withResolvers<void>();
  server.once('error', (error: NodeJS.ErrnoException) => opened.reject(explain(error, host, port)));
  server.listen(port, host, opened.resolve);
  await opened.promise;
  server.removeAllListeners('error');
  // An accept that fails (out of file descriptors) costs that connection, not the process.
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));

  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new AbortController();
      server.close(() => closed.abort('closed'));
      // A connection may become idle after any answer, so it takes more than one look.
      while (!closed.signal.aborted) {
        server.closeIdleConnections();
        await clock.sleep(CLOSE_CHECK_MS, closed.signal);
      }
    },
    cut: () => server.closeAllConnections(),
  };
}

/**
 * Throws `CannotListen` when something else listens there. Only so that the
 * person hears it before slower parts are started; `listen` has the last word.
 */
export async function assertPortIsFree({ host, port }: { host: string; port: number }): Promise<void> {
  const probe = createSocketServer();
  const opened = Promise.withResolvers<void>();
  probe.once('error', (error: NodeJS.ErrnoException) => opened.reject(explain(error, host, port)));
  probe.listen(port, host, opened.resolve);
  await opened.promise;
  await new Promise((resolve) => probe.close(resolve));
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code === 'EADDRINUSE') {
    return new CannotListen(`port ${port} is already in use: stop what listens there, or set PORT to another one`, {
      cause: error,
    });
  }
  if (error.code === 'EACCES') {
    return new CannotListen(`port ${port} needs privileges this process does not have: set PORT to 1024 or above`, {
      cause: error,
    });
  }
  return new CannotListen(`cannot listen on ${host}:${port} (${error.code}): check HOST and PORT`, { cause: error });
}
