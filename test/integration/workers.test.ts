/**
 * Several workers under one supervisor, as real processes over real stores. What
 * clients were told is compared with what the stores hold, by id, whatever is
 * done to the processes meanwhile.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type WeirPlace, until } from '../chaos/rig.ts';
import { freePort } from '../support/ports.ts';
import { randomOf } from '../support/factory.ts';
import { type Grounds, NEVER, endCleanly, logOf, startGrounds } from '../support/grounds.ts';
import { runWeir, untilAnother } from '../support/weir.ts';

const SEED = Number(process.env['WEIR_WORKERS_SEED'] ?? 1);
const THREE = { WEIR_WORKERS: '3', LOG_LEVEL: 'debug' };
const EVENTS_PATH = '/api/v1/ingest/events';

let grounds: Grounds;
let rig: Grounds['rig'];

beforeAll(async () => {
  grounds = await startGrounds();
  rig = grounds.rig;
});
afterAll(async () => {
  await endAll();
  await rig?.stop();
});
beforeEach(() => grounds.clear());
afterEach(() => grounds.heal());

/** Where something may run. */
const places: WeirPlace[] = [];
let usual: WeirPlace | null = null;

function newPlace(env: Record<string, string> = {}): WeirPlace {
  const place = grounds.newPlace({ ...THREE, ...env });
  places.push(place);
  return place;
}

async function newWeir(env: Record<string, string> = {}): Promise<WeirPlace> {
  const place = newPlace(env);
  await grounds.startAt(place);
  return place;
}

/** The one with three workers that most tests use, whatever the test before has done to it. */
async function usualWeir(): Promise<WeirPlace> {
  usual ??= newPlace();
  if (usual.pid() === null) await grounds.startAt(usual);
  const weir = usual;
  await until('migrated', async () => (await ask(weir, '/ready'))?.status === 200);
  let reasons: readonly string[] = [];
  const isUsual = async () => {
    ({ reasons } = await healthOf(weir));
    // A breaker closes only on a batch that landed, and what one worker left another may have drained.
    if (reasons.some((reason) => reason.startsWith('inserts have been suspended'))) await send(weir, 1);
    return reasons.length === 0;
  };
  await until('as usual', isUsual).catch((error: Error) => {
    throw new Error(`${error.message}: ${reasons.join('; ')}`);
  });
  return weir;
}

async function endAll() {
  for (const place of places.splice(0)) if (place.pid() !== null) await killAll(place);
}

type Reply = { readonly status: number; readonly text: string; readonly headers: IncomingHttpHeaders };

/** A request on a connection of its own, so that any worker may get it; null when it got no answer. */
function ask(
  weir: WeirPlace,
  path: string,
  { body, key, ack = 'journaled' }: { body?: string; key?: string; ack?: string } = {},
): Promise<Reply | null> {
  const headers = { authorization: `Bearer ${rig.token}`, ...(key !== undefined && { 'idempotency-key': key }) };
  const query = body === undefined ? '' : `?ack=${ack}`;
  const method = body === undefined ? 'GET' : 'POST';
  const asked = Promise.withResolvers<Reply | null>();
  const sent = request(`${weir.url()}${path}${query}`, { method, headers, agent: false }, (answer) => {
    text(answer).then(
      (read) => asked.resolve({ status: answer.statusCode!, text: read, headers: answer.headers }),
      () => asked.resolve(null),
    );
  });
  sent.on('error', () => asked.resolve(null)).end(body);
  return asked.promise;
}

type Health = {
  readonly status: string;
  readonly reasons: readonly string[];
  readonly enqueued: number;
  readonly pending: number;
  readonly workers?: readonly { worker: number; pid: number | null; state: string }[];
};

async function healthOf(weir: WeirPlace): Promise<Health> {
  const answer = await ask(weir, '/health');
  return JSON.parse(answer!.text) as Health;
}

/** Of one process there is no list. */
const pidsOf = async (weir: WeirPlace) => ((await healthOf(weir)).workers ?? []).flatMap(({ pid }) => pid ?? []);

