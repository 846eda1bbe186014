import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEmbeddedClickHouse } from '../../src/embedded/clickhouse.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import type { EmbeddedStore } from '../../src/embedded/store-process.ts';

/** However busy the machine is. */
const SOON = { timeout: 20_000 };

let dir: string;
const started: EmbeddedStore[] = [];

beforeEach(async () => {
  // As under /root: nobody but the owner may walk through, and Postgres does not run as root.
  const locked = await mkdtemp(join(tmpdir(), 'weir-embedded-'));
  chmodSync(locked, 0o700);
  dir = join(locked, 'data');
  await mkdir(dir);
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((store) => store.stop()));
  await rm(join(dir, '..'), { recursive: true, force: true });
});

type Start = (at: { dir: string; port?: number }) => Promise<EmbeddedStore>;

async function startWith(start: Start, port?: number): Promise<EmbeddedStore> {
  const store = await start({ dir, ...(port === undefined ? {} : { port }) });
  started.push(store);
  return store;
}

async function askClickHouse({ url }: { url: string }, query: string): Promise<string> {
  const answer = await fetch(url, { method: 'POST', body: query });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text.trim();
}

async function askPostgres({ url }: { url: string }, query: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: query, rowMode: 'array' });
    return String(rows[0]?.[0] ?? '');
  } finally {
    await client.end();
  }
}

// First starts are many; waiting for the disk is one test's business.
const startQuickPostgres: Start = (at) => startEmbeddedPostgres({ ...at, durable: false });

const kinds = [
  {
    name: 'ClickHouse',
    start: startEmbeddedClickHouse,
    ask: askClickHouse,
    create: 'CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a',
  },
  { name: 'Postgres', start: startQuickPostgres, ask: askPostgres, create: 'CREATE TABLE kept (a int)' },
];

describe.each(kinds)('the embedded $name', ({ start, ask, create }) => {
  const count = 'SELECT count(*) FROM kept';

  test('keeps its data over a stop and over kill -9, on the same port when asked', async () => {
    const first = await startWith(start);
    await ask(first, create);
    await ask(first, 'INSERT INTO kept VALUES (1), (2)');
    await first.stop();
    const second = await startWith(start, first.port);
    expect(second.url).toBe(first.url);
    await ask(second, 'INSERT INTO kept VALUES (3)');
    process.kill(second.pid, 'SIGKILL');
    expect(await second.exited).toMatchObject({ signal: 'SIGKILL' });
    const third = await startWith(start, first.port);
    expect(await ask(third, count)).toBe('3');
  });

  test('stops also when it hangs, when it is dead, and twice', async () => {
    const store = await startWith(start);
    process.kill(store.pid, 'SIGSTOP');
    await store.stop();
    await store.stop();
    await expect(ask(store, 'SELECT 1')).rejects.toThrow(/fetch failed|ECONNREFUSED/);
  });

  test('refuses a directory in use and names the owner', async () => {
    const store = await startWith(start);
    await expect(startWith(start)).rejects.toThrow(new RegExp(`in use by the process ${store.pid}`));
    expect(await ask(store, 'SELECT 1')).toBe('1');
  });

  test('names a port that is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    await expect(startWith(start, port)).rejects.toThrow(`port ${port} is taken`);
    squatter.close();
  });

  test('goes when its parent is killed, and a successor starts at once', async () => {
    const owner = spawn(process.execPath, ['--input-type=module', '-e', ownerProgram(start, dir)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: owner.stdout });
    const [line] = (await once(lines, 'line')) as [string];
    const { pid, url } = JSON.parse(line) as { pid: number; url: string };
    await ask({ url }, create);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const successor = await startWith(start);
    expect(await ask(successor, count)).toBe('0');
    expect(successor.pid).not.toBe(pid);
  });

  test('does not keep a finished program alive', async () => {
    const program = `${ownerProgram(start, dir)}\nclearInterval(keepAlive);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
    const [code] = (await once(owner, 'exit')) as [number];
    expect(code).toBe(0);
  });
});

function ownerProgram(start: Start, at: string): string {
  const [file, name] =
    start === startQuickPostgres ? ['postgres', 'startEmbeddedPostgres'] : ['clickhouse', 'startEmbeddedClickHouse'];
  const url = new URL(`../../src/embedded/${file}.ts`, import.meta.url).href;
  return `const keepAlive = setInterval(() => {}, 1000);
    const { ${name} } = await import(${JSON.stringify(url)});
    const { pid, url } = await ${name}({ dir: ${JSON.stringify(at)}, durable: false });
    console.log(JSON.stringify({ pid, url }));`;
}

test('the embedded ClickHouse runs with the settings it was given', async () => {
  const store = await startWith(startEmbeddedClickHouse);
  const changed = await askClickHouse(
    store,
    "SELECT name, value FROM system.server_settings WHERE name IN ('background_pool_size', 'max_server_memory_usage', 'keep_alive_timeout') ORDER BY name",
  );
  expect(changed).toBe('background_pool_size\t2\nkeep_alive_timeout\t30\nmax_server_memory_usage\t3000000000');
});

test('the embedded ClickHouse gives way to who waits for answers', async () => {
  const { pid, url } = await startWith(startEmbeddedClickHouse);
  await askClickHouse({ url }, 'SELECT 1');
  const tasks = `/proc/${pid}/task`;
  const niceness = readdirSync(tasks).flatMap((thread) => {
    const [, name, after] = /^\d+ \((.*)\) (.*)\n/.exec(readFileSync(join(tasks, thread, 'stat'), 'utf8'))!;
    // What works on inserts and merges; some of its other threads choose for themselves.
    return /^(HTTPHandler|MergeMutate)/.test(name!) ? [Number(after!.split(' ')[16])] : [];
  });
  expect([...new Set(niceness)]).toEqual([5]);
  // Where sessions are weighed first, that alone would change nothing.
  const session = `/proc/${pid}/autogroup`;
  if (existsSync(session)) await expect.poll(() => readFileSync(session, 'utf8'), SOON).toContain('nice 5');
});

test('the embedded Postgres writes through to the disk unless told otherwise', async () => {
  const durable = await startWith(startEmbeddedPostgres);
  expect(await askPostgres(durable, 'SHOW fsync')).toBe('on');
  await durable.stop();
  const quick = await startWith((at) => startEmbeddedPostgres({ ...at, durable: false }));
  expect(await askPostgres(quick, 'SHOW fsync')).toBe('off');
});

test('the embedded Postgres starts its first time in one of two starts at once', async () => {
  const starts = await Promise.allSettled([startWith(startQuickPostgres), startWith(startQuickPostgres)]);
  const winner = starts.find((outcome) => outcome.status === 'fulfilled');
  expect(starts.filter((outcome) => outcome.status === 'rejected')).toHaveLength(1);
  expect(await askPostgres(winner!.value, 'SELECT current_database()')).toBe('weir');
});
