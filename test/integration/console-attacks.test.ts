/** Attempts against a console that runs beside a real Weir, over real sockets, with its accounts in a real Postgres. */
import { type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../support/ports.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { type Running, commandWeir, startWeir } from '../support/weir.ts';

const SESSION = '/api/v1/operator/session';
const PASSWORD = 'a right long password';

let stores: Stores;
let weir: Running;
let cwd: string;
let env: Record<string, string>;
let port: number;
let origin: string;
/** Whose wrong guesses are counted together: each test has an address of its own. */
let from = '127.0.0.1';
let addresses = 0;
beforeEach(() => {
  from = `127.0.1.${++addresses}`;
});
/** Everything that must be in no log. */
const secrets: string[] = [PASSWORD];

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-console-'));
  stores = await startStores();
  port = freePort();
  origin = `http://127.0.0.1:${port}`;
  env = { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl, LOG_LEVEL: 'debug' };
  weir = startWeir(['serve'], {
    cwd,
    env: { ...env, PORT: String(freePort()), CONSOLE_PORT: String(port), WEIR_DATA_DIR: join(cwd, '.weir') },
  });
  await until(() => weir.written().includes('console listening'));
});
afterAll(async () => {
  weir?.child.kill('SIGTERM');
  await weir?.finished;
  await stores?.stop();
  rmSync(cwd, { recursive: true, force: true });
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

type Answer = { readonly status: number; readonly headers: Record<string, unknown>; readonly body: string };

function ask(
  method: string,
  path: string,
  { headers = {}, body }: { headers?: OutgoingHttpHeaders; body?: string | Buffer } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const own = method === 'GET' ? {} : { Origin: origin, 'Content-Type': 'application/json' };
    const to = { port, host: '127.0.0.1', localAddress: from };
    const sent = request({ ...to, method, path, headers: { ...own, ...headers }, agent: false });
    sent.on('error', reject).on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, body: text }));
      answer.on('error', reject);
    });
    sent.end(body);
  });
}

/** All that comes back for these bytes until the connection ends. */
function send(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.on('error', () => {}).on('close', () => resolve(text));
    socket.end(bytes, 'latin1');
  });
}

const command = (args: readonly string[], stdin = '') => commandWeir(args, { cwd, env, stdin });

async function newLink(): Promise<string> {
  const { stdout } = await command(['console', 'link', '--json', '--actor', 'mira']);
  const { url } = JSON.parse(stdout) as { url: string };
  expect(url.startsWith(`${origin}/#link=`)).toBe(true);
  const secret = url.split('#link=')[1]!;
  secrets.push(secret);
  return secret;
}

type Session = {
  readonly cookie: string;
  readonly headers: { readonly Cookie: string; readonly 'X-Weir-Csrf': string };
};

async function signIn(body: object): Promise<Session | number> {
  const answer = await ask('POST', SESSION, { body: JSON.stringify(body) });
  if (answer.status !== 200) return answer.status;
  const [cookie] = (answer.headers['set-cookie'] as string[])[0]!.split(';');
  const { csrf } = JSON.parse(answer.body) as { csrf: string };
  secrets.push(cookie!.split('=')[1]!, csrf);
  return { cookie: cookie!, headers: { Cookie: cookie!, 'X-Weir-Csrf': csrf } };
}

const byLink = async () => (await signIn({ link: await newLink() })) as Session;
const seen = async ({ headers }: Session) => (await ask('GET', SESSION, { headers })).status;
const sql = (text: string, values: unknown[] = []) => stores.postgres.pool.query(text, values);

async function account(name: string, role: 'viewer' | 'operator' = 'operator') {
  const { code } = await command(['operator', 'add', name, '--role', role, '--password-stdin'], `${PASSWORD}\n`);
  expect(code).toBe(0);
  return (await signIn({ name, password: PASSWORD })) as Session;
}

