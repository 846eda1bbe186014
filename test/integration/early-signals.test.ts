/** A signal before Weir is up ends it as any other does: in order, with 0, and nothing is left running. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { freePort } from '../support/ports.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { MAIN, NODE_FLAGS, untilAnother } from '../support/weir.ts';

/** Beyond the first byte of JavaScript; the early ones are closer together, since more is begun there. */
const DELAYS_MS = [0, 20, 50, 100, 200, 400, 800, 1500] as const;
/** Where only what is around Weir differs. */
const FEW_DELAYS_MS = [0, 200, 800] as const;
/** For a machine that has much else to do. */
const LONG = 300_000;
const isRequired = Boolean(process.env['CI']);
const mayBeFirst = spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0;

let stores: Stores;
let dataDir: string;

beforeAll(async () => {
  stores = await startStores();
});
afterAll(() => stores.stop());
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-early-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const given = () => ({ DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl });

type Started = {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  written(): string;
};

/** In a process group of its own, and says `armed` when it begins to listen to SIGTERM. */
function launch(args: readonly string[], env: Record<string, string>, around: readonly string[] = []): Started {
  const told = join(dataDir, 'told.mjs');
  writeFileSync(
    told,
    `import { existsSync, writeSync } from 'node:fs';
     process.on('newListener', function tell(name) {
       if (name !== 'SIGTERM') return;
       process.off('newListener', tell);
       writeSync(2, existsSync(${JSON.stringify(join(dataDir, 'runtime.json'))}) ? 'armed too late\\n' : 'armed\\n');
     });`,
  );
  const [file, ...before] = [...around, process.execPath];
  const child = spawn(file, [...before, ...NODE_FLAGS, `--import=${told}`, MAIN, ...args], {
    cwd: dataDir,
    env: { PATH: process.env['PATH'], PORT: String(freePort()), WEIR_DATA_DIR: dataDir, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  }
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  return { child, ended, written: () => text };
}

async function untilWritten({ child, written }: Started, what: string | RegExp): Promise<void> {
  while (written().search(what) < 0) {
    expect(child.exitCode ?? child.signalCode, written()).toBeNull();
    await systemClock.sleep(2);
  }
}

/** The command lines that name the directory: Weir's own, and those of the stores, each of which has a process group of its own. */
const running = (): string[] => inDirectory('cmdline').map((pid) => ofProcess(pid, 'cmdline').replaceAll('\0', ' '));

/** Those that name the directory there. */
function inDirectory(where: 'cmdline' | 'environ'): number[] {
  const numbers = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return numbers.map(Number).filter((pid) => ofProcess(pid, where).includes(dataDir));
}

function ofProcess(pid: number, what: string): string {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'utf8');
  } catch {
    return ''; // It ended between the listing and the look.
  }
}

const hostOfPostgres = (): number | undefined =>
  inDirectory('cmdline').find((pid) => ofProcess(pid, 'cmdline').includes('postgres-host'));

function expectNothingLeft({ child }: Started): void {
  expect(running()).toEqual([]);
  expect(() => process.kill(-child.pid!, 0)).toThrow('ESRCH');
  expect(existsSync(join(dataDir, 'runtime.json'))).toBe(false);
}

async function expectNextStartWorks(env: Record<string, string>): Promise<void> {
  const weir = launch(['serve'], env);
  await untilWritten(weir, '"msg":"listening"');
  weir.child.kill('SIGTERM');
  expect({ ...(await weir.ended), written: weir.written() }).toMatchObject({ code: 0 });
  expectNothingLeft(weir);
}

describe.each([
  { what: 'with stores that are given', env: given, delays: DELAYS_MS },
  { what: 'with embedded stores', env: () => ({}), delays: DELAYS_MS },
  { what: 'with workers', env: () => ({ ...given(), WEIR_WORKERS: '2' }), delays: FEW_DELAYS_MS },
])('$what', ({ env, delays }) => {
  test(
    'a SIGTERM at any moment of the start ends it with 0, nothing is left, and the next start works',
    { timeout: LONG },
    async () => {
      for (const delayMs of delays) {
        const weir = launch(['serve'], env());
        await untilWritten(weir, 'armed');
        await systemClock.sleep(delayMs);
        weir.child.kill('SIGTERM');
        const outcome = { delayMs, ...(await weir.ended), written: weir.written() };
        expect(outcome).toEqual({ delayMs, code: 0, signal: null, written: expect.stringMatching(/^armed\n/) });
        expect(outcome.written).not.toMatch(/"level":"(error|fatal)"|\n +at /);
        expectNothingLeft(weir);
      }
      await expectNextStartWorks(env());
    },
  );

  test(
    'before JavaScript runs it is the signal that ends it, and nothing is left either',
    { timeout: LONG },
    async () => {
      for (const delayMs of [0, 20, 50]) {
        const weir = launch(['serve'], env());
        await systemClock.sleep(delayMs);
        weir.child.kill('SIGTERM');
        const { code, signal } = await weir.ended;
        expect([0, 'SIGTERM'], `after ${delayMs} ms\n${weir.written()}`).toContain(code ?? signal);
        expectNothingLeft(weir);
      }
    },
  );
});

