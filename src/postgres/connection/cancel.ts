import { type Client, Connection } from 'pg';
import type { Clock } from '../../runtime/clock.ts';

/** For a server that has disappeared; by then the statement's own connection is abandoned. */
const DEADLINE_MS = 2_000;

/** Fields that the driver's types leave out. */
type Wire = Connection & {
  connect(portOrSocket: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
};
type Target = Client & {
  readonly processID: number | null;
  readonly secretKey: number;
  readonly sslNegotiation: 'postgres' | 'direct';
};

/**
 * Asks the server, over a separate connection, to cancel what `client` runs. Poolers pass the request on to the
 * connection that runs it. Resolves when the server has taken the request, or cannot be reached; never rejects.
 */
export async function cancelStatement(client: Client, clock: Clock): Promise<void> {
  const { host, port, ssl, sslNegotiation, processID, secretKey } = client as Target;
  if (processID === null) return;
  // Encrypted like the statement's own connection: poolers that insist on TLS refuse others, and the key is a secret.
  const wire = new Connection({ ssl, sslnegotiation: sslNegotiation }) as Wire;
  const closed = new AbortController();
  const ask = () => wire.cancel(processID, secretKey);
  wire.on('connect', () => {
    if (!ssl) ask();
    else if (sslNegotiation !== 'direct') wire.requestSsl();
  });
  wire.on('sslconnect', ask);
  // The server answers nothing and closes.
  wire.on('end', () => closed.abort());
  wire.on('error', () => closed.abort());
  if (host.startsWith('/')) wire.connect(`${host}/.s.PGSQL.${port}`);
  else wire.connect(port, host);
  await clock.sleep(DEADLINE_MS, closed.signal);
  wire.stream.destroy();
}
