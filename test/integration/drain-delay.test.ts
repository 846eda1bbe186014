/**
 * A rolling deploy: SIGTERM comes while proxies still send requests here. With
 * `SHUTDOWN_DRAIN_DELAY` they are served meanwhile, by one process and by workers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { freePort } from '../support/ports.ts';
import { type Stores, newProjectToken, startStores } from '../support/stores.ts';
import { type Running, startWeir, untilAnother } from '../support/weir.ts';

const SOON = { timeout: 30_000, interval: 20 };

let stores: Stores;
let token: string;
let dataDir: string;
let weir: Running;
let port: number;

beforeAll(async () => {
  stores = await startStores();
  token = await newProjectToken(stores, 'deploy');
});
afterAll(() => stores.stop());
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'weir-deploy-'));
});
afterEach(() => {
  weir.child.kill('SIGKILL');
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(env: Record<string, string>): Promise<void> {
  weir = startWeir(['serve'], {
    cwd: dataDir,
    env: {
      PORT: String(freePort()),
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      ...env,
    },
  });
  await vi.waitFor(async () => {
    expect(weir.child.exitCode, weir.written()).toBeNull();
    port = Number(/"url":"http:[^"]+:(\d+)"/.exec(weir.written())?.[1]);
    expect((await ask('/readyz')).status).toBe(200);
  }, SOON);
}

type Reply = { readonly status: number; readonly connection: string | undefined; readonly text: string };

/** A request on a connection of its own; rejects when there is none to be had. */
function ask(path: string, body?: string): Promise<Reply> {
  const asked = Promise.withResolvers<Reply>();
  const sent = request(
    { host: '127.0.0.1', port, path, agent: false, method: body === undefined ? 'GET' : 'POST' },
    (answer) => {
      text(answer).then(
        (read) => asked.resolve({ status: answer.statusCode!, connection: answer.headers.connection, text: read }),
        asked.reject,
      );
    },
  );
  if (body !== undefined) sent.setHeader('authorization', `Bearer ${token}`);
  sent.on('error', asked.reject).end(body);
  return asked.promise;
}

/** Sends an event; its id. */
async function accept(): Promise<string> {
  const { id, reply } = await offer();
  expect([reply?.status, reply?.text]).toEqual([202, '{"accepted":1,"rejected":0}']);
  return id;
}

/** Sends an event; `reply` is null when there was no connection to be had, or no answer on it. */
async function offer(): Promise<{ id: string; reply: Reply | null }> {
  const id = crypto.randomUUID();
  const events = [{ event: 'deploy', event_id: id, timestamp: Date.now() }];
  return { id, reply: await ask('/api/v1/ingest/events', JSON.stringify({ events })).catch(() => null) };
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

const untilNotReady = () =>
  vi.waitFor(async () => {
    const { status, text } = await ask('/readyz');
    expect([status, text]).toEqual([503, '{"status":"not_ready","reason":"shutting_down"}']);
  }, SOON);

test.each([
  ['one process', {}],
  ['workers', { WEIR_WORKERS: '2' }],
])('%s: not ready at once, taking events meanwhile, then ending in order', async (_who, more) => {
  await start({ SHUTDOWN_DRAIN_DELAY: '4s', ...more });
  const ids = [await accept()];
  const beforeSignal = performance.now();
  weir.child.kill('SIGTERM');
  await untilNotReady();
  // Until the port is closed.
  for (;;) {
    const { id, reply } = await offer();
    if (reply === null || reply.status === 503) break;
    // Whoever keeps a connection is told to look for another place.
    expect([reply.status, reply.connection]).toEqual([202, 'close']);
    ids.push(id);
    await sleep(50);
  }
  // From before it begins until after it is over: a machine that is busy makes this longer only.
  expect(performance.now() - beforeSignal).toBeGreaterThanOrEqual(3_900);
  expect(ids.length).toBeGreaterThan(2);
  expect((await weir.finished).code).toBe(0);
  expect(await copiesOf(ids)).toEqual(ids.map(() => 1));
});

test('a second signal meanwhile ends it at once, and what it has is on disk', async () => {
  await start({ SHUTDOWN_DRAIN_DELAY: '10m', INGEST_FLUSH_INTERVAL: '10m' });
  const ids = [await accept()];
  weir.child.kill('SIGTERM');
  await untilNotReady();
  ids.push(await accept());
  await untilAnother();
  weir.child.kill('SIGTERM');
  expect((await weir.finished).code).toBe(1);
  await start({});
  await vi.waitFor(async () => expect(await copiesOf(ids)).toEqual([1, 1]), SOON);
});

test('a person at the terminal waits for nobody', async () => {
  await start({ SHUTDOWN_DRAIN_DELAY: '10m' });
  const ids = [await accept()];
  weir.child.kill('SIGINT');
  expect((await weir.finished).code).toBe(0);
  expect(await copiesOf(ids)).toEqual([1]);
});

test('a second kind of signal counts as the second', async () => {
  await start({ SHUTDOWN_DRAIN_DELAY: '10m', WEIR_WORKERS: '2' });
  const ids = [await accept()];
  weir.child.kill('SIGTERM');
  await untilNotReady();
  await untilAnother();
  weir.child.kill('SIGINT');
  expect((await weir.finished).code).toBe(1);
  await start({});
  await vi.waitFor(async () => expect(await copiesOf(ids)).toEqual([1]), SOON);
});