describe('a session', () => {
  test('that is twelve hours old is over, however much it was used', async () => {
    const session = await byLink();
    await sql(`UPDATE console_sessions SET created_at = now() - interval '12 hours 1 second' WHERE name = 'mira'`);
    expect(await seen(session)).toBe(401);
  });

  test('that was not used for two hours is over; used before, it goes on', async () => {
    const session = await byLink();
    await sql(`UPDATE console_sessions SET last_seen_at = now() - interval '119 minutes'`);
    expect(await seen(session)).toBe(200);
    await sql(`UPDATE console_sessions SET created_at = now() - interval '3 hours'`);
    expect(await seen(session)).toBe(200);
    await sql(`UPDATE console_sessions SET last_seen_at = now() - interval '2 hours 1 second'`);
    expect(await seen(session)).toBe(401);
  });

  test('that was signed out is over, for good', async () => {
    const session = await byLink();
    expect((await ask('DELETE', SESSION, { headers: session.headers })).status).toBe(204);
    expect(await seen(session)).toBe(401);
  });

  test('cannot be made from what Postgres keeps of it', async () => {
    await byLink();
    const { rows } = await sql('SELECT id_hash FROM console_sessions ORDER BY created_at DESC LIMIT 1');
    const hash = (rows[0] as { id_hash: string }).id_hash;
    for (const forged of [hash, Buffer.from(hash, 'hex').toString('base64url')]) {
      expect((await ask('GET', SESSION, { headers: { Cookie: `weir_console=${forged}` } })).status).toBe(401);
    }
  });

  test.each([
    ['disabled', ['operator', 'disable', 'NAME', '--yes']],
    ['given another role', ['operator', 'role', 'NAME', 'viewer']],
  ])('of an account that is %s is over at once', async (what, args) => {
    const name = `session ${what}`;
    const session = await account(name);
    expect(await seen(session)).toBe(200);
    expect((await command(args.map((arg) => (arg === 'NAME' ? name : arg)))).code).toBe(0);
    expect(await seen(session)).toBe(401);
  });

  test('of an account whose password is changed is over at once, and the old password signs nobody in', async () => {
    const session = await account('changed');
    expect((await command(['operator', 'passwd', 'changed', '--password-stdin'], 'another long password')).code).toBe(
      0,
    );
    expect(await seen(session)).toBe(401);
    expect(await signIn({ name: 'changed', password: PASSWORD })).toBe(401);
  });

  test('of an account that was changed in Postgres itself is over, too', async () => {
    const session = await account('by hand');
    await sql(`UPDATE operators SET role = 'viewer' WHERE name = 'by hand'`);
    expect(await seen(session)).toBe(401);
  });

  test('does not begin for a disabled account, until it is enabled again', async () => {
    await account('gone');
    await command(['operator', 'disable', 'gone', '--yes']);
    expect(await signIn({ name: 'gone', password: PASSWORD })).toBe(401);
    await command(['operator', 'enable', 'gone']);
    expect(await signIn({ name: 'gone', password: PASSWORD })).toMatchObject({ cookie: expect.any(String) });
  });

  test('that begins leaves none of the browser’s earlier ones behind, and takes over none that was planted', async () => {
    const before = await byLink();
    const body = JSON.stringify({ link: await newLink() });
    const answer = await ask('POST', SESSION, { headers: { Cookie: before.cookie }, body });
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.headers['set-cookie'])).not.toContain(before.cookie);
    expect(await seen(before)).toBe(401);
  });
});

describe('a link', () => {
  test('used by twenty at once lets one of them in', async () => {
    const link = await newLink();
    const answers = await Promise.all(Array.from({ length: 20 }, () => signIn({ link })));
    expect(answers.filter((answer) => typeof answer === 'object')).toHaveLength(1);
  });

  test('that is too old lets nobody in', async () => {
    const link = await newLink();
    await sql(`UPDATE console_links SET expires_at = now() - interval '1 second'`);
    expect(await signIn({ link })).toBe(401);
  });

  test('is valid for ten minutes', async () => {
    await newLink();
    const { rows } = await sql(
      `SELECT max(expires_at) - now() <= interval '10 minutes' AS is_short FROM console_links`,
    );
    expect(rows[0]).toEqual({ is_short: true });
  });

  test('cannot be guessed, cut, written otherwise or made from what Postgres keeps', async () => {
    const link = await newLink();
    const { rows } = await sql('SELECT secret_hash FROM console_links ORDER BY expires_at DESC LIMIT 1');
    const hash = (rows[0] as { secret_hash: string }).secret_hash;
    for (const forged of [
      'x'.repeat(43),
      link.slice(1),
      `${link} `,
      link.toUpperCase(),
      `${link}' OR '1'='1`,
      '%',
      hash,
    ]) {
      expect(await signIn({ link: forged })).toBe(401);
    }
    expect(typeof (await signIn({ link }))).toBe('object');
  });

  test('makes nobody appear as Weir itself', async () => {
    expect(await command(['console', 'link', '--actor', 'drain'])).toMatchObject({ code: 1, stdout: '' });
    expect(await command(['operator', 'add', 'drain', '--role', 'viewer', '--password-stdin'], PASSWORD)).toMatchObject(
      {
        code: 1,
      },
    );
  });
});

