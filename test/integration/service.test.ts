/**
 * Weir as its users meet it: a process of its own, real stores, real signals.
 * What is acknowledged is counted by the client, what is stored by ClickHouse,
 * and the two must agree event by event.
 *
 * The sizes are such that the file takes about a minute. The full size (200 000
 * events, half a minute of outage), with its figures on stderr:
 *
 *   WEIR_SERVICE_SIZE=full vitest run --project integration test/integration/service.test.ts
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { KEY_HEADER } from '../../src/clickhouse/connection/key.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { EVENTS_PATH } from '../support/door.ts';
import { dial } from '../support/line.ts';
import { newProjectToken, startStores, type Stores } from '../support/stores.ts';
import { runWeir } from '../support/weir.ts';

const IS_FULL = process.env['WEIR_SERVICE_SIZE'] === 'full';
const EVENTS = IS_FULL ? 200_000 : 20_000;
const OUTAGE_MS = IS_FULL ? 30_000 : 3_000;
const BATCH = 500;
/** Between two batches of one connection when the load is to last rather than to hurry. */
const PAUSE_MS = 50;
const CONNECTIONS = 8;
const GRACE_MS = 10_000;
/** At once; each has connections of its own. */
const ATTACKERS = IS_FULL ? 1_000 : 250;
const RANDOM_TOKENS = IS_FULL ? 10_000 : 2_500;
const MAX_RSS_MIB = 512;
const SETTLED = { timeout: 60_000, interval: 100 };
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

const hasLoopback6 = Object.values(networkInterfaces()).some((of) => of?.some(({ address }) => address === '::1'));

let stores: Stores;
const directories: string[] = [];
const processes: ChildProcess[] = [];

beforeAll(async () => {
  stores = await startStores();
});
afterEach(() => {
  for (const child of processes.splice(0)) child.kill('SIGKILL');
});
afterAll(async () => {
  await stores.stop();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'weir-service-'));
  directories.push(directory);
  return directory;
}

type Process = {
  readonly child: ChildProcess;
  readonly dataDir: string;
  readonly output: () => string;
  readonly exited: Promise<number | null>;
};

/** A Weir in a process group of its own, as a shell makes one. */
function launch(dataDir: string, settings: Record<string, string>): Process {
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    cwd: dataDir,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      PORT: '0',
      HOST: '127.0.0.1',
      WEIR_DATA_DIR: dataDir,
      INGEST_SHUTDOWN_GRACE: `${GRACE_MS}ms`,
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  processes.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return { child, dataDir, output: () => output, exited: once(child, 'close').then(([code]) => code as number | null) };
}

/** A Weir on the stores of this file, listening. */
async function start(dataDir = newDirectory(), settings: Record<string, string> = {}) {
  const weir = launch(dataDir, {
    DATABASE_URL: stores.databaseUrl,
    CLICKHOUSE_URL: stores.clickhouseUrl,
    INGEST_FLUSH_INTERVAL: '200ms',
    DLQ_DRAIN_INTERVAL: '200ms',
    ...settings,
  });
  return { ...weir, url: await urlOf(weir) };
}

async function urlOf({ dataDir, child }: Process): Promise<string> {
  return vi.waitFor(() => {
    const runtime = readRuntime(dataDir);
    if (runtime.kind !== 'running' || runtime.pid !== child.pid || runtime.url === null)
      throw new Error('not listening yet');
    return runtime.url.replace('localhost', '127.0.0.1');
  }, SETTLED);
}

async function json(url: string): Promise<{ status: number } & Record<string, unknown>> {
  const response = await fetch(url);
  return { ...((await response.json()) as object), status: response.status };
}

const ready = (url: string) => vi.waitFor(async () => expect((await json(`${url}/readyz`)).status).toBe(200), SETTLED);

/** Everything accepted has been stored, also what waited in Postgres. */
const atRest = (url: string) =>
  vi.waitFor(async () => {
    const { pending, reserved_bytes, dlq } = await json(`${url}/health`);
    expect({ pending, reserved_bytes, dlq }).toMatchObject({
      pending: 0,
      reserved_bytes: 0,
      dlq: { depth: 0, quarantined: 0 },
    });
  }, SETTLED);