/** The value of a line of the metrics page. */
async function metricOf(weir: WeirPlace, name: string): Promise<number> {
  const page = (await ask(weir, '/internal/metrics'))!.text;
  return Number(
    page
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1),
  );
}

async function countersOf(weir: WeirPlace) {
  const events = (result: string) => metricOf(weir, `weir_events_total{result="${result}"}`);
  return {
    accepted: await events('accepted'),
    stored: await events('stored'),
    deadLettered: await events('dead_lettered'),
    requests: await metricOf(weir, `weir_http_requests_total{method="POST",route="${EVENTS_PATH}",status="202"}`).then(
      (count) => count || 0,
    ),
    inserted: await metricOf(weir, 'weir_insert_events_sum'),
  };
}

/** Sends one request of new events and takes note when it was taken. */
async function send(weir: WeirPlace, count: number, options: { key?: string; ack?: string } = {}) {
  const { ids, body } = grounds.newBody(count);
  const answer = await ask(weir, EVENTS_PATH, { body, ...options });
  if (answer?.status === 202) grounds.tally().acknowledge(ids, String(answer.headers['weir-ack']));
  return { ids, body, answer };
}

/** The workers that answered events, as the log has it from there on. */
const answeredBy = (weir: WeirPlace, from = 0) =>
  new Set(
    logOf(weir)
      .slice(from)
      .split('\n')
      .filter((line) => line.includes(`"route":"${EVENTS_PATH}"`))
      .map((line) => /"worker":(\d+)/.exec(line)?.[1]),
  );

/** Asks until every one of the workers has answered: which one does is the system's choice. */
async function askEverybody(weir: WeirPlace, workers: number, request: () => Promise<unknown>) {
  const from = logOf(weir).length;
  await until('answered by everybody', async () => {
    await request();
    return answeredBy(weir, from).size === workers;
  });
}

const isAlive = (pid: number) => existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

async function killAll(weir: WeirPlace) {
  const pids = await pidsOf(weir);
  await weir.kill();
  for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  await until('all gone', () => !pids.some(isAlive));
}

const allListen = (weir: WeirPlace) =>
  until('all listen', async () => (await healthOf(weir)).workers!.every(({ state }) => state === 'listening'));

describe('the pages of all workers', () => {
  test('add up to what was sent, whoever is asked', async () => {
    const weir = await usualWeir();
    // What was sent until it was as usual may have become a dead letter, which is not counted as stored.
    await grounds.rest(weir);
    const { accepted, requests, stored, inserted, deadLettered } = await countersOf(weir);
    const sent = await Promise.all(Array.from({ length: 30 }, (_, index) => send(weir, 1 + (index % 5))));
    await askEverybody(weir, 3, async () => sent.push(await send(weir, 2)));
    const events = sent.reduce((sum, { ids }) => sum + ids.length, 0);
    for (let asked = 0; asked < 6; asked++) {
      expect(await healthOf(weir)).toMatchObject({ status: 'ok', reasons: [], enqueued: accepted + events });
      expect((await countersOf(weir)).accepted).toBe(accepted + events);
    }
    expect((await countersOf(weir)).requests).toBe(requests + sent.length);
    expect(await metricOf(weir, 'weir_pending_events_limit')).toBe(150_000);
    expect(await metricOf(weir, 'weir_clickhouse_up')).toBe(1);
    await grounds.expectKept(weir);
    // Rows are there before ClickHouse has answered, and are counted after that.
    await until('counted', async () => (await countersOf(weir)).stored === stored + events);
    expect(await countersOf(weir)).toMatchObject({
      stored: stored + events,
      inserted: inserted + events,
      deadLettered,
    });
    expect(await metricOf(weir, 'weir_pending_events')).toBe(0);
    expect((await ask(weir, '/readyz'))?.status).toBe(200);
  });

  test('do not wait for a worker that is frozen: they say so, and the others serve', async () => {
    const weir = await usualWeir();
    const { accepted } = await countersOf(weir);
    const [, frozen] = await pidsOf(weir);
    await send(weir, 10);
    // What a frozen worker has is counted as it was last heard.
    expect((await countersOf(weir)).accepted).toBe(accepted + 10);
    process.kill(frozen!, 'SIGSTOP');
    try {
      expect(await healthOf(weir)).toMatchObject({ status: 'degraded', reasons: ['worker 2 does not answer'] });
      for (let round = 0; round < 10; round++) expect((await send(weir, 2)).answer?.status).toBe(202);
      expect((await ask(weir, '/readyz'))?.status).toBe(200);
      expect((await ask(weir, '/healthz'))?.status).toBe(200);
      expect((await countersOf(weir)).accepted).toBe(accepted + 30);
    } finally {
      process.kill(frozen!, 'SIGCONT');
    }
    await until('thawed', async () => (await healthOf(weir)).reasons.length === 0);
    await grounds.expectKept(weir);
  });
});

