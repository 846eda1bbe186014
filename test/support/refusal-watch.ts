/** Stands between a client and Weir: passes everything on, and counts what Weir refuses for the moment. */
import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type RefusalWatch = {
  readonly url: string;
  /** Requests that were answered with 429 or 503. */
  refused(): number;
  stop(): Promise<void>;
};

/** Clients that wait for as long as they are told would make a test last for minutes. */
const RETRY_AFTER_S = '1';

export async function startRefusalWatch(upstreamUrl: string): Promise<RefusalWatch> {
  const upstream = new URL(upstreamUrl);
  const agent = new Agent({ keepAlive: false });
  let refusals = 0;
  const server = createServer((incoming, answer) => {
    pass(incoming, answer).catch(() => incoming.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    refused: () => refusals,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      agent.destroy();
    },
  };

  async function pass(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method, url: path, headers } = incoming;
    const forwarded = request({ host: upstream.hostname, port: upstream.port, method, path, headers, agent });
    forwarded.on('error', () => incoming.socket.destroy());
    incoming.pipe(forwarded);
    const [answered] = (await once(forwarded, 'response')) as [IncomingMessage];
    const { statusCode: status = 500 } = answered;
    if (status === 429 || status === 503) refusals += 1;
    const isTold = answered.headers['retry-after'] !== undefined;
    answer.writeHead(status, { ...answered.headers, ...(isTold && { 'retry-after': RETRY_AFTER_S }) });
    answered.on('error', () => incoming.socket.destroy()).pipe(answer);
  }
}
