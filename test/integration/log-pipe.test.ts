/** A real Weir whose log nobody reads, whose log's disk is full, or whose reader has gone. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { isReady, until } from '../chaos/rig.ts';
import { freePort } from '../support/ports.ts';
import { type Stores, newProjectToken, startStores } from '../support/stores.ts';
import { MAIN, NODE_FLAGS } from '../support/weir.ts';

let stores: Stores;
let token: string;
let dir: string;
const ending: (() => void)[] = [];

beforeAll(async () => {
  stores = await startStores();
  token = await newProjectToken(stores, 'logs');
});
afterAll(() => stores?.stop());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weir-log-pipe-'));
});
afterEach(() => {
  for (const end of ending.splice(0).toReversed()) end();
  rmSync(dir, { recursive: true, force: true });
});

const dataDir = () => join(dir, 'data');

/** A pipe that nobody reads until the test does; full to the brim if asked for. */
function newPipe({ isFull }: { isFull: boolean }) {
  const path = join(dir, 'pipe');
  execFileSync('mkfifo', [path]);
  let reader: number | null = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  ending.push(() => closeSync(writer), stopReading);
  if (isFull) fill(path);
  return { writer, read, stopReading };

  /** What is in it now. */
  function read(): string {
    const bytes = Buffer.alloc(1024 * 1024);
    try {
      return bytes.toString('utf8', 0, readSync(reader!, bytes));
    } catch {
      return ''; // Empty.
    }
  }

  function stopReading() {
    if (reader !== null) closeSync(reader);
    reader = null;
  }
}

function fill(path: string) {
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(writer, ' ');
  } catch (error) {
    expect(error).toMatchObject({ code: 'EAGAIN' });
  } finally {
    closeSync(writer);
  }
}

type Weir = { readonly child: ChildProcess; readonly url: string; readonly exited: Promise<unknown[]> };

/** With `output` as standard output and standard error. */
async function start(output: number | 'pipe', env: Record<string, string> = {}): Promise<Weir> {
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, 'serve'], {
    cwd: tmpdir(),
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      HOST: '127.0.0.1',
      PORT: String(freePort()),
      WEIR_DATA_DIR: dataDir(),
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      INGEST_FLUSH_INTERVAL: '200ms',
      ...env,
    },
    stdio: ['ignore', output, output],
  });
  ending.push(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  let url: string | null = null;
  await until('ready', async () => {
    expect([child.exitCode, child.signalCode]).toEqual([null, null]);
    const runtime = readRuntime(dataDir());
    url = runtime.kind === 'running' && runtime.pid === child.pid ? runtime.url : null;
    return isReady(url);
  });
  return { child, url: url!, exited };
}

/** An event that is in ClickHouse when it is answered. */
async function expectStores({ url }: Weir) {
  const answer = await fetch(`${url}/api/v1/ingest/events?ack=stored`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ events: [{ event: 'logged', event_id: crypto.randomUUID(), timestamp: Date.now() }] }),
  });
  expect({ status: answer.status, ack: answer.headers.get('weir-ack') }).toEqual({ status: 202, ack: 'stored' });
}

async function expectLives({ url }: Weir) {
  const answer = await fetch(`${url}/livez`, { signal: AbortSignal.timeout(5_000) });
  expect(answer.status).toBe(200);
}

async function droppedLines({ url }: Weir): Promise<number> {
  const page = await (await fetch(`${url}/internal/metrics`)).text();
  return Number(/^weir_log_lines_dropped_total (\d+)$/m.exec(page)?.[1]);
}

/** Each makes a log line of some three hundred bytes. */
async function makeLines({ url }: Weir, count: number) {
  const id = 'x'.repeat(120);
  for (let made = 0; made < count; made += 50) {
    const answers = Array.from({ length: 50 }, async () => {
      const answer = await fetch(`${url}/ingest`, { method: 'POST', headers: { 'x-request-id': id }, body: '{}' });
      await answer.arrayBuffer();
    });
    await Promise.all(answers);
  }
}

async function expectEnds({ child, exited }: Weir) {
  child.kill('SIGTERM');
  const [code] = await exited;
  expect(code).toBe(0);
}

