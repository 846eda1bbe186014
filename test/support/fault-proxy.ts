/**
 * Stands between Weir and a store and misbehaves on demand. `startHttpProxy` understands requests, so that a fault can
 * hit inserts only and ClickHouse's answers can be imitated; `startTcpProxy` knows only bytes and serves Postgres. Both
 * keep their port for as long as they run.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer as createHttpServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';

/** What happens to a request. */
export type HttpFault =
  /** Accepted, read, never answered. */
  | { readonly kind: 'hang' }
  /** The connection breaks before the store sees anything. */
  | { readonly kind: 'reset' }
  /** The request trickles to the store. */
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  /** The store receives half of the body, then both sides break. */
  | { readonly kind: 'cut-request' }
  /** The store receives and executes everything; its answer is lost. */
  | { readonly kind: 'cut-answer' }
  /** Bodies of more bytes than this are refused, as by a proxy in front. */
  | { readonly kind: 'limit-body'; readonly maxBytes: number }
  /** The request is answered in the store's place. */
  | ({ readonly kind: 'answer' } & ImitatedAnswer);

/** Without a `code` an answer like a web server's; with one, like ClickHouse's. */
export type ImitatedAnswer = {
  readonly status: number;
  /** The value of ClickHouse's header. */
  readonly code?: number;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The query id in the answer: `right` where there is a `code`, else `none`. */
  readonly id?: 'right' | 'wrong' | 'none';
  /** Announces more than it sends. */
  readonly isShort?: boolean;
  /** The store receives and executes everything all the same. */
  readonly isForwarded?: boolean;
};

/** Answers `incoming`, a request to ClickHouse, in its place. */
export function imitate(incoming: IncomingMessage, answer: ServerResponse, imitated: ImitatedAnswer): void {
  const { status, code, text = '', headers, isShort = false } = imitated;
  const { id = code === undefined ? 'none' : 'right' } = imitated;
  const asked = new URL(incoming.url ?? '/', 'http://localhost').searchParams.get('query_id') ?? '';
  answer.writeHead(status, {
    ...(code !== undefined && { 'X-ClickHouse-Exception-Code': String(code) }),
    ...(id !== 'none' && { 'X-ClickHouse-Query-Id': id === 'right' ? asked : 'another' }),
    ...(isShort && { 'Content-Length': String(Buffer.byteLength(text) + 10) }),
    ...headers,
  });
  if (!isShort) return void answer.end(text);
  answer.flushHeaders();
  // The written bytes arrive before the end does.
  answer.write(text, () => setTimeout(() => incoming.socket.destroy(), TICK_MS));
}

/** The requests a fault is for. `posts` leaves out what a browser asks first. */
export type Target = 'inserts' | 'posts' | 'everything';

export type HttpProxy = {
  readonly url: string;
  readonly port: number;
  /**
   * Applies a fault to requests from now on, at most `times` and where `hits` matches; null heals. A refused connection
   * is `refuse`.
   */
  set(fault: HttpFault | null, options?: { only?: Target; times?: number; hits?: () => boolean }): void;
  /** Like a server that is down: connections are refused and the open ones break. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** Breaks every open connection once. */
  cut(): void;
  /** How many requests a fault was applied to, since the beginning. */
  hits(): number;
  /** The queries received since the beginning. */
  statements(): Readonly<Statements>;
  /** Deduplication tokens that came with more than one byte string (invariant I8). */
  rewrittenTokens(): readonly string[];
  stop(): Promise<void>;
};

/** `events`: inserts into the table of events. */
export type Statements = { events: number; dryRuns: number; others: number };

/** The bytes that a client sends and a server answers. `commit-then-cut` loses the answer to a message that matches. */
export type TcpFault =
  | { readonly kind: 'hang' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'commit-then-cut'; readonly message: RegExp };

export type TcpProxy = {
  readonly port: number;
  set(fault: TcpFault | null, options?: { times?: number }): void;
  refuse(): Promise<void>;
  accept(): Promise<void>;
  cut(): void;
  hits(): number;
  stop(): Promise<void>;
};

