/** The console as a process beside a real Weir: when there is one, and that neither needs the other. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../support/ports.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { type Running, commandWeir, startWeir } from '../support/weir.ts';

const SESSION = '/api/v1/operator/session';

let stores: Stores;
let cwd: string;
let weir: Running | null = null;

beforeAll(async () => {
  stores = await startStores();
});
afterAll(async () => {
  await stores?.stop();
});
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-console-'));
});
afterEach(async () => {
  weir?.child.kill('SIGKILL');
  await weir?.finished;
  weir = null;
  rmSync(cwd, { recursive: true, force: true });
});

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    if (weir !== null && weir.child.exitCode !== null) throw new Error(`${what}: Weir ended\n${weir.written()}`);
    await sleep(20);
  }
}

const storesEnv = () => ({ DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl });

function start(env: Record<string, string>): Running {
  weir = startWeir(['serve'], {
    cwd,
    env: { ...storesEnv(), PORT: String(freePort()), WEIR_DATA_DIR: join(cwd, '.weir'), ...env },
  });
  return weir;
}

/** Its address, once it listens. */
async function startWithConsole(env: Record<string, string> = {}): Promise<string> {
  const port = String(freePort());
  const { written } = start({ CONSOLE_PORT: port, ...env });
  await until('the console', () => written().includes('"console listening"'));
  return `http://127.0.0.1:${port}`;
}

/** The consoles among the children of the service and theirs. */
function consoles(): number[] {
  return weir!.child.pid === undefined ? [] : offspringOf(weir!.child.pid).filter(isConsole);
}

function offspringOf(pid: number): number[] {
  const children = readOr(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number);
  return [...children, ...children.flatMap(offspringOf)];
}

const isConsole = (pid: number) => readOr(`/proc/${pid}/cmdline`).includes('console-host');
const isGone = (pid: number) => !existsSync(`/proc/${pid}`) || /\) Z /.test(readOr(`/proc/${pid}/stat`));

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process is gone.
    return '';
  }
}

const post = (origin: string, body: object) =>
  fetch(`${origin}${SESSION}`, {
    method: 'POST',
    headers: { Origin: origin, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });

async function linkOf(env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await commandWeir(['console', 'link'], { cwd, env: { ...storesEnv(), ...env } });
  return stdout.trim();
}

describe('there is no console', () => {
  test.each([
    ['where it is off', { CONSOLE_PORT: 'off' }],
    ['in production, until a port is named', { CONSOLE_PORT: '', NODE_ENV: 'production', HOST: '127.0.0.1' }],
  ])('%s', async (_, env) => {
    const { written, child } = start(env);
    await until('listening', () => written().includes('"listening"'));
    expect(consoles()).toEqual([]);
    expect((await commandWeir(['console', 'link'], { cwd, env: { ...storesEnv(), ...env } })).stderr).toContain(
      'No console is known here',
    );
    child.kill('SIGTERM');
    expect(await weir!.finished).toMatchObject({ code: 0 });
    expect(written()).not.toMatch(/console (listening|ended)|#link=/);
  });
});

test('a port that is named and taken ends the start, before anything has begun, and names its setting', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { code, stderr } = await start({ CONSOLE_PORT: String(port) }).finished;
  other.close();
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: `port ${port} is already in use: stop the process that listens there, or set CONSOLE_PORT to another port\n`,
  });
});

test('the banner’s link lets one person in, and the next link is found without settings', async () => {
  const { written } = start({ CONSOLE_PORT: 'auto' });
  await until('the banner', () => written().includes('#link='));
  const [link, origin, secret] = /(http:\S+)\/#link=(\S+)/.exec(written())!;
  expect(link).toBeDefined();
  const answer = await post(origin!, { link: secret });
  expect(await answer.json()).toMatchObject({ name: 'console', role: 'operator', showsEvents: true });
  expect((await post(origin!, { link: secret })).status).toBe(401);
  const next = await linkOf();
  expect(next.startsWith(`${origin}/#link=`)).toBe(true);
  expect((await post(origin!, { link: next.split('#link=')[1] })).status).toBe(200);
});

test('several workers have one console, whose end they do not notice, and which ends with them', async () => {
  await startWithConsole({ WEIR_WORKERS: '2' });
  const [first, ...others] = consoles();
  expect(others).toEqual([]);
  process.kill(first!, 'SIGKILL');
  await until('another console', () => consoles().some((pid) => pid !== first));
  const [second] = consoles();
  weir!.child.kill('SIGTERM');
  expect(await weir!.finished).toMatchObject({ code: 0 });
  expect(isGone(second!)).toBe(true);
  expect(weir!.written()).not.toContain('worker ended');
});

test('a console whose service is killed ends by itself', async () => {
  await startWithConsole();
  const [pid] = consoles();
  weir!.child.kill('SIGKILL');
  await weir!.finished;
  weir = null;
  await until('the console’s end', () => isGone(pid!));
});

test('a console that is frozen keeps its service neither from working nor from ending', async () => {
  await startWithConsole();
  const [pid] = consoles();
  process.kill(pid!, 'SIGSTOP');
  const { url } = JSON.parse(readFileSync(join(cwd, '.weir/runtime.json'), 'utf8')) as { url: string };
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  weir!.child.kill('SIGTERM');
  expect(await weir!.finished).toMatchObject({ code: 0 });
  expect(isGone(pid!)).toBe(true);
});

test('while Postgres is away, who was signed in reads on, nobody signs in, and then all is as before', async () => {
  const origin = await startWithConsole();
  const [link, other] = [await linkOf({ CONSOLE_ORIGIN: origin }), await linkOf({ CONSOLE_ORIGIN: origin })];
  const signedIn = await post(origin, { link: link.split('#link=')[1] });
  const cookie = signedIn.headers.get('Set-Cookie')!.split(';')[0]!;
  const read = () => fetch(`${origin}${SESSION}`, { headers: { Cookie: cookie } });
  expect((await read()).status).toBe(200);
  await stores.postgresServer.stop();
  expect((await read()).status).toBe(200);
  expect((await post(origin, { link: other.split('#link=')[1] })).status).toBe(503);
  await stores.postgresServer.start();
  // A connection of before may be the first that is used.
  await until('signing in', async () => (await post(origin, { link: other.split('#link=')[1] })).status === 200);
  expect((await read()).status).toBe(200);
});
