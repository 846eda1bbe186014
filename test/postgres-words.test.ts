/** What an operator is told of each way in which something that speaks Postgres's protocol gives no connection. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createLog } from '../src/log/log.ts';
import { ConnectFailure } from '../src/postgres/connection/errors.ts';
import { createPostgres } from '../src/postgres/connection/pool.ts';
import { connectTrouble, explainFailure } from '../src/postgres/connection/connection-errors.ts';

/** Answers every start of a session with this error, as the server and poolers do. Returns its address. */
async function startRefusing(code: string, sentence: string): Promise<string> {
  const fields = ['SFATAL', 'VFATAL', `C${code}`, `M${sentence}`].map((field) => `${field}\0`).join('');
  const body = Buffer.from(`${fields}\0`);
  const head = Buffer.alloc(5, 'E');
  head.writeInt32BE(body.length + 4, 1);
  const server = createServer((socket) => {
    socket.on('error', () => {}).once('data', () => socket.end(Buffer.concat([head, body])));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `postgres://weir:hidden@127.0.0.1:${(server.address() as AddressInfo).port}/weir`;
}

async function failureAt(url: string): Promise<unknown> {
  const { pool } = createPostgres({ url, maxConnections: 1 }, createLog('silent'));
  onTestFinished(() => pool.end());
  return pool.query('SELECT 1').catch((error: unknown) => error);
}

const WAIT = /: wait until the server accepts connections/;
const POOLER = /: a pooler in front of Postgres refuses it: /;

test.each<[code: string, sentence: string, remedy: RegExp]>([
  ['57P03', 'the database system is starting up', WAIT],
  ['57P03', 'the database system is shutting down', WAIT],
  ['57P03', 'the database system is in recovery mode', WAIT],
  ['57P03', 'the database system is not yet accepting connections', WAIT],
  ['57P03', 'the database system is not accepting connections', /: wait .* use the address of the primary$/],
  ['57P01', 'terminating connection due to administrator command', WAIT],
  ['08P01', 'unsupported startup parameter: statement_timeout', /: .*remove them from DATABASE_URL/],
  ['08P01', 'unsupported startup parameter in options: statement_timeout', /: .*remove them from DATABASE_URL/],
  ['08P01', 'no more connections allowed (max_client_conn)', POOLER],
  ['08P01', 'no such database: weir', POOLER],
  ['08P01', 'server login has been failing, try again later (server_login_retry)', POOLER],
  ['42501', 'permission denied for database "weir"', /: GRANT CONNECT on the database to the user$/],
  ['53300', 'sorry, too many clients already', /: raise max_connections/],
  [
    '53300',
    'remaining connection slots are reserved for roles with the SUPERUSER attribute',
    /: raise max_connections/,
  ],
  ['53300', 'too many connections for role "weir"', /limit of the role/],
  ['28P01', 'password authentication failed for user "weir"', /: check the user and the password$/],
  ['28000', 'role "weir" is not permitted to log in', /: check the user, and the server’s pg_hba\.conf/],
  ['28000', 'no pg_hba.conf entry for host "10.0.0.1", user "weir", no encryption', /sslmode=verify-full$/],
  ['3D000', 'database "weir" does not exist', /: create the database, or correct its name$/],
  ['XX000', 'Tenant or user not found', /: look the code up/],
])('%s, %s', async (code, sentence, remedy) => {
  const failure = await failureAt(await startRefusing(code, sentence));
  const happened = `Postgres refuses the connection (${code}, ${sentence})`;
  expect(explainFailure(failure)).toMatch(remedy);
  expect(explainFailure(failure)).toContain(`${happened}: `);
  // The same, without the remedy, is on the pages of a running Weir.
  expect(connectTrouble(failure)).toBe(happened);
  expect(explainFailure(failure)).not.toMatch(/hidden|does not answer/);
});

test.each([
  [
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'unable to verify the first certificate',
    /sslrootcert=FILE.*NODE_EXTRA_CA_CERTS/,
  ],
  [
    'SELF_SIGNED_CERT_IN_CHAIN',
    'self-signed certificate in certificate chain',
    /sslrootcert=FILE.*NODE_EXTRA_CA_CERTS/,
  ],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate', /sslrootcert=FILE.*NODE_EXTRA_CA_CERTS/],
  ['CERT_HAS_EXPIRED', 'certificate has expired', /: renew the certificate/],
  ['CERT_NOT_YET_VALID', 'certificate is not yet valid', /set the clock/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', "Hostname/IP does not match certificate's altnames", /: use a host name/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'wrong version number', /: check the port; sslmode=disable/],
])('TLS: %s', (code, sentence, remedy) => {
  const failure = new ConnectFailure(Object.assign(new Error(sentence), { code }));
  const happened = `the TLS connection to Postgres failed (${code}, ${sentence})`;
  expect(explainFailure(failure)).toContain(`${happened}: `);
  expect(explainFailure(failure)).toMatch(remedy);
  expect(connectTrouble(failure)).toBe(happened);
});
