/** The listening socket: Node's HTTP server with every wait bounded. */
import { type RequestListener, STATUS_CODES, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, Server as SocketServer, type Socket, createServer as createSocketServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import { type DoorRouter, writeAnswer } from '../ingest/door-router.ts';
import { announceRequest, endIdleConnections, paceRequests } from './pipelining.ts';
import { type PlainConnection, servePlain } from './plain-connection.ts';
import { SERVER_REFUSALS } from '../answers/refusals.ts';
import { bareReplyTo } from '../answers/refusal-reply.ts';
import { writeReply } from '../answers/reply.ts';
import { createRequestTurns } from './request-turns.ts';
import { watchUnreadAnswers } from './unread-answers.ts';

export type HttpServer = {
  readonly port: number;
  /** Accepts no new connection and resolves when the last request has been answered. Idle connections end at once. */
  close(): Promise<void>;
  /** Cuts all remaining connections. */
  cut(): void;
};

/** Thrown when the address cannot be listened on; the message names the remedy. */
export class CannotListen extends Error {
  override readonly name = 'CannotListen';
}

/** A request that has not arrived completely by then is abandoned: a byte a second must not hold a place forever. */
const REQUEST_TIMEOUT_MS = 60_000;
const HEADERS_TIMEOUT_MS = 15_000;
/** Used where the options name none. */
const KEEP_ALIVE_MS = 65_000;
/** A client of Mixpanel writes an event into the target of its request: 40 KB of JSON are 54 KB there. */
const MAX_HEAD_BYTES = 96 * 1024;
const TIMEOUT_CHECK_MS = 5_000;
const CLOSE_CHECK_MS = 20;
/** Connections that may wait to be accepted; with Node's 511, a crowd of newcomers gets others' connections reset. */
const BACKLOG = 4_096;

type ServerRefusal = (typeof SERVER_REFUSALS)[number];

/** What answers: the front doors for plain requests, the listener for everything that Node's HTTP server has read. */
export type Served = { readonly doorRouter: DoorRouter; readonly listener: RequestListener };

export type Listening = {
  readonly host: string;
  readonly port: number;
  /**
   * How long a connection may be idle. Clients that keep connections to Weir must close them sooner: a request that is
   * on its way when Weir closes one is lost.
   */
  readonly keepAliveMs?: number;
};

/**
 * Throws `CannotListen`, also when `signal` aborts first: a worker's socket comes from another process, which may be
 * gone.
 */
export async function listen(
  { doorRouter, listener }: Served,
  { clock, log, signal }: { clock: Clock; log: Log; signal?: AbortSignal | undefined },
  { host, port, keepAliveMs = KEEP_ALIVE_MS }: Listening,
): Promise<HttpServer> {
  const patience = { firstMs: HEADERS_TIMEOUT_MS, requestMs: REQUEST_TIMEOUT_MS, keepAliveMs };
  const server = createServer(
    {
      requireHostHeader: false,
      maxHeaderSize: MAX_HEAD_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    needingHost(listener, clock),
  );
  // A client that half-closes after the request still waits for the answer.
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  server.on('clientError', answerMalformed).on('checkExpectation', refusingExpectations(doorRouter, clock));
  const plain = new Map<Socket, PlainConnection>();
  const turns = createRequestTurns({ clock });
  const connections = connectionsOf(server, (socket, toNode) => {
    const connection = servePlain(socket, { doorRouter, handOver: handOverTo(toNode), giveUp, turns, clock }, patience);
    plain.set(socket, connection);
    socket.once('close', () => plain.delete(socket));
  });
  const opened = Promise.withResolvers<void>();
  server.once('error', (error: NodeJS.ErrnoException) => opened.reject(listenTrouble(error, { host, port })));
  const giveUpListening = () => opened.reject(new CannotListen('the process that shares the socket is gone'));
  signal?.addEventListener('abort', giveUpListening);
  if (signal?.aborted) giveUpListening();
  else server.listen({ port, host, backlog: BACKLOG }, opened.resolve);
  await opened.promise;
  signal?.removeEventListener('abort', giveUpListening);
  server.removeAllListeners('error');
  // A failed accept (out of file descriptors) costs that connection, not the process.
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'));
  const closed = new AbortController();
  // Only sleeps, so it never rejects.
  void endLateOnes();

  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      closeListening();
      // A connection may become idle after any answer, so this checks more than once.
      while (!closed.signal.aborted) {
        // A request that has already arrived is read first, and answered.
        await clock.sleep(CLOSE_CHECK_MS, closed.signal);
        endIdleConnections(server, connections);
        for (const connection of plain.values()) connection.endIfIdle();
        // For Node, a connection that never sent a byte is not idle but about to speak.
        for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
      }
    },
    cut() {
      for (const socket of connections) socket.destroy();
    },
  };

  /**
   * Node's own `close` ends idle connections at once, and with them requests that have arrived and were not read; and it
   * ends slow requests no more.
   */
  function closeListening() {
    SocketServer.prototype.close.call(server, () => {
      closed.abort('closed');
      // Without connections, it only stops looking for slow requests.
      server.close();
    });
  }

  function handOverTo(toNode: (socket: Socket) => void) {
    return (socket: Socket, bytes: Buffer, hasEnded: boolean) => {
      plain.delete(socket);
      toNode(socket);
      socket.resume();
      paceRequests(socket, bytes, { hasEnded });
    };
  }

  async function endLateOnes() {
    const unread = watchUnreadAnswers({ clock });
    while (!closed.signal.aborted) {
      await clock.sleep(TIMEOUT_CHECK_MS, closed.signal);
      // After a long pause of the process, bytes that arrived in the meantime are read first: no expired wait ends
      // before that.
      await clock.sleep(0, closed.signal);
      for (const connection of plain.values()) connection.endIfLate();
      for (const socket of connections) if (unread.isStuck(socket)) socket.destroy();
    }
  }
}