describe('an account', () => {
  test('is not opened by the hash of its password, by SQL, or by another case of its name', async () => {
    await account('Nora');
    const { rows } = await sql(`SELECT password_hash FROM operators WHERE name = 'Nora'`);
    const hash = (rows[0] as { password_hash: string }).password_hash;
    expect(hash).not.toContain(PASSWORD);
    for (const wrong of [
      { name: 'Nora', password: hash },
      { name: 'Nora', password: hash.split('$').at(-1)! },
      { name: `Nora' --`, password: PASSWORD },
      { name: 'nora', password: PASSWORD },
      { name: 'Nora ', password: PASSWORD },
      { name: '%', password: PASSWORD },
    ]) {
      expect(await signIn(wrong)).toBe(401);
    }
  });

  test('takes no short password, and no second one of its name', async () => {
    const add = (password: string) =>
      command(['operator', 'add', 'Olaf', '--role', 'viewer', '--password-stdin'], password);
    expect((await add('short')).stderr).toContain('12 to 1024 characters');
    expect((await add(PASSWORD)).code).toBe(0);
    expect(await add(PASSWORD)).toMatchObject({ code: 1, stderr: expect.stringContaining('already') });
  });

  test('is guessed slowly, and says so to who guesses', async () => {
    await account('guessed');
    const statuses = [];
    for (let guess = 0; guess < 6; guess++)
      statuses.push(await signIn({ name: 'guessed', password: `guess ${guess}` }));
    expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
    // Comparing takes its time: the wait of the sixth may be over.
    expect([401, 429]).toContain(statuses[5]);
    const burst = await Promise.all(Array.from({ length: 20 }, () => signIn({ name: 'guessed', password: 'burst' })));
    expect(burst).toContain(429);
  });

  test('has its changes in the audit, with who made them', async () => {
    await command(['operator', 'add', 'audited', '--role', 'viewer', '--password-stdin', '--actor', 'root'], PASSWORD);
    await command(['operator', 'disable', 'audited', '--yes', '--actor', 'root']);
    const { rows } = await sql(
      `SELECT action, actor FROM failed_events_audit WHERE detail->>'name' = 'audited' ORDER BY id`,
    );
    expect(rows).toEqual([
      { action: 'operator added', actor: 'root' },
      { action: 'operator disabled', actor: 'root' },
    ]);
  });
});