test(
  'Ctrl-C reaches all workers as they start, and the service ends with 0 all the same',
  { timeout: LONG },
  async () => {
    for (const delayMs of FEW_DELAYS_MS) {
      const weir = launch(['serve'], { ...given(), WEIR_WORKERS: '2' });
      await untilWritten(weir, 'armed');
      await systemClock.sleep(delayMs);
      process.kill(-weir.child.pid!, 'SIGINT');
      expect({ delayMs, ...(await weir.ended), written: weir.written() }).toMatchObject({ delayMs, code: 0 });
      expectNothingLeft(weir);
    }
  },
);

test('workers whose supervisor is killed while they start end at once by themselves', { timeout: LONG }, async () => {
  // Where they still waited for the supervisor, they would do so for as long as a shutdown may take.
  const env = { ...given(), WEIR_WORKERS: '2', INGEST_SHUTDOWN_GRACE: '10m' };
  for (const delayMs of [0, 100, 200, 400, 800]) {
    const weir = spawn(process.execPath, [...NODE_FLAGS, MAIN, 'serve'], {
      env: { PATH: process.env['PATH'], PORT: String(freePort()), WEIR_DATA_DIR: dataDir, ...env },
      stdio: 'ignore',
    });
    const workers = () => inDirectory('environ').filter((pid) => pid !== weir.pid);
    await vi.waitUntil(() => workers().length > 0, { timeout: 60_000, interval: 5 });
    await systemClock.sleep(delayMs);
    weir.kill('SIGKILL');
    try {
      await vi.waitFor(() => expect(workers(), `after ${delayMs} ms`).toEqual([]), { timeout: 60_000, interval: 20 });
    } finally {
      for (const pid of workers()) process.kill(pid, 'SIGKILL');
    }
  }
  await expectNextStartWorks(env);
});

test.each([
  { what: 'one process', workers: '1' },
  { what: 'workers', workers: '2' },
])('$what: stores that hang do not keep a start from ending with 0', { timeout: LONG }, async ({ workers }) => {
  const frozen = [stores.clickhouseServer, stores.postgresServer];
  for (const store of frozen) store.pause();
  try {
    const weir = launch(['serve'], { ...given(), WEIR_WORKERS: workers, INGEST_SHUTDOWN_GRACE: '2s' });
    await untilWritten(weir, '"msg":"listening"');
    weir.child.kill('SIGTERM');
    expect({ ...(await weir.ended), written: weir.written() }).toMatchObject({ code: 0 });
    expectNothingLeft(weir);
  } finally {
    for (const store of frozen) store.resume();
  }
});

/** As an agent for traces does, which an operator preloads into every process of Node. */
test(
  'workers that hear late, for a module that is preloaded, start and end all the same',
  { timeout: LONG },
  async () => {
    const preloaded = join(dataDir, 'late.mjs');
    writeFileSync(preloaded, 'await new Promise((resolve) => setTimeout(resolve, 300));');
    const env = { ...given(), WEIR_WORKERS: '2', NODE_OPTIONS: `--import=${preloaded}` };
    await expectNextStartWorks(env);
    const weir = launch(['serve'], env);
    await untilWritten(weir, 'armed');
    await systemClock.sleep(400);
    weir.child.kill('SIGTERM');
    expect({ ...(await weir.ended), written: weir.written() }).toMatchObject({ code: 0 });
    expectNothingLeft(weir);
  },
);

test('what a preloaded module prints does not keep the embedded stores from starting', { timeout: LONG }, async () => {
  const preloaded = join(dataDir, 'printing.mjs');
  writeFileSync(preloaded, `console.log('tracing is on'); console.log('1'); process.stdout.write('no end of line: ');`);
  await expectNextStartWorks({ NODE_OPTIONS: `--import=${preloaded}` });
});