const newToken = () => newProjectToken(stores, 'load');

/** What a well-behaved client came to know. */
type Outcome = {
  /** Ids of the events that were answered 202. */
  readonly acknowledged: Set<string>;
  /** How often each status came; 0 counts connections that failed. */
  readonly statuses: Map<number, number>;
  /** Answers that asked for patience without saying how much. */
  impatient: number;
};

type Load = { url: () => string; token: string; event: string; events: number; until?: () => boolean };

/** Sends batches over several connections and repeats what was not taken, until all are acknowledged or told to stop. */
async function load({ url, token, event, events, until = () => false }: Load): Promise<Outcome> {
  const outcome: Outcome = { acknowledged: new Set(), statuses: new Map(), impatient: 0 };
  let left = Math.ceil(events / BATCH);
  await Promise.all(Array.from({ length: CONNECTIONS }, work));
  return outcome;

  async function work() {
    while (left > 0 && !until()) {
      left--;
      if (events === Infinity) await delay(PAUSE_MS);
      while (!(await sendBatch()) && !until()) await delay(50);
    }
  }

  async function sendBatch(): Promise<boolean> {
    // New ids for every try: one that broke off may have been taken, and is then nobody's promise.
    const ids = Array.from({ length: BATCH }, () => randomUUID());
    const timestamp = Date.now();
    const body = JSON.stringify({
      events: ids.map((id) => ({
        event,
        event_id: id,
        timestamp,
        user_id: 'u',
        properties: { page: '/pricing', n: 1 },
      })),
    });
    const response = await fetch(url() + EVENTS_PATH, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body,
    }).catch(() => null);
    const status = response?.status ?? 0;
    outcome.statuses.set(status, (outcome.statuses.get(status) ?? 0) + 1);
    const answer = await response?.text().catch(() => null);
    if (status === 202) {
      expect(JSON.parse(answer!)).toEqual({ accepted: BATCH, rejected: 0 });
      for (const id of ids) outcome.acknowledged.add(id);
      return true;
    }
    if (status !== 0 && !response!.headers.has('retry-after')) outcome.impatient++;
    return false;
  }
}

/** Every acknowledged event is there exactly once: in the table, in the view, in the hourly counts. */
async function expectStoredOnce(event: string, { acknowledged }: Outcome) {
  for (const table of ['events_raw_v1', 'events']) {
    const found = await stores.select<{ event_id: string; n: string }>(
      `SELECT event_id, count() AS n FROM ${table} WHERE event = '${event}' GROUP BY event_id`,
    );
    const stored = new Set(found.map(({ event_id }) => event_id));
    const missing = [...acknowledged].filter((id) => !stored.has(id)).length;
    const doubled = found.filter(({ n }) => Number(n) !== 1).length;
    expect({ table, missing, doubled }).toEqual({ table, missing: 0, doubled: 0 });
  }
  const [row] = await stores.select<{ raw: string; hourly: string }>(`
    SELECT (SELECT count() FROM events_raw_v1 WHERE event = '${event}') AS raw,
           (SELECT sum(events) FROM event_counts_hourly WHERE event = '${event}') AS hourly`);
  expect(row!.hourly).toBe(row!.raw);
}

/** The most memory the process ever had, in MiB. */
const peakRssMiB = ({ child }: Process) =>
  Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1_024);

/** Command lines that name the directory: Weir and what it started. */
function runningIn(directory: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // It ended between the listing and the look.
      }
    })
    .filter((line) => line.includes(directory));
}

const filesIn = (directory: string) => {
  try {
    return readdirSync(directory);
  } catch {
    return []; // Not made yet.
  }
};

function report(name: string, figures: object) {
  if (IS_FULL) process.stderr.write(`${name}: ${JSON.stringify(figures)}\n`);
}

const LONG = IS_FULL ? 300_000 : 90_000;