describe('bytes on the wire', () => {
  const own = () => `Host: 127.0.0.1:${port}\r\nConnection: close\r\n`;

  test.each([
    ['another name', () => 'Host: evil.example\r\n'],
    ['two names', () => `Host: 127.0.0.1:${port}\r\nHost: evil.example\r\n`],
    ['no name', () => ''],
    ['a name with a user', () => `Host: 127.0.0.1:${port}@evil.example\r\n`],
    ['a name with a path', () => `Host: 127.0.0.1:${port}/x\r\n`],
    ['another port', () => 'Host: 127.0.0.1:1\r\n'],
    ['a forwarded name alone', () => `Host: evil.example\r\nX-Forwarded-Host: 127.0.0.1:${port}\r\n`],
  ])('under %s get no page', async (_, host) => {
    const answer = await send(`GET ${SESSION} HTTP/1.1\r\n${host()}Connection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 4(00|21) /);
  });

  test('of HTTP/1.0 without a name get no page', async () => {
    expect(await send('GET / HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 4(00|21) /);
  });

  test.each(['TRACE', 'PROPFIND', 'LOCK', 'M-SEARCH'])(
    'of %s are answered, and nothing is repeated',
    async (method) => {
      const answer = await send(`${method} / HTTP/1.1\r\n${own()}X-Secret: repeated\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 405 /);
      expect(answer).not.toContain('repeated');
    },
  );

  test('of CONNECT open nothing', async () => {
    expect(await send(`CONNECT evil.example:80 HTTP/1.1\r\n${own()}\r\n`)).not.toMatch(/^HTTP\/1\.1 2/);
  });

  test.each(['websocket', 'h2c'])('that ask to become %s stay HTTP', async (protocol) => {
    const upgrade = `Upgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
    const head = `GET ${SESSION} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\n${upgrade}`;
    const answer = await send(`${head}\r\nGET ${SESSION} HTTP/1.1\r\n${own()}\r\n`);
    expect(answer).not.toMatch(/^HTTP\/1\.1 101 /m);
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });

  test('with two lengths, or a length and chunks, are no request', async () => {
    const both = `POST ${SESSION} HTTP/1.1\r\n${own()}Origin: ${origin}\r\nContent-Type: application/json\r\n`;
    const smuggled = `GET ${SESSION} HTTP/1.1\r\n${own()}\r\n`;
    for (const lengths of [
      'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
      'Content-Length: 4\r\nContent-Length: 5\r\n',
    ]) {
      expect(await send(`${both}${lengths}\r\n0\r\n\r\n${smuggled}`)).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test('with a target that names another host are judged by their Host', async () => {
    const answer = await send(`GET http://evil.example${SESSION} HTTP/1.1\r\n${own()}\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 40[01] /);
  });

  test('whose head is larger than 16 KiB are refused', async () => {
    expect((await ask('GET', '/', { headers: { 'X-Large': 'x'.repeat(20_000) } })).status).toBe(431);
  });

  test.each([
    ['with its length said', { 'Content-Length': 2_000_000 }],
    ['in chunks', { 'Transfer-Encoding': 'chunked' }],
  ])('of a body of two megabytes %s are refused', async (_, headers) => {
    // Refused before it was sent whole, the connection may end first.
    const status = await ask('POST', SESSION, { headers, body: Buffer.alloc(2_000_000, ' ') }).then(
      (answer) => answer.status,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect([413, 'EPIPE', 'ECONNRESET']).toContain(status);
    expect((await ask('GET', SESSION)).status).toBe(401);
  });
});

test.each([
  '/../package.json',
  '/..%2fpackage.json',
  '/%2e%2e/package.json',
  '/%2e%2e%2fpackage.json',
  '/assets/../../../package.json',
  '/assets/..%5c..%5cpackage.json',
  '/assets/..\\..\\package.json',
  '/assets/%252e%252e/package.json',
  '//etc/passwd',
  '///etc/passwd',
  '/etc/passwd',
  '/file:///etc/passwd',
  '/index.html%00.js',
  '/index.html/',
  '/assets',
  '/assets/',
  '/.vite/manifest.json',
  '/.env',
  '/package.json',
  '/src/main.ts',
  '/constructor',
  '/__proto__',
])('the path %s reads no file', async (path) => {
  const { status, body } = await ask('GET', path);
  expect([400, 404]).toContain(status);
  expect(body).not.toContain('root:');
  expect(body).not.toContain('"scripts"');
});

describe('the service and its console', () => {
  test('answer nothing of each other', async () => {
    const { url } = JSON.parse(readFileSync(join(cwd, '.weir/runtime.json'), 'utf8')) as { url: string };
    const session = await byLink();
    const { headers } = session;
    for (const path of [SESSION, '/api/v1/operator/now', '/api/v1/operator', '/assets/', '/']) {
      expect((await fetch(`${url}${path}`, { headers })).status, path).toBe(404);
    }
    const signing = { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } };
    expect((await fetch(`${url}${SESSION}`, signing)).status).toBe(404);
    for (const path of ['/api/v1/ingest/events', '/v1/events', '/health', '/internal/metrics', '/openapi.json']) {
      expect((await ask('GET', path, { headers })).status, path).toBe(404);
    }
  });

  test('have no secret of anybody in the log', async () => {
    await newLink();
    await signIn({ name: 'nobody', password: 'a password in the wrong place' });
    await signIn({ name: 'my password as my name', password: PASSWORD });
    const log = weir.written();
    expect(secrets.length).toBeGreaterThan(10);
    for (const secret of [...secrets, 'a password in the wrong place', 'my password as my name']) {
      expect(log).not.toContain(secret);
    }
    expect(log).toContain('signed in to the console');
  });
});

test('a console that is killed is started again at its port, with its sessions', async () => {
  const session = await byLink();
  const { child } = weir;
  const pids = () => childrenOf(child.pid!).filter((pid) => commandOf(pid).includes('console-host'));
  const [before] = pids();
  process.kill(before!, 'SIGKILL');
  await until(() => pids().some((pid) => pid !== before));
  await until(() =>
    seen(session).then(
      (status) => status === 200,
      () => false,
    ),
  );
  expect(child.exitCode).toBeNull();
  expect(weir.written()).toContain('console ended; restarting it');
});

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
const commandOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8');
