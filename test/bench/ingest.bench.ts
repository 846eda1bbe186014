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
import { decodeEvents, decoderOf } from '../../src/event/decode.ts';
import { nativeFormat } from '../../src/http/doors/native.ts';
import { readEnvelope } from '../../src/event/envelope.ts';
import type { ProjectId } from '../../src/event/event.ts';
import type { BatchId } from '../../src/pipeline/batch.ts';
import { createProjects } from '../../src/postgres/projects.ts';
import { createTokens } from '../../src/postgres/tokens.ts';
import { type Stores, startStores } from '../support/stores.ts';
import { startWeir } from '../support/weir.ts';

const CONNECTIONS = 8;
const BATCH_EVENTS = 500;
const BATCHES = 200;
const SINGLES = 1_000;
/** Of both kinds of Weir, by turns. */
const ROUNDS = 1;
const LONELY = 300;

type Figure = { name: string; value: number; unit: string };

export async function run(): Promise<Figure[]> {
  const stores = await startStores();
  const project = await createProjects(stores.postgres.db).create({
    name: 'bench',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const token = await createTokens(stores.postgres.db).create({
    projectId: project.id,
    kind: 'public',
    name: 'bench',
    imported: null,
  });
  const bare = createServer((incoming, answer) => incoming.resume().on('end', () => answer.writeHead(202).end('{}')));
  const path = '/api/v1/ingest/events';
  const started: Awaited<ReturnType<typeof startBenched>>[] = [];
  try {
    await new Promise<void>((resolve) => bare.listen(0, '127.0.0.1', resolve));
    const toBare = { url: `http://127.0.0.1:${(bare.address() as AddressInfo).port}${path}`, token: '' };
    for (const journal of ['on', 'off']) started.push(await startBenched(stores, journal));
    const [on, off] = started.map(({ url }) => ({ url, to: { url: `${url}${path}`, token: token!.plaintext } }));
    if (!on || !off) throw new Error('neither started');
    for (const { url, to } of [on, off]) {
      await send(to, 20, BATCH_EVENTS);
      await drained(url);
    }

    const direct = await insertDirectly(stores, project.id as ProjectId);
    const bareBatches = await send(toBare, BATCHES, BATCH_EVENTS);
    const rates = { on: { acknowledged: [], stored: [] }, off: { acknowledged: [], stored: [] } } as Record<
      'on' | 'off',
      { acknowledged: number[]; stored: number[] }
    >;
    // By turns, so that whatever else the machine does meets both.
    for (let round = 0; round < ROUNDS; round++) {
      for (const [journal, { url, to }] of [['on', on] as const, ['off', off] as const]) {
        const startedAt = performance.now();
        rates[journal].acknowledged.push((await send(to, BATCHES, BATCH_EVENTS)) * BATCH_EVENTS);
        await drained(url);
        rates[journal].stored.push((BATCHES * BATCH_EVENTS * 1_000) / (performance.now() - startedAt));
      }
    }
    const durable = median(rates.on.acknowledged);
    const stored = median(rates.on.stored);
    const bareSingles = await send(toBare, SINGLES, 1);
    const singles = await send(on.to, SINGLES, 1);
    const lone = await lonelyP99([on.to, off.to]);
    return [
      { name: 'ingest journaled, batches of 500', value: Math.round(durable), unit: 'events/s' },
      { name: 'ingest stored, batches of 500', value: Math.round(stored), unit: 'events/s' },
      { name: 'ingest single events', value: Math.round(singles), unit: 'requests/s' },
      { name: 'direct inserts of 5 000 rows', value: Math.round(direct), unit: 'events/s' },
      { name: 'lone request p99, journaled', value: lone[0]!, unit: 'ms' },
      { name: 'lone request p99, no journal', value: lone[1]!, unit: 'ms' },
      ratio('acknowledged with against without a journal', durable / median(rates.off.acknowledged)),
      ratio('stored with against without a journal', stored / median(rates.off.stored)),
      ratio('stored against direct inserts', stored / direct),
      ratio('batches against bare HTTP', durable / (bareBatches * BATCH_EVENTS)),
      ratio('single events against bare HTTP', singles / bareSingles),
    ];
  } finally {
    bare.close();
    for (const { weir } of started) weir.child.kill('SIGTERM');
    await Promise.all(started.map(({ weir }) => weir.finished));
    await stores.stop();
    for (const { dataDir } of started) rmSync(dataDir, { recursive: true, force: true });
  }
}

async function startBenched(stores: Stores, journal: string) {
  const dataDir = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  const weir = startWeir(['serve'], {
    cwd: dataDir,
    env: {
      PORT: '0',
      LOG_LEVEL: 'info',
      WEIR_DATA_DIR: dataDir,
      DATABASE_URL: stores.databaseUrl,
      CLICKHOUSE_URL: stores.clickhouseUrl,
      INGEST_JOURNAL: journal,
    },
  });
  return { weir, dataDir, url: await urlOf(weir) };
}

/** One request at a time, to each target by turns; the 99th percentile of each, in milliseconds. */
async function lonelyP99(targets: readonly { url: string; token: string }[]): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const tookMs = targets.map((): number[] => []);
  for (let i = 0; i < LONELY; i++) {
    for (const [index, target] of targets.entries()) {
      const body = bodyOf(1);
      const startedAt = performance.now();
      await post(agent, target, body);
      tookMs[index]!.push(performance.now() - startedAt);
    }
  }
  agent.destroy();
  return tookMs.map((all) => Number(all.sort((a, b) => a - b)[Math.floor(all.length * 0.99)]!.toFixed(2)));
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

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
    retentionSeconds: null,
  };
  const batches = Array.from({ length: 40 }, () => {
    const envelope = readEnvelope(bodyOf(5_000));
    if (!envelope.ok) throw new Error(envelope.message);
    return {
      id: randomUUID() as string as BatchId,
      chunks: [decodeEvents(envelope.events, decoderOf(nativeFormat)(origin)).rows],
    };
  });
  const startedAt = performance.now();
  const inserted = batches.length * 5_000;
  const worker = async () => {
    for (let batch = batches.pop(); batch; batch = batches.pop()) await store.insert(batch);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return (inserted * 1_000) / (performance.now() - startedAt);
}