describe('load', () => {
  test('(a) every acknowledged event is stored exactly once, in little memory', { timeout: LONG }, async () => {
    const weir = await start();
    const token = await newToken();
    await ready(weir.url);
    const startedAt = performance.now();
    const outcome = await load({ url: () => weir.url, token, event: 'plain', events: EVENTS });
    const seconds = (performance.now() - startedAt) / 1_000;
    expect(outcome.acknowledged.size).toBe(EVENTS);
    await atRest(weir.url);
    await expectStoredOnce('plain', outcome);
    const rssMiB = peakRssMiB(weir);
    expect(rssMiB).toBeLessThan(MAX_RSS_MIB);
    report('plain', { events: EVENTS, seconds, perSecond: EVENTS / seconds, rssMiB, statuses: [...outcome.statuses] });
  });

  test('(b) a SIGTERM in the middle and a restart lose and double nothing', { timeout: LONG }, async () => {
    const dataDir = newDirectory();
    let weir = await start(dataDir);
    const token = await newToken();
    await ready(weir.url);
    let isOver = false;
    const loading = load({ url: () => weir.url, token, event: 'restarted', events: Infinity, until: () => isOver });
    await delay(IS_FULL ? 5_000 : 1_000);
    const startedAt = performance.now();
    weir.child.kill('SIGTERM');
    const code = await weir.exited;
    const elapsedMs = performance.now() - startedAt;
    expect({ code, output: weir.output() }).toMatchObject({ code: 0 });
    expect(elapsedMs).toBeLessThan(GRACE_MS);
    weir = await start(dataDir);
    await ready(weir.url);
    await delay(1_000);
    isOver = true;
    const outcome = await loading;
    await atRest(weir.url);
    await expectStoredOnce('restarted', outcome);
    expect(outcome.statuses.get(202)).toBeGreaterThan(2);
    expect([...outcome.statuses.keys()].filter((status) => ![0, 202, 500, 503].includes(status))).toEqual([]);
    report('SIGTERM', { acknowledged: outcome.acknowledged.size, exitMs: elapsedMs, statuses: [...outcome.statuses] });
  });

  test('(c) ClickHouse away for a while loses and doubles nothing', { timeout: LONG }, async () => {
    const weir = await start();
    const token = await newToken();
    await ready(weir.url);
    let isOver = false;
    const loading = load({ url: () => weir.url, token, event: 'outage', events: Infinity, until: () => isOver });
    await delay(500);
    await stores.clickhouseServer.kill();
    await delay(OUTAGE_MS);
    const { status, reasons } = await json(`${weir.url}/health`);
    expect({ status, reasons }).toMatchObject({ reasons: expect.arrayContaining(['ClickHouse does not answer']) });
    await stores.clickhouseServer.start();
    const backAt = performance.now();
    await delay(1_000);
    isOver = true;
    const outcome = await loading;
    await atRest(weir.url);
    const caughtUpMs = performance.now() - backAt;
    await expectStoredOnce('outage', outcome);
    expect([...outcome.statuses.keys()].filter((one) => ![202, 429, 503].includes(one))).toEqual([]);
    expect(outcome.impatient).toBe(0);
    report('outage', {
      acknowledged: outcome.acknowledged.size,
      caughtUpMs,
      rssMiB: peakRssMiB(weir),
      statuses: [...outcome.statuses],
    });
  });

  test(
    '(d) Postgres away: known tokens go on, health says so, and it comes back by itself',
    { timeout: LONG },
    async () => {
      const weir = await start();
      const token = await newToken();
      await ready(weir.url);
      // Migrated as well: what is not, cannot be while Postgres is away.
      await vi.waitFor(async () => expect((await json(`${weir.url}/ready`)).status).toBe(200), SETTLED);
      const warmUp = await load({ url: () => weir.url, token, event: 'no postgres', events: BATCH });
      await stores.postgresServer.stop();
      const outcome = await load({ url: () => weir.url, token, event: 'no postgres', events: EVENTS / 4 });
      expect(outcome.statuses).toEqual(new Map([[202, EVENTS / 4 / BATCH]]));
      await vi.waitFor(async () => {
        const health = await json(`${weir.url}/health`);
        expect(health).toMatchObject({ postgres_connected: false });
        // After a while also that the dead letters cannot be drained.
        expect(health['reasons']).toContainEqual(
          expect.stringMatching(/^Postgres (does not answer|refuses the connection)/),
        );
      }, SETTLED);
      expect(await json(`${weir.url}/ready`)).toMatchObject({ status: 503, missing: ['postgres'] });
      expect((await json(`${weir.url}/readyz`)).status).toBe(200);
      await stores.postgresServer.start();
      await vi.waitFor(async () => expect((await json(`${weir.url}/ready`)).status).toBe(200), SETTLED);
      await atRest(weir.url);
      for (const id of warmUp.acknowledged) outcome.acknowledged.add(id);
      await expectStoredOnce('no postgres', outcome);
    },
  );
});