describe('an idempotency key', () => {
  test('is answered once by all workers together, also while the first request is under way', async () => {
    const weir = await usualWeir();
    const { enqueued } = await healthOf(weir);
    rig.clickhouse.set({ kind: 'hang' });
    const { ids, body } = grounds.newBody(4);
    const asking = Array.from({ length: 12 }, () => ask(weir, EVENTS_PATH, { body, key: 'one', ack: 'stored' }));
    await until('taken', async () => (await healthOf(weir)).enqueued === enqueued + 4);
    rig.clickhouse.set(null);
    const answers = await Promise.all(asking);
    expect(new Set(answers.map((answer) => `${answer?.status} ${answer?.text}`)).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 202 });
    grounds.tally().acknowledge(ids, 'stored');
    const other = grounds.newBody(1);
    expect(await ask(weir, EVENTS_PATH, { body: other.body, key: 'one' })).toMatchObject({ status: 422 });
    await askEverybody(weir, 3, async () => {
      expect(await ask(weir, EVENTS_PATH, { body, key: 'one' })).toMatchObject({ status: 202, text: answers[0]!.text });
    });
    await grounds.expectKept(weir);
    expect((await healthOf(weir)).enqueued).toBe(enqueued + 4);
  });

  test('outlives the worker that took it, after its answer and before it', async () => {
    const weir = await usualWeir();
    const { enqueued } = await healthOf(weir);
    const answered = await send(weir, 3, { key: 'answered' });
    rig.clickhouse.set({ kind: 'hang' });
    const underway = grounds.newBody(3);
    const cut = ask(weir, EVENTS_PATH, { body: underway.body, key: 'under way', ack: 'stored' });
    await until('taken', async () => (await healthOf(weir)).enqueued === enqueued + 6);
    for (const pid of await pidsOf(weir)) process.kill(pid, 'SIGKILL');
    expect(await cut).toBeNull();
    rig.clickhouse.set(null);
    const refusals = new Set<unknown>();
    const insist = async (body: string, key: string) => {
      for (;;) {
        const answer = await ask(weir, EVENTS_PATH, { body, key });
        if (answer?.status === 202) return answer.text;
        if (answer) refusals.add(`${answer.status} ${answer.headers['retry-after'] ?? 'never'}`);
        await sleep(20);
      }
    };
    expect(await insist(answered.body, 'answered')).toBe(answered.answer!.text);
    expect(JSON.parse(await insist(underway.body, 'under way'))).toMatchObject({ accepted: 3 });
    grounds.tally().acknowledge(underway.ids, 'journaled');
    expect([...refusals].filter((refusal) => refusal !== '503 1')).toEqual([]);
    await grounds.expectKept(weir);
  });
});

test('a rate limit is one for all workers together', async () => {
  const weir = await newWeir({ WEIR_WORKERS: '2', INGEST_RATE_LIMIT: '10/m' });
  const sent = await Promise.all(Array.from({ length: 30 }, () => send(weir, 1)));
  await askEverybody(weir, 2, async () => sent.push(await send(weir, 1)));
  const statuses = sent.map(({ answer }) => answer?.status);
  expect(statuses.filter((status) => status === 202)).toHaveLength(10);
  expect(statuses.filter((status) => status === 429)).toHaveLength(sent.length - 10);
  await grounds.expectKept(weir);
});

