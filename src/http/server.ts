/** The listening socket: Node's HTTP server with every wait bounded. */
import { type RequestListener, STATUS_CODES, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Socket, createServer as createSocketServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Doorway } from './doorway.ts';
import { type PlainConnection, servePlain } from './plain-connection.ts';
import { type RefusalCode, bareReplyTo } from './refusals.ts';
import { writeReply } from './reply.ts';

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
/** Connections that may wait to be accepted; with Node's 511, a crowd of newcomers gets others' connections reset. */
const BACKLOG = 4_096;

const PATIENCE = { firstMs: HEADERS_TIMEOUT_MS, requestMs: REQUEST_TIMEOUT_MS, keepAliveMs: KEEP_ALIVE_MS };

/** What any path may answer before a request reaches its route. Held by the compiler. */
export const SERVER_REFUSALS = [
  'invalid_request',
  'request_timeout',
  'body_too_large',
  'headers_too_large',
  'internal',
] as const satisfies readonly RefusalCode[];
type ServerRefusal = (typeof SERVER_REFUSALS)[number];

/** What answers: the front doors to plain requests, the listener to all that Node's HTTP server has read. */
export type Served = { readonly doorway: Doorway; readonly listener: RequestListener };

export async function listen(
  { doorway, listener }: Served,
  { clock, log }: { clock: Clock; log: Log },
  { host, port }: { host: string; port: number },
): Promise<HttpServer> {
  const server = createServer(
    {
      requireHostHeader: false,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    needingHost(listener, clock),
  );
  server.on('clientError', answerMalformed);
  const plain = new Map<Socket, PlainConnection>();
  const connections = connectionsOf(server, (socket, toNode) => {
    const connection = servePlain(socket, { doorway, handOver: handOverTo(toNode), giveUp, clock }, PATIENCE);
    plain.set(socket, connection);
    socket.once('close', () => plain.delete(socket));
  });
  const opened = Promise.withResolvers<void>();
  server.once('error', (error: NodeJS.ErrnoException) => opened.reject(explain(error, host, port)));
  server.listen({ port, host, backlog: BACKLOG }, opened.resolve);
  await opened.promise;
  server.removeAllListeners('error');
  // An accept that fails (out of file descriptors) costs that connection, not the process.
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
  const closed = new AbortController();
  // Sleeps only, so that it never rejects.
  void endLateOnes();

  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close(() => closed.abort('closed'));
      // A connection may become idle after any answer, so it takes more than one look.
      while (!closed.signal.aborted) {
        server.closeIdleConnections();
        for (const connection of plain.values()) connection.endIfIdle();
        // To Node, a connection that never said a word is not idle but about to speak.
        for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
        await clock.sleep(CLOSE_CHECK_MS, closed.signal);
      }
    },
    cut() {
      for (const socket of connections) socket.destroy();
    },
  };

  function handOverTo(toNode: (socket: Socket) => void) {
    return (socket: Socket, bytes: Buffer) => {
      plain.delete(socket);
      socket.pause();
      socket.unshift(bytes);
      toNode(socket);
      socket.resume();
    };
  }

  async function endLateOnes() {
    while (!closed.signal.aborted) {
      await clock.sleep(TIMEOUT_CHECK_MS, closed.signal);
      for (const connection of plain.values()) connection.endIfLate();
    }
  }
}

function giveUp(socket: Socket): void {
  answerMalformed(Object.assign(new Error('request took too long'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
}

/** A connection and its latest answer. On the socket itself: looking it up elsewhere costs every request. */
type Answering = { [LATEST]?: ServerResponse };
const LATEST = Symbol('latest answer');

/** HTTP/1.1 demands a Host; older clients, such as plain health checks, have none. */
function needingHost(answer: RequestListener, clock: Clock): RequestListener {
  return (incoming, outgoing) => {
    (incoming.socket as Answering)[LATEST] = outgoing;
    const isHostless = incoming.headers.host === undefined && incoming.httpVersion === '1.1';
    if (isHostless) writeReply({ incoming, outgoing, clock }, bareReplyTo('invalid_request'));
    else answer(incoming, outgoing);
  };
}

/** Answers what is no HTTP in the shape of every other error, unless an answer is on its way already. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  const answer = (socket as Answering)[LATEST];
  const isFree = answer === undefined || answer.writableFinished || !answer.headersSent;
  if (socket.writable && isFree && error.code !== 'ECONNRESET') socket.write(malformedAnswer(error.code));
  socket.destroy(error);
}

function malformedAnswer(code: string | undefined): string {
  const { status, headers, body } = bareReplyTo(MALFORMED.get(code ?? '') ?? 'invalid_request');
  const lines = Object.entries({ ...headers, 'Content-Length': Buffer.byteLength(body) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`;
}

const MALFORMED: ReadonlyMap<string, ServerRefusal> = new Map([
  ['HPE_HEADER_OVERFLOW', 'headers_too_large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 'body_too_large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request_timeout'],
]);

/** Every open connection. `serve` gets each new one, and the means to give it to the server's own HTTP. */
function connectionsOf(
  server: Server,
  serve: (socket: Socket, toNode: (socket: Socket) => void) => void,
): ReadonlySet<Socket> {
  const connections = new Set<Socket>();
  const [http] = server.listeners('connection') as [(this: Server, socket: Socket) => void];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serve(socket, (given) => http.call(server, given));
  });
  return connections;
}

/**
 * The port to listen on: a free one where none is named. Throws `CannotListen`
 * when something else listens there, so that the person hears it before slower
 * parts are started; `listen` has the last word.
 */
export async function findFreePort({ host, port }: { host: string; port: number }): Promise<number> {
  const probe = createSocketServer();
  const opened = Promise.withResolvers<void>();
  probe.once('error', (error: NodeJS.ErrnoException) => opened.reject(explain(error, host, port)));
  probe.listen(port, host, opened.resolve);
  await opened.promise;
  const free = (probe.address() as AddressInfo).port;
  await new Promise((resolve) => probe.close(resolve));
  return free;
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