describe('both stores away', () => {
  test.each([
    { journal: 'on', keeps: 'leaves them in the journal' },
    { journal: 'off', keeps: 'saves them to files' },
  ])(
    '(e, f) SIGTERM with the journal $journal $keeps, the next start waits for the stores and stores them',
    { timeout: LONG },
    async ({ journal }) => {
      const event = `saved with the journal ${journal}`;
      const dataDir = newDirectory();
      const weir = await start(dataDir, {
        INGEST_FLUSH_INTERVAL: '2s',
        INGEST_SHUTDOWN_GRACE: '4s',
        INGEST_JOURNAL: journal,
      });
      const token = await newToken();
      await ready(weir.url);
      const first = await load({ url: () => weir.url, token, event, events: BATCH });
      await Promise.all([stores.clickhouseServer.kill(), stores.postgresServer.kill()]);
      const second = await load({ url: () => weir.url, token, event, events: BATCH * CONNECTIONS });
      for (const id of first.acknowledged) second.acknowledged.add(id);
      await vi.waitFor(async () => expect((await json(`${weir.url}/healthz`)).status).toBe(503), SETTLED);
      expect(await json(`${weir.url}/readyz`)).toMatchObject({ status: 503, reason: 'ingest_down' });
      weir.child.kill('SIGTERM');
      expect(await weir.exited).toBe(0);
      const saved = () => filesIn(join(dataDir, 'saved')).filter((name) => name.endsWith('.batch'));
      expect(saved().length > 0).toBe(journal === 'off');

      const next = await start(dataDir);
      expect((await json(`${next.url}/livez`)).status).toBe(200);
      await vi.waitFor(async () =>
        expect(await json(`${next.url}/readyz`)).toMatchObject({ status: 503, reason: expect.any(String) }),
      );
      expect(await json(`${next.url}/ready`)).toMatchObject({ status: 503, missing: ['clickhouse', 'postgres'] });
      await stores.postgresServer.start();
      await vi.waitFor(
        async () => expect(await json(`${next.url}/ready`)).toMatchObject({ status: 503, missing: ['clickhouse'] }),
        SETTLED,
      );
      await ready(next.url);
      await stores.clickhouseServer.start();
      await vi.waitFor(async () => expect((await json(`${next.url}/ready`)).status).toBe(200), SETTLED);
      await atRest(next.url);
      await expectStoredOnce(event, second);
      expect(saved()).toEqual([]);
    },
  );
});

