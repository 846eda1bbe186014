/** Puts TLS in front of a loopback server that has none, with a certificate of `test/fixtures/tls`. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';

/**
 * `server`, `expired` and `elsewhere` (issued for db.example.com) are signed by `authority`, `alone` by itself. All but
 * the expired one are valid until 2120.
 */
export type Certificate = 'server' | 'expired' | 'elsewhere' | 'alone';

export type TlsFront = { readonly port: number; stop(): Promise<void> };

export const certificateFile = (name: Certificate | 'authority'): string =>
  fileURLToPath(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));

/** `asks`: like Postgres, where the client first asks for TLS in plain text; without, like an HTTPS server. */
export async function startTlsFront(
  upstreamPort: number,
  { certificate, asks }: { certificate: Certificate; asks: boolean },
): Promise<TlsFront> {
  const pem = readFileSync(certificateFile(certificate));
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket)).on('error', () => {});
    if (!asks) return encrypt(socket);
    socket.once('data', () => {
      socket.write('S');
      encrypt(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };

  function encrypt(socket: Socket) {
    const client = new TLSSocket(socket, { isServer: true, key: pem, cert: pem });
    const upstream = connect(upstreamPort, '127.0.0.1');
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  }
}
