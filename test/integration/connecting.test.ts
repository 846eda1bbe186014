/** What an operator is told when a store refuses connections: the store's own words and a remedy, and nothing secret. */
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createLog } from '../../src/log/log.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { type Certificate, certificateFile, startTlsFront } from '../support/tls-front.ts';
import { commandWeir, startWeir } from '../support/weir.ts';

const SETTLED = { timeout: 30_000, interval: 100 };
const PASSWORD = 'wRoNgPaSsWoRd';

let stores: Stores;
let cwd: string;
beforeAll(async () => {
  stores = await startStores();
  cwd = mkdtempSync(join(tmpdir(), 'weir-connecting-'));
  await admin(`CREATE DATABASE closed ALLOW_CONNECTIONS false`);
  await admin(`CREATE DATABASE guarded`);
  await admin(`REVOKE CONNECT ON DATABASE guarded FROM PUBLIC`);
  for (const role of ['guest', 'crowd', 'banned']) await admin(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`);
  await admin(`ALTER ROLE crowd CONNECTION LIMIT 0`);
  await admin(`ALTER ROLE banned NOLOGIN`);
});
afterAll(async () => {
  await stores?.stop();
  rmSync(cwd, { recursive: true, force: true });
});

const admin = (statement: string) => stores.postgres.pool.query(statement);

/** The address of the real one with something else about it. */
function postgresUrl(change: (url: URL) => void): string {
  const url = new URL(stores.databaseUrl);
  change(url);
  return url.href;
}

async function doctor(env: { DATABASE_URL?: string; CLICKHOUSE_URL?: string }) {
  const known = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl };
  const { stdout } = await commandWeir(['doctor'], { cwd, env: { ...known, ...env } });
  return stdout;
}

describe('Postgres', () => {
  const as = (user: string) => (url: URL) => Object.assign(url, { username: user, password: 'secret' });

  test.each<[string, (url: URL) => void, RegExp]>([
    [
      'a wrong password',
      (url) => (url.password = PASSWORD),
      /\(28P01, password authentication failed for user "weir"\): check the user/,
    ],
    [
      'no such database',
      (url) => (url.pathname = '/nowhere'),
      /\(3D000, database "nowhere" does not exist\): create the database/,
    ],
    [
      'no right to connect',
      (url) => Object.assign(as('guest')(url), { pathname: '/guarded' }),
      /\(42501, permission denied for database "guarded"\): GRANT CONNECT/,
    ],
    ['no place left', as('crowd'), /\(53300, too many connections for role "crowd"\): raise/],
    ['a role that may not log in', as('banned'), /\(28000, role "banned" is not permitted to log in\)/],
    [
      'a database that is closed',
      (url) => (url.pathname = '/closed'),
      /\(55000, database "closed" is not currently accepting connections\)/,
    ],
    [
      'a setting nobody knows',
      (url) => url.searchParams.set('options', '-c no.such-thing'),
      /\((42601|22023|42704), .*no\.such/,
    ],
    [
      'a server without TLS',
      (url) => url.searchParams.set('sslmode', 'verify-full'),
      /the TLS connection to Postgres failed \(The server does not support SSL connections\): .*sslmode=disable/,
    ],
    [
      'nobody at the port',
      (url) => (url.port = '1'),
      /cannot be reached \(ECONNREFUSED, connect ECONNREFUSED 127\.0\.0\.1:1\): check that it runs/,
    ],
    [
      'nobody of that name',
      (url) => (url.hostname = 'nowhere.invalid'),
      /cannot be reached \((ENOTFOUND|EAI_AGAIN), getaddrinfo .*nowhere\.invalid\)/,
    ],
  ])('%s is said by doctor in its own words', async (_, change, expected) => {
    const said = await doctor({ DATABASE_URL: postgresUrl(change) });
    expect(said).toMatch(expected);
    expect(said).toMatch(/^FAIL {2}Postgres: /m);
    expect(said).not.toContain('does not answer');
    expect(said).not.toContain(PASSWORD);
  });

  test.each<[Certificate, string | null, RegExp]>([
    [
      'alone',
      null,
      /DEPTH_ZERO_SELF_SIGNED_CERT, self-signed certificate.*\): .*sslrootcert=FILE.*NODE_EXTRA_CA_CERTS/,
    ],
    ['server', null, /UNABLE_TO_VERIFY_LEAF_SIGNATURE, unable to verify the first certificate.*\): .*sslrootcert=FILE/],
    ['expired', 'authority', /CERT_HAS_EXPIRED, certificate has expired\): renew/],
    ['elsewhere', 'authority', /ERR_TLS_CERT_ALTNAME_INVALID, Hostname\/IP does not match .*\): use a host name/],
  ])('a certificate that is %s, with the authority %s', async (certificate, authority, expected) => {
    const front = await startTlsFront(stores.postgresServer.port, { certificate, asks: true });
    onTestFinished(() => front.stop());
    const said = await doctor({ DATABASE_URL: encrypted(front.port, authority) });
    expect(said).toMatch(expected);
    expect(said).toMatch(/FAIL {2}Postgres: the TLS connection to Postgres failed/);
  });

  test('over TLS with its authority given, everything works, cancelling too', async () => {
    const front = await startTlsFront(stores.postgresServer.port, { certificate: 'server', asks: true });
    onTestFinished(() => front.stop());
    const url = encrypted(front.port, 'authority');
    expect(await doctor({ DATABASE_URL: url })).toMatch(/^ok {4}Postgres: version/m);
    const { pool } = createPostgres({ url, maxConnections: 1 }, createLog('silent'));
    onTestFinished(() => pool.end());
    await expect(pool.query('SELECT pg_sleep(66)')).rejects.toMatchObject({ code: '57014' });
  });

  function encrypted(port: number, authority: string | null): string {
    return postgresUrl((url) => {
      url.port = String(port);
      url.searchParams.set('sslmode', 'verify-full');
      if (authority !== null) url.searchParams.set('sslrootcert', certificateFile('authority'));
    });
  }

  test('a running Weir says it in log and health, in words that change with the reason', async () => {
    await admin(`CREATE ROLE late LOGIN PASSWORD '${PASSWORD}'`);
    const dataDir = join(cwd, 'running');
    const env = {
      PORT: '0',
      HOST: '127.0.0.1',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: postgresUrl((url) => Object.assign(url, { username: 'late', password: 'secret' })),
      CLICKHOUSE_URL: stores.clickhouseUrl,
    };
    const weir = startWeir(['serve'], { cwd, env });
    onTestFinished(async () => {
      weir.child.kill('SIGKILL');
      await weir.finished;
    });
    const refused = 'Postgres refuses the connection (28P01, password authentication failed for user "late")';
    await vi.waitFor(async () => expect(await reasonsOf(dataDir)).toContain(refused), SETTLED);
    expect(weir.written()).toContain('password authentication failed for user \\"late\\"');
    await admin(`ALTER ROLE late PASSWORD 'secret'`);
    // It may connect now, and not create anything.
    const unable = /^Postgres is not migrated yet: .*\(42501, permission denied for schema drizzle\): grant /;
    await vi.waitFor(
      async () => expect(await reasonsOf(dataDir)).toContainEqual(expect.stringMatching(unable)),
      SETTLED,
    );
    expect(weir.written()).toMatch(/permission denied for /);
  });
});

describe('ClickHouse', () => {
  const clickhouseUrl = (change: (url: URL) => void) => {
    const url = new URL(stores.clickhouseUrl);
    change(url);
    return url.href;
  };

  test.each<[string, (url: URL) => void, RegExp]>([
    [
      'an unknown user',
      (url) => Object.assign(url, { username: 'nobody', password: PASSWORD }),
      /\(516, nobody: Authentication failed.*\): check CLICKHOUSE_USERNAME/,
    ],
    [
      'a port without TLS asked for it',
      (url) => (url.protocol = 'https:'),
      /the TLS connection to ClickHouse failed \((EPROTO|ERR_SSL_\w+), .*\): check the port/,
    ],
    [
      'nobody at the port',
      (url) => (url.port = '1'),
      /cannot be reached \(ECONNREFUSED, connect ECONNREFUSED 127\.0\.0\.1:1\): check/,
    ],
    [
      'nobody of that name',
      (url) => (url.hostname = 'nowhere.invalid'),
      /cannot be reached \((ENOTFOUND|EAI_AGAIN), getaddrinfo .*nowhere\.invalid\)/,
    ],
  ])('%s is said by doctor', async (_, change, expected) => {
    const said = await doctor({ CLICKHOUSE_URL: clickhouseUrl(change) });
    expect(said).toMatch(/^FAIL {2}ClickHouse: /m);
    expect(said).toMatch(expected);
    expect(said).not.toContain(PASSWORD);
  });

  test.each<[Certificate, RegExp]>([
    ['alone', /DEPTH_ZERO_SELF_SIGNED_CERT, .*\): .*NODE_EXTRA_CA_CERTS=FILE/],
    ['server', /UNABLE_TO_VERIFY_LEAF_SIGNATURE, .*\): .*NODE_EXTRA_CA_CERTS=FILE/],
  ])('a certificate that is %s, of an authority nobody knows', async (certificate, expected) => {
    const front = await startTlsFront(stores.clickhouseServer.port, { certificate, asks: false });
    onTestFinished(() => front.stop());
    const said = await doctor({ CLICKHOUSE_URL: `https://127.0.0.1:${front.port}` });
    expect(said).toMatch(/^FAIL {2}ClickHouse: the TLS connection to ClickHouse failed/m);
    expect(said).toMatch(expected);
    const plain = await doctor({ CLICKHOUSE_URL: `http://127.0.0.1:${front.port}` });
    expect(plain).toMatch(/^FAIL {2}ClickHouse: .*https:\/\//m);
  });

  test('with NODE_EXTRA_CA_CERTS everything works; health of a Weir without it says why not', async () => {
    const front = await startTlsFront(stores.clickhouseServer.port, { certificate: 'server', asks: false });
    onTestFinished(() => front.stop());
    const env = {
      PORT: '0',
      HOST: '127.0.0.1',
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: `https://127.0.0.1:${front.port}`,
    };
    const trusting = startWeir(['doctor'], { cwd, env: { ...env, NODE_EXTRA_CA_CERTS: certificateFile('authority') } });
    expect((await trusting.finished).stdout).toMatch(/^ok {4}ClickHouse: version/m);

    const dataDir = join(cwd, 'untrusting');
    const weir = startWeir(['serve'], { cwd, env: { ...env, WEIR_DATA_DIR: dataDir } });
    onTestFinished(async () => {
      weir.child.kill('SIGKILL');
      await weir.finished;
    });
    const reason = /^the TLS connection to ClickHouse failed \(UNABLE_TO_VERIFY_LEAF_SIGNATURE, /;
    await vi.waitFor(
      async () => expect(await reasonsOf(dataDir)).toContainEqual(expect.stringMatching(reason)),
      SETTLED,
    );
    expect(weir.written()).toMatch(/"store refuses connections"/);
  });

  test('behind the path of a proxy it is found', async () => {
    const asked: (string | undefined)[] = [];
    const proxy = createServer((incoming, answer) => {
      asked.push(incoming.url);
      if (!incoming.url?.startsWith('/stores/events/?')) return void answer.writeHead(404).end('nothing here');
      const path = incoming.url.slice('/stores/events'.length);
      const { method, headers } = incoming;
      const forwarded = request({ port: stores.clickhouseServer.port, host: '127.0.0.1', method, headers, path });
      forwarded.on('response', (answered) => {
        answer.writeHead(answered.statusCode!, answered.headers);
        answered.pipe(answer);
      });
      incoming.pipe(forwarded);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => void proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const said = await doctor({ CLICKHOUSE_URL: `http://127.0.0.1:${port}/stores/events/` });
    expect(said).toMatch(/^ok {4}ClickHouse: version/m);
    expect(said).toMatch(/^ok {4}ClickHouse schema: as expected/m);
    expect(asked.length).toBeGreaterThan(1);
  });
});

async function reasonsOf(dataDir: string): Promise<unknown> {
  const runtime = readRuntime(dataDir);
  if (runtime.kind !== 'running' || runtime.url === null) return null;
  const answer = await fetch(new URL('/health', runtime.url));
  return ((await answer.json()) as { reasons: unknown }).reasons;
}