describe('an end', () => {
  test('by SIGTERM under load: all workers drain, the exit code is 0, nothing is lost or doubled', async () => {
    const weir = await usualWeir();
    const stop = new AbortController();
    const load = grounds.load(weir, { seed: SEED + 2, stop: stop.signal });
    await sleep(700);
    const pids = await pidsOf(weir);
    await endCleanly(weir);
    expect(pids.filter(isAlive)).toEqual([]);
    stop.abort();
    await load.done;
    await grounds.startAt(weir);
    await grounds.expectKept(weir);
  });

  test('by a second signal while no store answers and without a journal: everybody saves and leaves at once, the next start finds everything', async () => {
    const weir = await newWeir({ WEIR_WORKERS: '2', INGEST_SHUTDOWN_GRACE: '60s', INGEST_JOURNAL: 'off' });
    // From now on the token is known to all of them.
    for (let round = 0; round < 10; round++) await send(weir, 1);
    rig.clickhouse.set({ kind: 'hang' });
    rig.postgres.set({ kind: 'hang' });
    for (let round = 0; round < 10; round++) await send(weir, 5);
    const pids = await pidsOf(weir);
    const ended = weir.terminate();
    await until('draining', () => logOf(weir).split('"shutting down"').length > 2);
    await untilAnother();
    process.kill(weir.pid()!, 'SIGTERM');
    expect(await ended).toBe(1);
    await until('all gone', () => !pids.some(isAlive));
    await grounds.heal();
    await grounds.startAt(weir);
    await grounds.expectKept(weir);
  });

  test('by Ctrl-C, which everybody in the terminal hears: the workers wait for the supervisor, and drain once', async () => {
    const weir = await usualWeir();
    for (let round = 0; round < 10; round++) await send(weir, 5);
    const pids = await pidsOf(weir);
    for (const pid of pids) process.kill(pid, 'SIGINT');
    await sleep(100);
    expect((await send(weir, 5)).answer?.status).toBe(202);
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    await endCleanly(weir);
    expect(pids.filter(isAlive)).toEqual([]);
    await grounds.startAt(weir);
    await grounds.expectKept(weir);
  });
});

describe('an end that fails', () => {
  test('for a worker that is killed while it drains: the exit code is 1, the log says which and how, nothing is lost', async () => {
    const weir = await newWeir({ WEIR_WORKERS: '2', INGEST_SHUTDOWN_GRACE: '60s' });
    for (let round = 0; round < 10; round++) await send(weir, 1);
    rig.clickhouse.set({ kind: 'hang' });
    for (let round = 0; round < 10; round++) await send(weir, 5);
    const [killed] = await pidsOf(weir);
    const ended = weir.terminate();
    await until('draining', () => logOf(weir).split('"shutting down"').length > 2);
    await untilAnother();
    process.kill(killed!, 'SIGKILL');
    await until('noticed', () => logOf(weir).includes('worker did not stop cleanly'));
    await grounds.heal();
    expect(await ended).toBe(1);
    const lines = logOf(weir).split('\n');
    const unclean = lines.find((line) => line.includes('worker did not stop cleanly'))!;
    expect(JSON.parse(unclean)).toMatchObject({ level: 50, pid: killed, signal: 'SIGKILL' });
    const failed = lines.find((line) => line.includes('shutdown failed'))!;
    expect(JSON.parse(failed)).toMatchObject({ err: { message: '1 workers did not stop cleanly' } });
    await grounds.startAt(weir);
    await grounds.expectKept(weir);
  });
});

