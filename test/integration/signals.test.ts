/** How a Weir ends when it is told twice, or breaks: whatever it had accepted is somewhere. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { type Stores, newProjectToken, startStores } from '../support/stores.ts';
import { MAIN, NODE_FLAGS, type Running, startWeir, untilAnother } from '../support/weir.ts';

const isRequired = Boolean(process.env['CI']);
const hasNpm = ['npm', 'bash'].every((command) => spawnSync(command, ['--version']).status === 0);

let stores: Stores;
let token: string;
let dataDir: string;

beforeAll(async () => {
  stores = await startStores();
  token = await newProjectToken(stores, 'signals');
});
afterAll(() => stores.stop());
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-signals-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

async function start(env: Record<string, string> = {}): Promise<{ weir: Running; url: string }> {
  const weir = startWeir(['serve'], {
    cwd: dataDir,
    env: {
      PORT: '0',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      ...env,
    },
  });
  for (;;) {
    const url = /"url":"(http:[^"]+)"/.exec(weir.written())?.[1];
    if (url && (await fetch(`${url}/readyz`).catch(() => null))?.ok) return { weir, url };
    expect(weir.child.exitCode, weir.written()).toBeNull();
    await systemClock.sleep(20);
  }
}

/** What makes a Weir load such a module before its own. */
function preload(source: string): { NODE_OPTIONS: string } {
  const file = join(dataDir, 'preloaded.mjs');
  writeFileSync(file, source);
  return { NODE_OPTIONS: `--import=${file}` };
}