describe('hostile neighbours', () => {
  test(
    '(g) bombs, idle connections and random tokens by the thousand do not keep others from being served',
    { timeout: LONG },
    async () => {
      const weir = await start();
      const token = await newToken();
      await ready(weir.url);
      const port = Number(new URL(weir.url).port);
      const trickling = await Promise.all(Array.from({ length: 1_000 }, () => dial(port)));
      for (const line of trickling)
        line.write(`POST ${EVENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n{`);
      // Members one after the other are one gzip stream: a megabyte that would become a gigabyte.
      const bomb = Buffer.concat(Array<Buffer>(100).fill(gzipSync(Buffer.alloc(10 * 1_024 * 1_024))));
      const hostile = {
        bomb: new Map<number, number>(),
        nobodysBomb: new Map<number, number>(),
        random: new Map<number, number>(),
      };
      const unanswered: string[] = [];
      const post = async (kind: keyof typeof hostile, init: RequestInit) => {
        // A hostile client may also be cut off.
        const response = await fetch(weir.url + EVENTS_PATH, { method: 'POST', ...init }).catch((error: unknown) => {
          if (kind === 'random') unanswered.push(inspect(error));
          return null;
        });
        await response?.text().catch(() => null);
        const status = response?.status ?? 0;
        hostile[kind].set(status, (hostile[kind].get(status) ?? 0) + 1);
      };
      const postRandom = async () => {
        for (let i = 0; i < RANDOM_TOKENS / ATTACKERS; i++) {
          const authorization = `Bearer mere_pub_${randomBytes(32).toString('hex')}`;
          await post('random', { body: '{}', headers: { authorization } });
        }
      };
      const packed = { 'content-encoding': 'gzip' };
      const attack = [
        ...Array.from({ length: 10 }, () => post('nobodysBomb', { body: bomb, headers: packed })),
        ...Array.from({ length: 10 }, () =>
          post('bomb', { body: bomb, headers: { ...packed, authorization: `Bearer ${token}` } }),
        ),
        ...Array.from({ length: ATTACKERS }, postRandom),
      ];
      const outcome = await load({ url: () => weir.url, token, event: 'besieged', events: EVENTS / 10 });
      await Promise.all(attack);
      expect([...hostile.random.keys()], unanswered.join()).toEqual([401]);
      // Nothing is unpacked for nobody; whoever hangs up while it is still sent hears nothing.
      expect([...hostile.nobodysBomb.keys()].filter((status) => ![0, 415].includes(status))).toEqual([]);
      expect([...hostile.bomb.keys()].filter((status) => ![0, 413, 503].includes(status))).toEqual([]);
      expect(hostile.bomb.has(413)).toBe(true);
      expect(outcome.statuses).toEqual(new Map([[202, EVENTS / 10 / BATCH]]));
      for (const line of trickling) line.socket.destroy();
      await atRest(weir.url);
      await expectStoredOnce('besieged', outcome);
      expect(peakRssMiB(weir)).toBeLessThan(MAX_RSS_MIB);
      report('besieged', { bombBytes: bomb.length, rssMiB: peakRssMiB(weir) });
    },
  );

  test(
    '(k) large bodies do not stay in memory while their few events wait for a store',
    { timeout: LONG },
    async () => {
      const weir = await start(newDirectory(), { INGEST_INSERT_TIMEOUT: '60s' });
      const token = await newToken();
      await ready(weir.url);
      stores.clickhouseServer.pause();
      const body = JSON.stringify({ events: [{ event: 'padded', timestamp: Date.now() }] }).padEnd(9_000_000);
      const waiting: Promise<unknown>[] = [];
      for (let i = 0; i < 40; i++) {
        const headers = { authorization: `Bearer ${token}`, ...(i % 2 === 0 ? { 'idempotency-key': String(i) } : {}) };
        waiting.push(fetch(`${weir.url}${EVENTS_PATH}?ack=stored`, { method: 'POST', headers, body }));
        await vi.waitFor(
          async () => expect(await json(`${weir.url}/health`)).toMatchObject({ enqueued: i + 1, reserved_bytes: 0 }),
          SETTLED,
        );
      }
      expect(peakRssMiB(weir)).toBeLessThan(MAX_RSS_MIB);
      report('padded', { rssMiB: peakRssMiB(weir) });
      stores.clickhouseServer.resume();
      await Promise.all(waiting);
      await atRest(weir.url);
    },
  );
});

