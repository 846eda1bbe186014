/**
 * Weirs before and behind a topic of a real broker, as real processes between real stores: every event accounted for by
 * its id. A longer run of the kills: WEIR_KILL_ROUNDS=100, or `npm run chaos -- --channel kafka`.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type KafkaRig,
  type WeirPlace,
  forgetEvents,
  healthOf,
  isQuiet,
  isReady,
  startKafkaRig,
  until,
} from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { endCleanly } from '../support/grounds.ts';
import { API } from '../support/kafka-proxy.ts';
import { isWithoutKafka } from '../support/kafka-topics.ts';
import {
  type Load,
  type Tally,
  addPoisonConstraint,
  auditOf,
  createLoad,
  createTally,
  wrongIn,
} from '../support/load.ts';

const ROUNDS = Number(process.env['WEIR_KILL_ROUNDS'] ?? 2);
const SEED = Number(process.env['WEIR_KILL_SEED'] ?? 1);
/** A frozen process has lost its partitions when it wakes up. */
const BEYOND_SESSION_MS = 12_000;

describe.skipIf(isWithoutKafka)('behind a topic', () => {
  let rig: KafkaRig;
  let journaled: WeirPlace;
  let inMemory: WeirPlace;
  let flush: readonly [WeirPlace, WeirPlace];
  let all: readonly WeirPlace[];
  let tally: Tally;
  let load: Load;

  beforeAll(async () => {
    rig = await startKafkaRig();
    await addPoisonConstraint(rig.stores);
    const settings = { INGEST_FLUSH_INTERVAL: '300ms' };
    journaled = rig.place('journaled', { ...settings, WEIR_ROLE: 'ingest' });
    inMemory = rig.place('in-memory', { ...settings, WEIR_ROLE: 'ingest', INGEST_JOURNAL: 'off' });
    flush = [
      rig.place('flush', { WEIR_ROLE: 'flush' }),
      rig.place('other', { WEIR_ROLE: 'flush', KAFKA_INSTANCE_ID: 'other' }),
    ];
    all = [journaled, inMemory, ...flush];
    await Promise.all(all.map((place) => place.start()));
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    for (const place of all) if (place.pid() === null) await place.start();
    for (const place of all) await until('every process is ready', () => isReady(place.url()));
    await until('at rest', () => isQuiet(rig, all), 90_000);
    await forgetEvents(rig);
    tally = createTally();
    load = sender(journaled, inMemory);
  });

  const sender = (...places: readonly WeirPlace[]) =>
    createLoad(
      { tally, random: randomOf(SEED), urls: () => places.flatMap((place) => place.url() ?? []) },
      { token: rig.token, poisonShare: 0 },
    );

  /** That everything acknowledged is where it should be, once. */
  async function settle(): Promise<Awaited<ReturnType<typeof auditOf>>> {
    await until('at rest', () => isQuiet(rig, all), 90_000);
    // What the brokers have told a moment ago may be read a moment later.
    await sleep(500);
    await until('at rest', () => isQuiet(rig, all), 90_000);
    const audit = await auditOf(rig.stores, tally);
    expect(wrongIn(audit)).toEqual([]);
    return audit;
  }

  const logOf = (place: WeirPlace) => readFileSync(place.logFile, 'utf8');
  const post = async (place: WeirPlace, query: string) => {
    const [id] = [tally.newId()];
    const answer = await fetch(`${place.url()}/api/v1/ingest/events${query}`, {
      method: 'POST',
      body: JSON.stringify({
        events: [{ event: 'one', event_id: id, user_id: 'u', timestamp: Date.now(), properties: { id } }],
      }),
      headers: { authorization: `Bearer ${rig.token}` },
    });
    const ack = answer.headers.get('weir-ack');
    if (answer.status === 202) tally.acknowledge([id], ack!);
    return { status: answer.status, ack, text: await answer.text() };
  };

  test('each role does its part, and says so', async () => {
    expect(await post(journaled, '')).toMatchObject({ status: 202, ack: 'journaled' });
    expect(await post(journaled, '?ack=replicated')).toMatchObject({ status: 202, ack: 'replicated' });
    expect(await post(journaled, '?ack=stored')).toMatchObject({ status: 202, ack: 'replicated' });
    expect(await post(journaled, '?ack=queued')).toMatchObject({ status: 202, ack: 'queued' });
    expect(await post(inMemory, '')).toMatchObject({ status: 202, ack: 'replicated' });
    const refused = await post(flush[0], '');
    expect(refused).toMatchObject({ status: 503, ack: null });
    expect(refused.text).toContain('"ingest_elsewhere"');
    const query = `${journaled.url()}/api/v1/projects/${rig.projectId}/query`;
    expect((await fetch(query, { method: 'POST', body: '{"sql":"SELECT 1"}' })).status).toBe(401);
    expect((await settle()).stored).toBe(5);
    const [ingest, flusher] = await Promise.all([healthOf(journaled.url()), healthOf(flush[0].url())]);
    expect(ingest).toMatchObject({ role: 'ingest', status: 'ok', topic: { connected: true, reading: null } });
    expect(ingest).not.toHaveProperty('clickhouse_connected');
    expect(flusher).toMatchObject({
      role: 'flush',
      status: 'ok',
      intake: 'elsewhere',
      topic: { reading: { member: true } },
    });
    const held = await Promise.all(flush.map(async ({ url }) => (await healthOf(url()))!.topic!.reading!));
    expect(held.reduce((sum, { partitions }) => sum + partitions, 0)).toBe(4);
  });

  test('bad events cost no other, and each is quarantined once', { timeout: 120_000 }, async () => {
    const sent = await Promise.all(Array.from({ length: 20 }, (_, index) => load.send(50, { poisoned: index % 3 })));
    expect(sent).toEqual(sent.map(() => 'acknowledged'));
    const { stored, quarantined } = await settle();
    expect({ stored, quarantined }).toEqual({ stored: 1_000 - 19, quarantined: 19 });
  });

  test(
    'with the brokers away, the journal keeps what is accepted; memory alone says that it cannot',
    { timeout: 120_000 },
    async () => {
      await rig.kafka.kill();
      await until('known to be away', async () =>
        ((await healthOf(inMemory.url()))?.reasons ?? []).some((reason) =>
          reason.startsWith('no broker of the topic weir.chaos answers'),
        ),
      );
      expect(await isReady(inMemory.url())).toBe(false);
      expect(await isReady(journaled.url())).toBe(true);
      expect(await sender(journaled).send(100, { ack: 'journaled' })).toBe('acknowledged');
      const waiting = post(inMemory, '');
      // Killed with the brokers away, it finds everything again.
      await journaled.kill();
      await journaled.start();
      await rig.kafka.restart();
      expect(await waiting).toMatchObject({ status: 202, ack: 'replicated' });
      expect((await settle()).stored).toBe(101);
    },
  );

  test('nothing that brokers did not confirm in time counts as accepted', { timeout: 120_000 }, async () => {
    rig.kafka.freeze();
    // Of those who wait the shortest, and know this answer for one to try again after.
    const refused = await fetch(`${inMemory.url()}/v1/track`, {
      method: 'POST',
      body: JSON.stringify({ type: 'track', event: 'late', userId: 'u', messageId: 'm-1' }),
      headers: { authorization: `Basic ${btoa(`${rig.token}:`)}` },
    });
    rig.kafka.thaw();
    expect({ status: refused.status, text: await refused.clone().text() }).toMatchObject({ status: 429 });
    expect(refused.headers.get('weir-ack')).toBeNull();
    expect(await refused.text()).toContain('not_replicated');
    await until('it arrived all the same', async () => {
      const rows = await rig.stores.select(`SELECT 1 FROM ${rig.stores.database}.events_raw_v1 WHERE event = 'late'`);
      return rows.length === 1;
    });
  });

  test(
    'an answer of the brokers that is lost doubles nothing, also where the process is killed',
    { timeout: 120_000 },
    async () => {
      rig.kafka.proxy.set({ kind: 'cut-answer', api: API.produce }, { times: 3 });
      expect(await sender(journaled).send(100, { ack: 'journaled' })).toBe('acknowledged');
      await until('cut', () => rig.kafka.proxy.hits() > 0);
      await journaled.kill();
      rig.kafka.proxy.set(null);
      await journaled.start();
      expect((await settle()).stored).toBe(100);
    },
  );

  test('a zombie that holds batches when it falls asleep inserts nothing twice', { timeout: 180_000 }, async () => {
    // Its inserts are on their way, and stay there, until after it has lost its partitions.
    rig.clickhouse.set({ kind: 'hang' }, { only: 'inserts' });
    const sent = await Promise.all(Array.from({ length: 8 }, () => load.send(50, { ack: 'stored' })));
    expect(sent).toEqual(sent.map(() => 'acknowledged'));
    await until('batches are held', async () => ((await healthOf(flush[0].url()))?.pending ?? 0) > 0);
    flush[0].freeze();
    rig.clickhouse.set(null);
    await sleep(BEYOND_SESSION_MS);
    await until('the other one has stored everything', async () => (await auditOf(rig.stores, tally)).stored === 400);
    flush[0].thaw();
    await until('awake', () => isReady(flush[0].url()));
    expect((await settle()).stored).toBe(400);
  });

  test(
    'a zombie whose insert landed without an answer, and whose commit is late, sets nothing back',
    { timeout: 180_000 },
    async () => {
      rig.clickhouse.set({ kind: 'cut-answer' }, { only: 'inserts' });
      rig.kafka.proxy.set({ kind: 'cut-answer', api: API.offsetCommit });
      expect(await load.send(200, { ack: 'stored' })).toBe('acknowledged');
      await until('inserted', async () => (await auditOf(rig.stores, tally)).stored === 200);
      flush[0].freeze();
      await sleep(BEYOND_SESSION_MS);
      rig.clickhouse.set(null);
      rig.kafka.proxy.set(null);
      flush[0].thaw();
      expect((await settle()).stored).toBe(200);
      // And what comes then is stored once, too.
      expect(await load.send(50, { ack: 'stored' })).toBe('acknowledged');
      expect((await settle()).stored).toBe(250);
    },
  );

  test('a commit whose answer was lost repeats what changes nothing', { timeout: 120_000 }, async () => {
    rig.kafka.proxy.set({ kind: 'cut-answer', api: API.offsetCommit });
    for (let round = 0; round < 3; round++) expect(await load.send(50, { ack: 'stored' })).toBe('acknowledged');
    await until('stored', async () => (await auditOf(rig.stores, tally)).stored === 150);
    for (const place of flush) await place.kill();
    rig.kafka.proxy.set(null);
    for (const place of flush) await place.start();
    expect((await settle()).stored).toBe(150);
  });

  test('with ClickHouse away nothing becomes a dead letter, and the topic keeps it', { timeout: 120_000 }, async () => {
    await rig.clickhouse.refuse();
    for (let round = 0; round < 10; round++) expect(await load.send(200, { ack: 'stored' })).toBe('acknowledged');
    await until('known to be away', async () =>
      ((await healthOf(flush[0].url()))?.reasons ?? []).includes('ClickHouse does not answer'),
    );
    const { rows } = await rig.stores.postgres.pool.query('SELECT 1 FROM failed_events');
    expect(rows).toEqual([]);
    expect(await isReady(flush[0].url())).toBe(true);
    expect((await healthOf(flush[0].url()))!.unhomed_batches).toBe(0);
    await rig.clickhouse.accept();
    expect((await settle()).stored).toBe(2_000);
  });

  test(
    'kill -9 of the processes that insert, again and again under load',
    { timeout: 120_000 + ROUNDS * 30_000 },
    async () => {
      const random = randomOf(SEED);
      const stop = new AbortController();
      const loading = load.run(200, stop.signal);
      for (let round = 0; round < ROUNDS; round++) {
        await sleep(300 + random() * 2_500);
        const place = flush[Math.floor(random() * flush.length)]!;
        await place.kill();
        await sleep(random() * 1_000);
        await place.start();
      }
      stop.abort();
      await loading;
      expect((await settle()).acknowledged).toBeGreaterThan(100);
    },
  );

  test('brokers that hang keep nobody from ending well, in time', { timeout: 180_000 }, async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => post(journaled, '')));
    expect(ids.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202]);
    rig.kafka.freeze();
    try {
      // What the journal has is sent at the next start.
      for (const place of [journaled, ...flush]) await endCleanly(place);
    } finally {
      rig.kafka.thaw();
    }
    for (const place of [journaled, ...flush]) await place.start();
    await settle();
  });

  test('SIGTERM leaves nothing behind, and the partitions at once', { timeout: 120_000 }, async () => {
    const stop = new AbortController();
    const loading = load.run(200, stop.signal);
    await sleep(1_000);
    for (const place of [flush[0], inMemory, journaled, flush[1]]) {
      await endCleanly(place);
      await place.start();
    }
    stop.abort();
    await loading;
    await settle();
    expect(logOf(flush[0])).not.toContain('"level":60');
  });
});
