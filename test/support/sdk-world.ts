/** Weir as a process with stores of its own, for clients whose events carry a mark, `client/setting/number`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import { checkSomeHours } from '../../src/clickhouse/reading/counted-copies.ts';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { startHttpProxy } from './fault-proxy.ts';
import { type Marks, type SdkApp, startSdkApp } from './sdk-app.ts';
import { startRefusalWatch } from './refusal-watch.ts';
import { startStores } from './stores.ts';
import { type Running, startWeir } from './weir.ts';

const TOKEN = 'wk_test_0123456789';
const MARK = '[a-z0-9.-]+/[a-z0-9-]+/[0-9]+';
/** However busy the machine is. */
export const SOON = { timeout: 120_000, interval: 100 };
/** Clients wait twice as long after each failure: one more of them, on a slow machine, is most of a minute. */
const RESENT = { timeout: 180_000, interval: 250 };
/** Of each client in a round. */
const EVENTS = 6;
const HOUR_MS = 3_600_000;

export type SdkWorld = Awaited<ReturnType<typeof startSdkWorld>>;

/** `names`: the clients. */
export async function startSdkWorld(names: readonly string[]) {
  const stores = await startStores();
  const { id } = await createProjects(stores.postgres.db).create({
    name: 'shop',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const tokens = createTokens(stores.postgres.db);
  await tokens.create({ projectId: id, kind: 'public', name: null, imported: TOKEN });
  const reader = (await tokens.create({ projectId: id, kind: 'secret', name: null, imported: null }))!.plaintext;
  const cwd = mkdtempSync(join(tmpdir(), 'weir-sdk-'));
  const dataDir = join(cwd, 'data');
  let port = 0;
  let running: Running | null = null;
  await start();
  return {
    stores,
    start,
    stop,
    discard,
    startApp,
    directUrls,
    startProxies,
    startWatches,
    takes,
    sendRound,
    foundOf,
    isSettled,
    countPast,
  };

  /** The first time at a free port, then again at that one, with the same directory. */
  async function start(settings: Readonly<Record<string, string>> = {}) {
    const env = {
      PORT: String(port),
      HOST: '127.0.0.1',
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      WEIR_DATA_DIR: dataDir,
      INGEST_FLUSH_INTERVAL: '100ms',
      ...settings,
    };
    running = startWeir(['serve'], { env, cwd });
    const { finished } = running;
    const isReady = vi.waitFor(async () => {
      const runtime = readRuntime(dataDir);
      if (runtime.kind !== 'running' || runtime.url === null) throw new Error('it does not listen yet');
      expect((await fetch(`${runtime.url}/readyz`)).status).toBe(200);
      port = Number(new URL(runtime.url).port);
    }, SOON);
    await Promise.race([isReady, finished.then(({ stderr }) => Promise.reject(new Error(`Weir ended: ${stderr}`)))]);
  }

  /** As an operator does; resolves when it is gone. */
  async function stop() {
    running?.child.kill('SIGTERM');
    await running?.finished;
  }

  async function discard() {
    await stop();
    await stores.stop();
    rmSync(cwd, { recursive: true, force: true });
  }

  function url() {
    return `http://127.0.0.1:${port}`;
  }

  /** Without clients; the caller stops it. */
  function startApp(kind: 'node' | 'browser'): SdkApp {
    return startSdkApp(kind, TOKEN);
  }

  /** Weir’s own address, for each client. */
  function directUrls(): Readonly<Record<string, string>> {
    return Object.fromEntries(names.map((name) => [name, url()]));
  }

  /** A proxy for each client, so that each meets the fault. */
  async function startProxies() {
    const all = await Promise.all(names.map(async (name) => [name, await startHttpProxy(url())] as const));
    onTestFinished(async () => {
      await Promise.all(all.map(([, proxy]) => proxy.stop()));
    });
    return {
      urls: Object.fromEntries(all.map(([name, proxy]) => [name, proxy.url])),
      all: all.map(([, proxy]) => proxy),
      /** The clients that no fault has struck. */
      spared: () => all.filter(([, proxy]) => proxy.hits() === 0).map(([name]) => name),
    };
  }

  /** A watch for each client, past which it finds Weir. */
  async function startWatches() {
    const all = await Promise.all(names.map(async (name) => [name, await startRefusalWatch(url())] as const));
    onTestFinished(async () => {
      await Promise.all(all.map(([, watch]) => watch.stop()));
    });
    return {
      urls: Object.fromEntries(all.map(([name, watch]) => [name, watch.url])),
      /** How many requests of each client were refused so far. */
      refused: () => Object.fromEntries(all.map(([name, watch]) => [name, watch.refused()])),
    };
  }

  /** Whether Weir takes so many events without a mark now. */
  async function takes(count: number): Promise<boolean> {
    const batch = Array.from({ length: count }, () => ({ type: 'track', event: 'filler', userId: 'user-0' }));
    const body = JSON.stringify({ writeKey: TOKEN, batch });
    const answer = await fetch(`${url()}/v1/batch`, { method: 'POST', body });
    await answer.arrayBuffer();
    return answer.ok;
  }

  /** Hands each client its events of this round. */
  async function sendRound(app: SdkApp, setting: string, round: number): Promise<Marks> {
    const marksOf = (name: string) =>
      Array.from({ length: EVENTS }, (_, number) => `${name}/${setting}/${round * EVENTS + number}`);
    const marks = Object.fromEntries(names.map((name) => [name, marksOf(name)]));
    await app.send(marks);
    return marks;
  }

  /** The marks of the view `events`, one for each of its rows, in the order of their numbers. */
  async function foundOf(setting: string): Promise<Marks> {
    const rows = await stores.select<{ mark: string }>(
      `SELECT extract(concat(properties, extras), '${MARK}') AS mark FROM events WHERE mark LIKE '%/${setting}/%'`,
    );
    const numberOf = (mark: string) => Number(mark.split('/')[2]);
    const found = rows.map(({ mark }) => mark).sort((one, other) => numberOf(one) - numberOf(other));
    return Object.fromEntries(names.map((name) => [name, found.filter((mark) => mark.startsWith(`${name}/`))]));
  }

  /**
   * Of the events called `name` in whole hours before this one: how many landed, copies too, how many are in `events`, and
   * what `/metrics` says once copies have been looked for.
   */
  async function countPast(name: string) {
    const to = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
    const from = to - 24 * HOUR_MS;
    const where = (column: string) =>
      `event = '${name}' AND ${column} >= fromUnixTimestamp64Milli(${from}) AND ${column} < fromUnixTimestamp64Milli(${to})`;
    const only = async (query: string) => Number((await stores.select<{ n: string }>(query))[0]!.n);
    await checkSomeHours(stores.clickhouse, { sinceS: 3_600, quietS: 0 });
    const query = `event_name=${name}&from=${from / 1_000}&to=${to / 1_000}`;
    const answer = await fetch(`${url()}/metrics?${query}`, { headers: { authorization: `Bearer ${reader}` } });
    return {
      landed: await only(`SELECT sum(events) AS n FROM event_counts_hourly WHERE ${where('hour')}`),
      rows: await only(`SELECT count() AS n FROM events WHERE ${where('timestamp')}`),
      counted: ((await answer.json()) as { total_events: number }).total_events,
    };
  }

  /** Resolves once `sent` is found, and Weir holds nothing more. Nothing is found twice, or was never handed over. */
  async function isSettled(setting: string, { handed, sent }: { handed: Marks; sent: Marks }): Promise<void> {
    const lostOf = (found: Marks) =>
      names.flatMap((name) => sent[name]!.filter((mark) => !found[name]!.includes(mark)));
    await vi.waitFor(async () => expect(lostOf(await foundOf(setting))).toEqual([]), RESENT);
    await vi.waitFor(async () => {
      const health = (await (await fetch(`${url()}/health`)).json()) as Record<string, unknown>;
      expect(health['pending']).toBe(0);
    }, SOON);
    const found = await foundOf(setting);
    for (const name of names) {
      expect(new Set(found[name]).size, `${name}: doubled`).toBe(found[name]!.length);
      expect(handed[name], `${name}: invented`).toEqual(expect.arrayContaining([...found[name]!]));
    }
  }
}

/** What several rounds handed over, together. */
export const together = (...rounds: readonly Marks[]): Marks =>
  Object.fromEntries(Object.keys(rounds[0] ?? {}).map((name) => [name, rounds.flatMap((round) => round[name]!)]));