function giveUp(socket: Socket): void {
  answerMalformed(Object.assign(new Error('request took too long'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
}

/** A connection and its latest answer. A property of the socket: looking it up elsewhere costs every request. */
type Answering = { [LATEST]?: ServerResponse };
const LATEST = Symbol('latest answer');

/** HTTP/1.1 requires a Host; older clients, such as simple health checks, have none. */
function needingHost(answer: RequestListener, clock: Clock): RequestListener {
  return (incoming, outgoing) => {
    (incoming.socket as Answering)[LATEST] = outgoing;
    announceRequest(incoming, outgoing);
    const isHostless = incoming.headers.host === undefined && incoming.httpVersion === '1.1';
    if (isHostless) writeReply({ incoming, outgoing, clock }, bareReplyTo('invalid_request'));
    else answer(incoming, outgoing);
  };
}

/** Only `100-continue` is ever expected. Node would refuse others without reporting the request. */
function refusingExpectations({ refuseExpectation }: DoorRouter, clock: Clock): RequestListener {
  return (incoming, outgoing) => {
    announceRequest(incoming, outgoing);
    const { method = '', url = '', headers } = incoming;
    writeAnswer({ incoming, outgoing, clock }, refuseExpectation(method, url, headers));
  };
}

/** Answers invalid HTTP in the common error shape, unless an answer is already on its way. */
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

/** All open connections. `serve` gets each new one, and the means to give it to the server's own HTTP. */
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
 * The port to listen on: a free one where none is named. Throws `CannotListen` when the port is taken, so that the
 * person learns it before slower parts are started; `listen` decides in the end.
 */
export async function findFreePort(
  { host, port }: { host: string; port: number },
  names: AddressNames = OWN_NAMES,
): Promise<number> {
  const probe = createSocketServer();
  const opened = Promise.withResolvers<void>();
  probe.once('error', (error: NodeJS.ErrnoException) => opened.reject(listenTrouble(error, { host, port }, names)));
  probe.listen(port, host, opened.resolve);
  await opened.promise;
  const free = (probe.address() as AddressInfo).port;
  await new Promise((resolve) => probe.close(resolve));
  return free;
}

/** The settings of an address, for messages. */
type AddressNames = { readonly host: string; readonly port: string };
const OWN_NAMES: AddressNames = { host: 'HOST', port: 'PORT' };

/** Why an address cannot be listened on, and what to do. */
export function listenTrouble(
  error: NodeJS.ErrnoException,
  { host, port }: { host: string; port: number },
  names: AddressNames = OWN_NAMES,
): CannotListen {
  const explained = { cause: error };
  if (error.code === 'EADDRINUSE') {
    return new CannotListen(
      `port ${port} is already in use: stop the process that listens there, or set ${names.port} to another port`,
      explained,
    );
  }
  if (error.code === 'EACCES') {
    return new CannotListen(
      `port ${port} needs privileges this process does not have: set ${names.port} to 1024 or above`,
      explained,
    );
  }
  return new CannotListen(
    `cannot listen on ${host}:${port} (${error.code}): check ${names.host} and ${names.port}`,
    explained,
  );
}
