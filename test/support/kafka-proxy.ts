/**
 * Stands between Weir and a broker and misbehaves on demand. It knows how requests and answers are framed, so that a
 * fault can hit one kind of request: the broker executes it, and its answer is lost. It keeps its port.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** The protocol's numbers of some requests. */
export const API = { produce: 0, fetch: 1, offsetCommit: 8, joinGroup: 11, heartbeat: 12, syncGroup: 14 } as const;

export type KafkaFault =
  /** Accepted, read, never answered. */
  | { readonly kind: 'hang' }
  /** The broker executes the request; the connection breaks before the answer is passed on. */
  | { readonly kind: 'cut-answer'; readonly api: number }
  /** The broker executes the request; its answer, and what follows on that connection, waits for `release`. */
  | { readonly kind: 'hold-answer'; readonly api: number };

export type KafkaProxy = {
  readonly port: number;
  /** Where its connections lead; the broker's port may be chosen later than the proxy's. */
  leadTo(port: number): void;
  /** Applies a fault from now on, at most `times`; null heals, but a request that hangs is never answered. */
  set(fault: KafkaFault | null, options?: { times?: number }): void;
  /** Passes on what `hold-answer` keeps. */
  release(): void;
  /** Like a broker that is down: connections are refused and the open ones break. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** How many requests a fault was applied to. */
  hits(): number;
  /** How many requests of that kind were passed on. */
  passed(api: number): number;
  stop(): Promise<void>;
};

export async function startKafkaProxy(): Promise<KafkaProxy> {
  let upstreamPort = 0;
  let fault: KafkaFault | null = null;
  let timesLeft = 0;
  let hits = 0;
  const passed = new Map<number, number>();
  let released = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  const server = createServer(serve);
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;

  return {
    port,
    leadTo: (to) => void (upstreamPort = to),
    set(next, { times = Infinity } = {}) {
      fault = next;
      timesLeft = times;
    },
    release() {
      released.resolve();
      released = Promise.withResolvers();
    },
    refuse,
    async accept() {
      if (!server.listening) await listen(server, port);
    },
    hits: () => hits,
    passed: (api) => passed.get(api) ?? 0,
    stop: refuse,
  };

  async function refuse() {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  function serve(client: Socket) {
    const upstream = connect(upstreamPort, '127.0.0.1');
    const breakOff = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', breakOff).on('close', () => {
        sockets.delete(socket);
        breakOff();
      });
    }
    /** By the number that an answer repeats: the requests whose answers are lost, and those whose answers wait. */
    const doomed = new Set<number>();
    const held = new Map<number, Promise<void>>();
    let passing: Promise<void> | null = null;
    onFrames(client, (frame) => {
      const api = frame.readInt16BE(4);
      if (fault?.kind === 'hang' && takeFault()) return;
      if (fault?.kind === 'cut-answer' && fault.api === api && takeFault()) doomed.add(frame.readInt32BE(8));
      if (fault?.kind === 'hold-answer' && fault.api === api && takeFault())
        held.set(frame.readInt32BE(8), released.promise);
      passed.set(api, (passed.get(api) ?? 0) + 1);
      upstream.write(frame);
    });
    onFrames(upstream, (frame) => {
      const number = frame.readInt32BE(4);
      if (doomed.has(number)) return breakOff();
      passing ??= held.get(number) ?? null;
      if (passing === null) client.write(frame);
      else passing = passing.then(() => void client.write(frame));
    });
  }

  function takeFault(): boolean {
    if (timesLeft <= 0) return false;
    timesLeft -= 1;
    hits += 1;
    return true;
  }
}

/** Each with the four bytes of its length. */
function onFrames(socket: Socket, take: (frame: Buffer) => void) {
  let held: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= 4 + held.readInt32BE(0)) {
      const end = 4 + held.readInt32BE(0);
      take(held.subarray(0, end));
      held = held.subarray(end);
    }
  });
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}