/** As Node does with `--watch`, and as agents do. */
test('what Node and preloaded modules send is no message of a worker or console', { timeout: LONG }, async () => {
  const preloaded = join(dataDir, 'sending.mjs');
  writeFileSync(
    preloaded,
    `for (const message of ['ready', null, 7, {}, { kind: 'ready' }, { kind: 7 }]) process.send?.(message);
     await new Promise((resolve) => setTimeout(resolve, 300));`,
  );
  const weir = launch(['serve'], {
    ...given(),
    WEIR_WORKERS: '2',
    CONSOLE_PORT: String(freePort()),
    WATCH_REPORT_DEPENDENCIES: '1',
    NODE_OPTIONS: `--import=${preloaded}`,
  });
  await untilWritten(weir, '"msg":"console listening"');
  await untilWritten(weir, '"msg":"listening"');
  weir.child.kill('SIGTERM');
  expect({ ...(await weir.ended), written: weir.written() }).toMatchObject({ code: 0 });
  const consoleLines = weir.written().match(/^.*"console listening".*$/gm);
  expect(consoleLines).toEqual([expect.stringMatching(/"url":"http:/)]);
  expect(weir.written()).not.toMatch(/"level":(50|60)/);
  expectNothingLeft(weir);
});

test('a second signal while it starts ends it at once and not with 0', { timeout: LONG }, async () => {
  const weir = launch(['serve'], {});
  await untilWritten(weir, 'Starting the embedded stores');
  // What keeps Postgres running does not end while it is frozen, so that Weir has not ended by itself.
  const host = await vi.waitUntil(hostOfPostgres, { timeout: 60_000, interval: 2 });
  process.kill(host, 'SIGSTOP');
  weir.child.kill('SIGTERM');
  await untilWritten(weir, 'signal received');
  await untilAnother();
  weir.child.kill('SIGTERM');
  const { code } = await weir.ended;
  process.kill(host, 'SIGCONT');
  expect({ code, written: weir.written() }).toMatchObject({
    code: 1,
    written: expect.stringContaining('second signal'),
  });
  // The stores' own processes notice that nobody needs them any more.
  await vi.waitUntil(() => running().length === 0, { timeout: 10_000, interval: 20 });
});

describe('other commands', () => {
  let silent: Server;
  beforeEach(async () => {
    silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
  });
  afterEach(() => void silent.close());

  const waiting = () => {
    const { port } = silent.address() as { port: number };
    return { ...given(), DATABASE_URL: `postgres://weir:weir@127.0.0.1:${port}/weir` };
  };

  test.each(['SIGTERM', 'SIGINT'] as const)('end by %s itself', async (signal) => {
    const migrate = launch(['migrate'], waiting());
    await once(silent, 'connection');
    migrate.child.kill(signal);
    expect(await migrate.ended).toEqual({ code: null, signal });
  });

  test.skipIf(!mayBeFirst && !isRequired).each([
    { signal: 'SIGTERM', expected: 143 },
    { signal: 'SIGINT', expected: 130 },
  ] as const)('end by $signal as process 1 too, with $expected', async ({ signal, expected }) => {
    const migrate = launchAsFirst(['migrate'], waiting());
    await once(silent, 'connection');
    process.kill(innerOf(migrate), signal);
    expect(await migrate.ended).toEqual({ code: expected, signal: null });
  });
});

test.skipIf(!mayBeFirst && !isRequired)(
  'as process 1 a SIGTERM at any moment ends it with 0',
  { timeout: LONG },
  async () => {
    for (const delayMs of FEW_DELAYS_MS) {
      const weir = launchAsFirst(['serve'], given());
      await untilWritten(weir, 'armed');
      await systemClock.sleep(delayMs);
      process.kill(innerOf(weir), 'SIGTERM');
      const outcome = { delayMs, ...(await weir.ended), written: weir.written() };
      expect(outcome).toEqual({ delayMs, code: 0, signal: null, written: expect.stringMatching(/^armed\n/) });
      expectNothingLeft(weir);
    }
  },
);

const launchAsFirst = (args: readonly string[], env: Record<string, string>) =>
  launch(args, env, ['unshare', '--pid', '--fork', '--mount-proc']);

/** The process that is 1 in a namespace of its own, by its number out here. */
function innerOf({ child }: Started): number {
  return Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim());
}