describe('a start that cannot be', () => {
  const launch = (place: WeirPlace, env: Record<string, string>) =>
    runWeir(['serve'], {
      cwd: '/',
      env: {
        ...THREE,
        HOST: '127.0.0.1',
        PORT: String(freePort()),
        WEIR_DATA_DIR: place.dataDir,
        CLICKHOUSE_URL: rig.clickhouse.url,
        DATABASE_URL: rig.stores.databaseUrl,
        ...env,
      },
    });

  test('for a port that is taken ends with one sentence', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const { port } = squatter.address() as { port: number };
    const { code, stderr } = await launch(newPlace(), { PORT: String(port) });
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^port \d+ is already in use.*\n$/),
    });
    squatter.close();
  });

  test('for the journal of one worker ends with its sentence once, and all workers are gone', async () => {
    const place = newPlace();
    mkdirSync(join(place.dataDir, 'workers', '2'), { recursive: true });
    writeFileSync(join(place.dataDir, 'workers', '2', 'journal'), 'no directory');
    const { code, stderr } = await launch(place, { LOG_LEVEL: 'silent' });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^the journal in .*workers\/2\/journal cannot be used \(EEXIST\).*\n$/);
    expect(existsSync(join(place.dataDir, 'runtime.json'))).toBe(false);
  });
});

describe('kill -9', () => {
  test('of one worker after the other under load: others serve, it is replaced, nothing is lost or doubled', async () => {
    const random = randomOf(SEED);
    const weir = await usualWeir();
    const stop = new AbortController();
    const load = grounds.load(weir, { seed: SEED, stop: stop.signal });
    let accepted = 0;
    for (let kill = 0; kill < 4; kill++) {
      await sleep(200 + random() * 600);
      const pids = await pidsOf(weir);
      process.kill(pids[Math.floor(random() * pids.length)]!, 'SIGKILL');
      await until('said', async () => /worker \d is (missing|starting)/.test((await healthOf(weir)).reasons.join()));
      const before = accepted;
      ({ accepted } = await countersOf(weir));
      expect(accepted).toBeGreaterThanOrEqual(before);
      const ready = await ask(weir, '/readyz');
      expect(ready?.status, ready?.text).toBe(200);
    }
    await allListen(weir);
    stop.abort();
    await load.done;
    await grounds.expectKept(weir);
    expect(weir.crashes()).toBe(0);
    const { accepted: all, stored, deadLettered } = await countersOf(weir);
    expect(all).toBe(stored + deadLettered);
  });

  test('of the supervisor under load: the workers drain by themselves, and the next start waits for them', async () => {
    const weir = await usualWeir();
    const stop = new AbortController();
    const load = grounds.load(weir, { seed: SEED + 1, stop: stop.signal });
    await sleep(700);
    const pids = await pidsOf(weir);
    await weir.kill();
    await grounds.startAt(weir);
    expect(pids.filter(isAlive)).toEqual([]);
    await sleep(300);
    stop.abort();
    await load.done;
    await grounds.expectKept(weir);
  });

  test('of everything, then a start with one: what the others left is found, their keys too, their directories go', async () => {
    const place = newPlace(NEVER);
    await grounds.startAt(place);
    rig.clickhouse.set({ kind: 'hang' });
    const keyed: Awaited<ReturnType<typeof send>>[] = [];
    await askEverybody(place, 3, async () => {
      for (let more = 0; more < 5; more++) keyed.push(await send(place, 3, { key: `key ${keyed.length}` }));
    });
    expect(keyed.map(({ answer }) => answer?.status)).toEqual(keyed.map(() => 202));
    await killAll(place);
    const { dataDir } = place;
    const left = () => readdirSync(join(dataDir, 'workers')).filter((name) => !name.includes('.lock'));
    expect(left().length).toBe(2);

    const one = { WEIR_WORKERS: '1', INGEST_FLUSH_INTERVAL: '200ms' };
    rig.clickhouse.set(null);
    await grounds.startAt(place, one);
    await until('delivered', () => left().length === 0);
    await grounds.rest(place);
    // Over one more start: the keys were handed on.
    await killAll(place);
    await grounds.startAt(place, one);
    for (const [index, { body, answer }] of keyed.entries()) {
      const again = await ask(place, EVENTS_PATH, { body, key: `key ${index}` });
      expect(again).toMatchObject({ status: 202, text: answer!.text });
    }
    await grounds.expectKept(place);
  });
});