describe('a pipe that nobody reads', () => {
  test('from before the start: it starts, stores, lives and ends; what was logged is there when somebody reads', async () => {
    const pipe = newPipe({ isFull: true });
    const weir = await start(pipe.writer);
    await expectStores(weir);
    await expectLives(weir);
    pipe.read();
    let logged = '';
    await until('logged', () => (logged += pipe.read()).includes('"listening"'));
    fill(join(dir, 'pipe'));
    await expectEnds(weir);
  });

  test(
    'while it logs more than a megabyte: it stores and lives, and says how many lines were dropped',
    { timeout: 180_000 },
    async () => {
      const pipe = newPipe({ isFull: false });
      const weir = await start(pipe.writer, { LOG_LEVEL: 'debug' });
      while ((await droppedLines(weir)) === 0) await makeLines(weir, 1_000);
      await expectStores(weir);
      await expectLives(weir);
      const dropped = await droppedLines(weir);
      let logged = '';
      await until('said', () => (logged += pipe.read()).includes('log lines were dropped'));
      expect(logged.length).toBeGreaterThan(1024 * 1024);
      const said = logged.split('\n').find((line) => line.includes('log lines were dropped'))!;
      expect((JSON.parse(said) as { lines: number }).lines).toBeGreaterThanOrEqual(dropped);
      for (const line of logged.split('\n').slice(0, -1)) if (line.startsWith('{')) JSON.parse(line);
      await expectEnds(weir);
    },
  );

  test('of a parent that reads nothing, with workers: all of them live, store and end', async () => {
    const weir = await start('pipe', { WEIR_WORKERS: '2', LOG_LEVEL: 'debug' });
    await makeLines(weir, 1_000);
    await expectStores(weir);
    await expectLives(weir);
    await expectEnds(weir);
  });
});

test('a reader that goes away is no reason to end, before the start or after it', async () => {
  const pipe = newPipe({ isFull: false });
  const weir = await start(pipe.writer);
  pipe.stopReading();
  await expectStores(weir);
  await expectEnds(weir);
  const again = await start(pipe.writer);
  await expectStores(again);
  await expectEnds(again);
});

describe.each([
  ['one process', {}],
  ['workers', { WEIR_WORKERS: '2' }],
])('a full disk under the log of %s', (_name, env) => {
  test('does not keep it from starting, storing and ending', async () => {
    const full = openSync('/dev/full', 'w');
    const weir = await start(full, env);
    await expectStores(weir);
    await expectLives(weir);
    await expectEnds(weir);
    closeSync(full);
  });
});

test('the last lines of an ordinary log are written before the process ends', async () => {
  const path = join(dir, 'log');
  const file = openSync(path, 'a');
  const weir = await start(file);
  await expectEnds(weir);
  closeSync(file);
  expect(readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)).toContain('"stopped"');
});

describe('a command', () => {
  const run = (output: string) =>
    spawn('/bin/sh', ['-c', `"$0" "$1" config ${output}`, process.execPath, MAIN], {
      cwd: dir,
      env: { PATH: process.env['PATH'], DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl },
    });

  test('whose output finds no room says so and fails', async () => {
    const child = run('>/dev/full');
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [code] = await once(child, 'close');
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'standard output cannot be written (ENOSPC)\n' });
  });

  test('that cannot even say so fails without a stack', async () => {
    const [code] = await once(run('>/dev/full 2>/dev/full'), 'close');
    expect(code).toBe(1);
  });
});

test('a failing start with a log that nothing takes still ends with 1', async () => {
  const full = openSync('/dev/full', 'w');
  const holder = join(dir, 'data');
  const first = await start(full);
  expect(existsSync(holder)).toBe(true);
  const second = spawn(process.execPath, [...NODE_FLAGS, MAIN, 'serve'], {
    cwd: tmpdir(),
    env: {
      PATH: process.env['PATH'],
      WEIR_DATA_DIR: holder,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
    },
    stdio: ['ignore', full, full],
  });
  const [code] = await once(second, 'exit');
  expect(code).toBe(1);
  await expectEnds(first);
  closeSync(full);
});