const INSERT_EVENTS = /^\s*INSERT INTO \S*events_raw_v1\b/i;
const DRY_RUN = /^\s*INSERT INTO FUNCTION null\b/i;
const TICK_MS = 50;

export async function startHttpProxy(upstreamUrl: string): Promise<HttpProxy> {
  const upstream = new URL(upstreamUrl);
  const statements: Statements = { events: 0, dryRuns: 0, others: 0 };
  const bytesOfToken = new Map<string, string>();
  const rewritten: string[] = [];
  const switched = createSwitch<HttpFault>();
  // A ClickHouse told to close after this request does not read on when it refuses it, and its answer may be lost.
  const agent = new Agent({ keepAlive: true });
  const door = await openDoor(
    createHttpServer({ keepAliveTimeout: 30_000 }, (incoming, answer) => {
      // Any break in between breaks the client's connection, as without a proxy.
      handle(incoming, answer).catch(() => breakOff(incoming.socket));
    }),
  );

  return {
    url: `http://127.0.0.1:${door.port}`,
    port: door.port,
    set: (fault, { only = 'everything', times, hits } = {}) => switched.set(fault, { only, times, chance: hits }),
    refuse: door.close,
    accept: door.open,
    cut: door.cut,
    hits: switched.hits,
    statements: () => ({ ...statements }),
    rewrittenTokens: () => rewritten,
    async stop() {
      await door.close();
      agent.destroy();
    },
  };

  async function handle(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const asked = new URL(incoming.url ?? '/', upstream).searchParams;
    const query = asked.get('query') ?? '';
    const isInsert = INSERT_EVENTS.test(query);
    statements[isInsert ? 'events' : DRY_RUN.test(query) ? 'dryRuns' : 'others']++;
    if (isInsert) watchBytes(incoming, asked.get('insert_deduplication_token') ?? 'none');
    const isPost = incoming.method === 'POST';
    const fault = switched.take((only) => only === 'everything' || (only === 'inserts' ? isInsert : isPost));
    switch (fault?.kind) {
      case 'hang':
        return void incoming.resume();
      case 'reset':
        return breakOff(incoming.socket);
      case 'answer': {
        for await (const _ of fault.isForwarded ? await exchange(incoming, Infinity) : incoming);
        return imitate(incoming, answer, fault);
      }
      case 'limit-body':
        return limitBody(incoming, answer, fault.maxBytes);
      case 'cut-answer':
        for await (const _ of await exchange(incoming, Infinity));
        return breakOff(incoming.socket);
      case 'cut-request':
        return sendHalf(incoming);
      case 'slow':
      case undefined: {
        const answered = await exchange(incoming, fault?.bytesPerSecond ?? Infinity);
        answer.writeHead(answered.statusCode ?? 500, answered.headers);
        answered.on('error', () => breakOff(incoming.socket)).pipe(answer);
      }
    }
  }

  /** A body that is too large is never passed on, as by a proxy that buffers requests. */
  async function limitBody(incoming: IncomingMessage, answer: ServerResponse, maxBytes: number): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>));
    if (body.length > maxBytes) return imitate(incoming, answer, { status: 413, text: '<html>too large</html>' });
    const forwarded = forward(incoming);
    const answered = once(forwarded, 'response') as Promise<[IncomingMessage]>;
    forwarded.end(body);
    const [from] = await answered;
    answer.writeHead(from.statusCode ?? 500, from.headers);
    from.on('error', () => breakOff(incoming.socket)).pipe(answer);
  }

  /** Forwards the request and resolves with the store's answer. */
  async function exchange(incoming: IncomingMessage, bytesPerSecond: number): Promise<IncomingMessage> {
    const forwarded = forward(incoming);
    const answered = once(forwarded, 'response') as Promise<[IncomingMessage]>;
    if (bytesPerSecond === Infinity) incoming.pipe(forwarded);
    else trickle(incoming, forwarded, bytesPerSecond).catch(() => forwarded.destroy());
    return (await answered)[0];
  }

  function forward(incoming: IncomingMessage) {
    const forwarded = request({
      host: upstream.hostname,
      port: upstream.port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
      agent,
    });
    // A client that gives up takes its request with it, as far as the store can notice.
    const end = () => forwarded.destroy();
    incoming.socket.once('close', end);
    forwarded.once('close', () => incoming.socket.off('close', end));
    return forwarded.on('error', () => breakOff(incoming.socket));
  }

  async function sendHalf(incoming: IncomingMessage): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>));
    const forwarded = forward(incoming);
    forwarded.write(body.subarray(0, Math.floor(body.length / 2)));
    // Long enough for the store to have read what came.
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    forwarded.destroy();
    breakOff(incoming.socket);
  }

  function watchBytes(incoming: IncomingMessage, token: string) {
    const hash = createHash('sha256');
    incoming.on('data', (chunk: Buffer) => hash.update(chunk));
    incoming.on('end', () => {
      const digest = hash.digest('hex');
      const known = bytesOfToken.get(token);
      if (known === undefined) bytesOfToken.set(token, digest);
      else if (known !== digest) rewritten.push(token);
    });
    // The listener above must not start the flow before there is another listener.
    incoming.pause();
  }
}

