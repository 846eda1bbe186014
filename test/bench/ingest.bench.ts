/**
 * The whole way of an event: HTTP, token, decode, channel, insert. Beside it, in
 * the same run, a server that only reads the body and answers (what HTTP costs
 * by itself on this machine) and inserts of the same rows straight into
 * ClickHouse (what storing costs by itself).
 */
import { randomUUID } from 'node:crypto';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEventStore } from '../../src/clickhouse/event-store.ts';
import { systemClock } from '../../src/clock.ts';
import { decodeEvents } from '../../src/event/decode.ts';
import { readEnvelope } from '../../src/event/envelope.ts';
import type { ProjectId } from '../../src/event/event.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { createProjects } from '../../src/postgres/projects.ts';
import { createTokens } from '../../src/postgres/tokens.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { startWeir } from '../support/weir.ts';

const CONNECTIONS = 8;
const BATCH_EVENTS = 500;
const BATCHES = 400;
const SINGLES = 5_000;

type Figure = { name: string; value: number; unit: string };

export async function run(): Promise<Figure[]> {
  const stores = await startStores();
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  const project = await createProjects(stores.postgres.db).create({
    name: 'bench',
    retentionDays: null,
    allowedOrigins: [],
  });
  const token = await createTokens(stores.postgres.db).create({
    projectId: project.id,
    kind: 'public',
    name: 'bench',
    imported: null,
  });
  const weir = startWeir(['serve'], {
    cwd: dataDir,
    env: {
      PORT: '0',
      LOG_LEVEL: 'info',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
    },
  });
  const bare = createServer((incoming, answer) => incoming.resume().on('end', () => answer.writeHead(202).end('{}')));
  try {
    await new Promise<void>((resolve) => bare.listen(0, '127.0.0.1', resolve));
    const url = await urlOf(weir);
    const path = '/api/v1/ingest/events';
    const targets = {
      weir: { url: `${url}${path}`, token: token!.plaintext },
      bare: { url: `http://127.0.0.1:${(bare.address() as AddressInfo).port}${path}`, token: '' },
    };
    await send(targets.weir, 20, BATCH_EVENTS);
    await drained(url);

    const direct = await insertDirectly(stores, project.id as ProjectId);
    const bareBatches = await send(targets.bare, BATCHES, BATCH_EVENTS);
    const startedAt = performance.now();
    const weirBatches = await send(targets.weir, BATCHES, BATCH_EVENTS);
    await drained(url);
    const storedPerS = (BATCHES * BATCH_EVENTS * 1_000) / (performance.now() - startedAt);
    const bareSingles = await send(targets.bare, SINGLES, 1);
    const weirSingles = await send(targets.weir, SINGLES, 1);
    return [
      { name: 'ingest acknowledged, batches of 500', value: Math.round(weirBatches * BATCH_EVENTS), unit: 'events/s' },
      { name: 'ingest stored, batches of 500', value: Math.round(storedPerS), unit: 'events/s' },
      { name: 'ingest single events', value: Math.round(weirSingles), unit: 'requests/s' },
      { name: 'direct inserts of 5 000 rows', value: Math.round(direct), unit: 'events/s' },
      ratio('stored against direct inserts', storedPerS / direct),
      ratio('batches against bare HTTP', weirBatches / bareBatches),
      ratio('single events against bare HTTP', weirSingles / bareSingles),
    ];
  } finally {
    bare.close();
    weir.child.kill('SIGTERM');
    await weir.finished;
    await stores.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const ratio = (name: string, value: number): Figure => ({ name, value: Number(value.toFixed(2)), unit: 'ratio' });

async function urlOf(weir: ReturnType<typeof startWeir>): Promise<string> {
  for (;;) {
    const url = /"url":"(http:[^"]+)"/.exec(weir.written())?.[1];
    if (url && (await fetch(`${url}/ready`).catch(() => null))?.ok) return url;
    if (weir.child.exitCode !== null) throw new Error(`Weir did not start:\n${weir.written()}`);
    await systemClock.sleep(50);
  }
}

async function drained(url: string): Promise<void> {
  for (;;) {
    const health = (await (await fetch(`${url}/health`)).json()) as { pending: number };
    if (health.pending === 0) return;
    await systemClock.sleep(20);
  }
}

/** Requests per second until all were taken; a refused one is sent again, as a client would. */
async function send(to: { url: string; token: string }, requests: number, eventsEach: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const bodies = Array.from({ length: requests }, () => bodyOf(eventsEach));
  const startedAt = performance.now();
  const worker = async () => {
    for (let body = bodies.pop(); body; body = bodies.pop()) {
      while ((await post(agent, to, body)) !== 202) await systemClock.sleep(20);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  const elapsedMs = performance.now() - startedAt;
  agent.destroy();
  return (requests * 1_000) / elapsedMs;
}

function post(agent: Agent, { url, token }: { url: string; token: string }, body: Buffer): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { authorization: `Bearer ${token}`, 'content-length': body.length };
  request(url, { agent, method: 'POST', headers }, (answer) =>
    answer.resume().on('end', () => resolve(answer.statusCode!)),
  )
    .on('error', reject)
    .end(body);
  return promise;
}

function bodyOf(events: number): Buffer {
  const timestamp = Date.now();
  const one = (index: number) => ({
    event: 'page viewed',
    event_id: randomUUID(),
    user_id: `user-${index % 997}`,
    timestamp,
    properties: { path: `/pricing/${index}`, load_ms: index * 1.5, tags: ['a', 'b'], new: true },
  });
  return Buffer.from(JSON.stringify({ events: Array.from({ length: events }, (_, index) => one(index)) }));
}

/** Events per second of inserts alone, four at a time, as large as Weir makes them. */
async function insertDirectly({ clickhouse, database }: Stores, projectId: ProjectId): Promise<number> {
  const store = createEventStore({ client: clickhouse, clock: systemClock }, { database, timeoutMs: 60_000 });
  const origin = {
    projectId,
    source: 'native',
    receivedAt: Date.now(),
    maxFutureMs: 60_000,
    newEventId: randomUUID,
    retentionDays: null,
  };
  const batches = Array.from({ length: 40 }, () => {
    const envelope = readEnvelope(bodyOf(5_000));
    if (!envelope.ok) throw new Error(envelope.message);
    return { id: randomUUID() as string as BatchId, chunks: [decodeEvents(envelope.events, origin).rows] };
  });
  const startedAt = performance.now();
  const inserted = batches.length * 5_000;
  const worker = async () => {
    for (let batch = batches.pop(); batch; batch = batches.pop()) await store.insert(batch);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return (inserted * 1_000) / (performance.now() - startedAt);
}