describe('starting and ending', () => {
  test('(h) a port that is taken ends the start with a sentence, and nothing is left running', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    const weir = launch(newDirectory(), { PORT: String(port) });
    expect(await weir.exited).toBe(1);
    expect(weir.output()).toMatch(new RegExp(`^port ${port} is already in use.*\n$`));
    expect(runningIn(weir.dataDir)).toEqual([]);
    squatter.close();
  });

  test('(i) a second start in the same data directory ends with a sentence, and the first goes on', async () => {
    const first = await start();
    const second = launch(first.dataDir, { DATABASE_URL: stores.databaseUrl, CLICKHOUSE_URL: stores.clickhouseUrl });
    expect(await second.exited).toBe(1);
    expect(second.output()).toContain(`Another Weir (process ${first.child.pid}) uses the data directory`);
    expect((await json(`${first.url}/livez`)).status).toBe(200);
  });

  test.skipIf(!hasLoopback6 && !process.env['CI'])(
    '(k) on an IPv6 address: everything that is told of it is a URL, by which it is found',
    { timeout: LONG },
    async () => {
      const weir = await start(newDirectory(), { HOST: '::1', CONSOLE_HOST: '::1', CONSOLE_PORT: 'auto' });
      await ready(weir.url);
      expect(weir.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
      expect(weir.output()).toContain(`"url":"${weir.url}"`);
      const runtime = await vi.waitFor(() => {
        const read = readRuntime(weir.dataDir);
        expect(read).toMatchObject({ consoleUrl: expect.stringMatching(/^http:\/\/\[::1\]:\d+$/) });
        return read as Extract<typeof read, { kind: 'running' }>;
      }, SETTLED);
      expect((await fetch(runtime.consoleUrl!)).status).toBeLessThan(500);
      const doctor = await runWeir(['doctor'], { cwd: weir.dataDir, env: { WEIR_DATA_DIR: weir.dataDir } });
      expect(doctor.stdout).toContain(weir.url);
      expect(doctor.stdout + doctor.stderr).not.toMatch(/Invalid URL|Failed to parse/);
      weir.child.kill('SIGTERM');
      expect(await weir.exited).toBe(0);
    },
  );

  test('(j) Ctrl-C ends everything with its data kept; kill -9 leaves no store behind', { timeout: LONG }, async () => {
    const dataDir = newDirectory();
    const startEmbedded = async () => {
      const weir = launch(dataDir, { INGEST_FLUSH_INTERVAL: '10m' });
      const url = await urlOf(weir);
      await ready(url);
      return { ...weir, url };
    };
    const first = await startEmbedded();
    await vi.waitFor(() => expect(first.output()).toContain('mere_pub_'), SETTLED);
    const token = /mere_pub_[0-9a-f]{64}/.exec(first.output())![0];
    const { acknowledged } = await load({ url: () => first.url, token, event: 'kept', events: BATCH });
    process.kill(-first.child.pid!, 'SIGINT');
    expect({ code: await first.exited, output: first.output() }).toMatchObject({ code: 0 });
    expect(runningIn(dataDir)).toEqual([]);

    const second = await startEmbedded();
    expect(await countEmbedded(dataDir, 'kept')).toBe(acknowledged.size);
    second.child.kill('SIGKILL');
    await second.exited;
    await vi.waitFor(() => expect(runningIn(dataDir)).toEqual([]), SETTLED);

    const third = await startEmbedded();
    expect(await countEmbedded(dataDir, 'kept')).toBe(acknowledged.size);
    third.child.kill('SIGTERM');
    expect(await third.exited).toBe(0);
    expect(runningIn(dataDir)).toEqual([]);
  });
});

async function countEmbedded(dataDir: string, event: string): Promise<number> {
  const runtime = readRuntime(dataDir);
  if (!('clickhouseUrl' in runtime) || runtime.clickhouseUrl === null) throw new Error('no ClickHouse is running');
  const query = `SELECT count() FROM analytics.events WHERE event = '${event}'`;
  const response = await fetch(`${runtime.clickhouseUrl}/?query=${encodeURIComponent(query)}`, {
    headers: { [KEY_HEADER]: runtime.clickhouseKey! },
  });
  return Number(await response.text());
}