async function trickle(from: AsyncIterable<Buffer>, to: NodeJS.WritableStream, bytesPerSecond: number): Promise<void> {
  const step = Math.max(1, Math.floor((bytesPerSecond * TICK_MS) / 1_000));
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length; at += step) {
      to.write(chunk.subarray(at, at + step));
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
  }
  to.end();
}

export async function startTcpProxy(upstreamPort: number): Promise<TcpProxy> {
  const switched = createSwitch<TcpFault>();
  const door = await openDoor(createTcpServer({ allowHalfOpen: false }, handle));
  return {
    port: door.port,
    set: (fault, { times } = {}) => switched.set(fault, { only: 'everything', times }),
    refuse: door.close,
    accept: door.open,
    cut: door.cut,
    hits: switched.hits,
    stop: door.close,
  };

  function handle(client: Socket): void {
    const server = connect(upstreamPort, '127.0.0.1');
    let losesNextAnswer = false;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
    }
    client.on('data', (bytes) => {
      const fault = switched.now();
      const isHit =
        fault !== null && (fault.kind !== 'commit-then-cut' || fault.message.test(bytes.toString('latin1')));
      if (isHit) switched.take(() => true);
      if (isHit && fault.kind === 'hang') return;
      if (isHit && fault.kind === 'reset') return breakOff(client);
      if (isHit) losesNextAnswer = true;
      server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (losesNextAnswer) return breakOff(client);
      if (switched.now()?.kind !== 'hang') client.write(bytes);
    });
  }
}

/** The current fault and how often it may still strike. */
function createSwitch<Fault>() {
  let fault: Fault | null = null;
  let only: Target = 'everything';
  let left = Infinity;
  let isHit = () => true;
  let hits = 0;
  return {
    set(
      next: Fault | null,
      options: { only: Target; times: number | undefined; chance?: (() => boolean) | undefined },
    ) {
      fault = next;
      isHit = options.chance ?? (() => true);
      only = options.only;
      left = options.times ?? Infinity;
    },
    now: () => fault,
    take(isMeant: (only: Target) => boolean): Fault | null {
      if (fault === null || !isMeant(only) || !isHit()) return null;
      const taken = fault;
      hits++;
      left--;
      if (left <= 0) fault = null;
      return taken;
    },
    hits: () => hits,
  };
}

/** A listener on a loopback port that can be closed, opened again on the same port, and cut. */
async function openDoor(server: Server) {
  const sockets = new Set<Socket>();
  let port = 0;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  await open();
  port = (server.address() as AddressInfo).port;
  return { port, open, close, cut };

  async function open() {
    if (server.listening) return;
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  }

  async function close() {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    cut();
    await closed;
  }

  function cut() {
    for (const socket of sockets) breakOff(socket);
  }
}

function breakOff(socket: Socket): void {
  if (socket.destroyed) return;
  socket.resetAndDestroy();
}