/** Sends one request of `count` events and returns their ids once they are acknowledged. */
async function accept(url: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => crypto.randomUUID());
  const events = ids.map((event_id) => ({ event: 'signal', event_id, timestamp: Date.now() }));
  const answer = await fetch(`${url}/api/v1/ingest/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ events }),
  });
  expect(answer.status).toBe(202);
  return ids;
}

/** How often each of the ids is stored. */
async function copiesOf(ids: readonly string[]): Promise<number[]> {
  const list = ids.map((id) => `'${id}'`).join(',');
  const rows = await stores.select<{ id: string; copies: string }>(
    `SELECT toString(event_id) AS id, count() AS copies FROM events_raw_v1 WHERE event_id IN (${list}) GROUP BY id`,
  );
  const copies = new Map(rows.map((row) => [row.id, Number(row.copies)]));
  return ids.map((id) => copies.get(id) ?? 0);
}

async function untilStored(ids: readonly string[]): Promise<void> {
  while ((await copiesOf(ids)).some((copies) => copies === 0)) await systemClock.sleep(50);
}

/** Ends it the hard way, while neither store answers. */
async function signalTwice({ child, written, finished }: Running): Promise<number | null> {
  // Frozen stores: the first signal's orderly way cannot end.
  stores.clickhouseServer.pause();
  stores.postgresServer.pause();
  child.kill('SIGTERM');
  while (!written().includes('shutting down')) await systemClock.sleep(10);
  await untilAnother();
  child.kill('SIGTERM');
  const { code } = await finished;
  stores.clickhouseServer.resume();
  stores.postgresServer.resume();
  return code;
}

const saved = () => (existsSync(join(dataDir, 'saved')) ? readdirSync(join(dataDir, 'saved')) : []);

async function expectStoredOnceAfterStart(ids: readonly string[], env: Record<string, string> = {}) {
  const { weir } = await start(env);
  await untilStored(ids);
  expect(await copiesOf(ids)).toEqual(ids.map(() => 1));
  while (saved().length > 0) await systemClock.sleep(20);
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
}

test('a second signal ends it at once and not with 0; what the journal holds needs no saving, the next start stores it once', async () => {
  const { weir, url } = await start({ INGEST_SHUTDOWN_GRACE: '60s' });
  const ids = await accept(url, 300);
  expect(await signalTwice(weir)).not.toBe(0);
  expect(saved()).toEqual([]);
  await expectStoredOnceAfterStart(ids);
});

test('without a journal a second signal saves what is in memory to disk; the next start stores it once, journal or not', async () => {
  const { weir, url } = await start({ INGEST_SHUTDOWN_GRACE: '60s', INGEST_JOURNAL: 'off' });
  const ids = await accept(url, 300);
  expect(await signalTwice(weir)).not.toBe(0);
  expect(saved()).toHaveLength(1);
  await expectStoredOnceAfterStart(ids);
});

test('the same signal twice, moments apart, is one: everything accepted is stored, the exit code is 0', async () => {
  for (const gapMs of [0, 0.1, 0.3, 0.6, 1, 2, 3]) {
    for (const [first, second] of [
      ['SIGINT', 'SIGINT'],
      ['SIGTERM', 'SIGTERM'],
      ['SIGINT', 'SIGTERM'],
    ] as const) {
      const { weir, url } = await start({ INGEST_JOURNAL: 'off', INGEST_FLUSH_INTERVAL: '10m' });
      const ids = await accept(url, 3);
      weir.child.kill(first);
      const sentAt = performance.now();
      while (performance.now() - sentAt < gapMs);
      weir.child.kill(second);
      const { code, stderr } = await weir.finished;
      expect({ gapMs, signal: weir.child.signalCode, code, stderr }).toMatchObject({ gapMs, signal: null, code: 0 });
      expect(stderr.match(/"signal received"/g)).toHaveLength(1);
      // Of two that wait for the process at once, either may reach it first.
      expect(stderr).toMatch(new RegExp(`"signal":"(${first}|${second})"`));
      expect(await copiesOf(ids)).toEqual([1, 1, 1]);
      expect(existsSync(join(dataDir, 'runtime.json'))).toBe(false);
    }
  }
});

/** As under bash, which becomes the last command of a line; other shells stay in between and keep the signal away. */
test.skipIf(!hasNpm && !isRequired)('one Ctrl-C under npm, which passes it on as well, is an orderly end', async () => {
  const script = [process.execPath, ...NODE_FLAGS, MAIN, 'serve'].join(' ');
  writeFileSync(join(dataDir, 'package.json'), JSON.stringify({ private: true, scripts: { start: script } }));
  const npm = spawn('npm', ['start', '--script-shell=bash', '--no-update-notifier'], {
    cwd: dataDir,
    env: { PATH: process.env['PATH'], HOME: dataDir, CONSOLE_PORT: 'off', PORT: '0', WEIR_DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  }
  const ended = once(npm, 'close');
  while (!text.includes('"msg":"listening"')) {
    expect(npm.exitCode, text).toBeNull();
    await systemClock.sleep(20);
  }
  process.kill(-npm.pid!, 'SIGINT');
  const [code] = await ended;
  expect({ code, text }).toMatchObject({ code: 0, text: expect.stringContaining('"msg":"stopped"') });
  expect(text).not.toContain('second signal');
});

test.each(['1', '2'])('a crash is left to the system, which ends the process at once: %s workers', async (workers) => {
  const { weir } = await start({ WEIR_WORKERS: workers });
  const child = `/proc/${weir.child.pid}/task/${weir.child.pid}/children`;
  const victims = workers === '1' ? [] : readFileSync(child, 'utf8').trim().split(' ').map(Number);
  for (const pid of victims) {
    process.kill(pid, 'SIGSEGV');
    const told = `"pid":${pid},"code":null,"signal":"SIGSEGV"`;
    while (!weir.written().includes(told)) await systemClock.sleep(20);
  }
  weir.child.kill('SIGSEGV');
  await weir.finished;
  expect(weir.child.signalCode).toBe('SIGSEGV');
});

test('what a preloaded module does at a signal, it still does', async () => {
  const heard = join(dataDir, 'heard');
  const { weir } = await start(
    preload(
      `import { writeFileSync } from 'node:fs';
       process.on('SIGTERM', () => writeFileSync(${JSON.stringify(heard)}, ''));`,
    ),
  );
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
  expect(existsSync(heard)).toBe(true);
});

test('a data directory in which nothing can be removed any more does not make an orderly end a failure', async () => {
  const { weir, url } = await start({ INGEST_FLUSH_INTERVAL: '10m' });
  const ids = await accept(url, 3);
  // Reading and removing it fail for every user.
  rmSync(join(dataDir, 'runtime.json'));
  mkdirSync(join(dataDir, 'runtime.json'));
  weir.child.kill('SIGTERM');
  const { code, stderr } = await weir.finished;
  expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('cannot be removed') });
  expect(stderr).not.toMatch(/"level":(50|60)/);
  expect(await copiesOf(ids)).toEqual([1, 1, 1]);
});

test('an error nobody caught takes the way of a signal: everything accepted is stored, the exit code is 1', async () => {
  const trigger = join(dataDir, 'trigger');
  const trap = preload(
    `import { existsSync } from 'node:fs';
     const watch = setInterval(() => {
       if (!existsSync(${JSON.stringify(trigger)})) return;
       clearInterval(watch);
       throw new Error('planted');
     }, 50);`,
  );
  const { weir, url } = await start({ ...trap, INGEST_FLUSH_INTERVAL: '10m' });
  const ids = await accept(url, 300);
  expect(await copiesOf(ids)).toEqual(ids.map(() => 0));
  writeFileSync(trigger, '');
  const { code, stderr } = await weir.finished;
  expect(code).toBe(1);
  expect(stderr).toContain('planted');
  expect(await copiesOf(ids)).toEqual(ids.map(() => 1));
});

test('a damaged saved batch is set aside and reported, and does not keep Weir from starting', async () => {
  const { weir } = await start();
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(0);
  mkdirSync(join(dataDir, 'saved'));
  writeFileSync(join(dataDir, 'saved', '01890000-0000-7000-8000-000000000001.batch'), '{"version":1}\nhalf a ro');

  const again = await start();
  again.weir.child.kill('SIGTERM');
  const { code, stderr } = await again.weir.finished;
  expect(code).toBe(0);
  expect(stderr).toContain('set aside');
  expect(saved()).toEqual(['01890000-0000-7000-8000-000000000001.batch.unreadable']);
});
