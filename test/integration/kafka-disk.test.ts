/** Brokers whose disk is full: what is accepted, what is refused, and that nothing accepted is missing afterwards. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KafkaRig, type WeirPlace, healthOf, isQuiet, isReady, startKafkaRig, until } from '../chaos/rig.ts';
import { randomOf } from '../support/factory.ts';
import { isWithoutKafka } from '../support/kafka-topics.ts';
import { type Tally, auditOf, createLoad, createTally, wrongIn } from '../support/load.ts';
import { isSkipped, warnOf } from '../support/small-disk.ts';

warnOf('the full disk of a broker');

describe.skipIf(isWithoutKafka || isSkipped)('a broker whose disk is full', () => {
  let rig: KafkaRig;
  let journaled: WeirPlace;
  let inMemory: WeirPlace;
  let flush: WeirPlace;
  let tally: Tally;

  beforeAll(async () => {
    // The first segments of a topic and what the broker keeps for itself take some twenty.
    rig = await startKafkaRig({ diskMiB: 256 });
    const settings = { WEIR_ROLE: 'ingest', INGEST_FLUSH_INTERVAL: '200ms' };
    journaled = rig.place('journaled', settings);
    inMemory = rig.place('in-memory', { ...settings, INGEST_JOURNAL: 'off' });
    flush = rig.place('flush', { WEIR_ROLE: 'flush' });
    tally = createTally();
    for (const place of [journaled, inMemory, flush]) await place.start();
    for (const place of [journaled, inMemory, flush]) await until('ready', () => isReady(place.url()));
  });
  afterAll(() => rig?.stop());

  /** One that waits for brokers, and is told when they do not confirm. */
  async function replicate(place: WeirPlace): Promise<number> {
    const id = tally.newId();
    const event = { event: 'one', event_id: id, user_id: 'u', timestamp: Date.now() };
    const answer = await fetch(`${place.url()}/api/v1/ingest/events?ack=replicated`, {
      method: 'POST',
      body: JSON.stringify({ events: [{ ...event, properties: { id, text: 'x'.repeat(2_000) } }] }),
      headers: { authorization: `Bearer ${rig.token}` },
    });
    if (answer.status === 202) tally.acknowledge([id], answer.headers.get('weir-ack')!);
    return answer.status;
  }

  test(
    'takes nothing: the journal holds what comes, memory alone refuses it, and all of it arrives when there is room',
    { timeout: 240_000 },
    async () => {
      const held = createLoad(
        { tally, random: randomOf(1), urls: () => [journaled.url() ?? []].flat() },
        { token: rig.token, poisonShare: 0 },
      );
      const hold = (events: number) => held.send(events, { ack: 'journaled' });
      expect(await hold(100)).toBe('acknowledged');
      expect(await replicate(inMemory)).toBe(202);
      rig.kafka.fillDisk();
      // The last pages of its files still have room for some.
      await until(
        'not taken any more',
        async () => {
          expect(await hold(500)).toBe('acknowledged');
          return (await replicate(inMemory)) === 503;
        },
        120_000,
      );
      await until('said', async () =>
        ((await healthOf(journaled.url()))?.reasons ?? []).some((reason) =>
          reason.startsWith('no broker of the topic weir.chaos answers'),
        ),
      );
      expect(await isReady(journaled.url())).toBe(true);
      // Killed in the middle of it, nothing is forgotten.
      await journaled.kill();
      await journaled.start();
      expect(await hold(100)).toBe('acknowledged');
      await rig.kafka.kill();
      rig.kafka.clearDisk();
      await rig.kafka.restart();
      await until('all is stored', async () => wrongIn(await auditOf(rig.stores, tally)).length === 0, 120_000);
      await until('at rest', () => isQuiet(rig, [journaled, inMemory, flush]), 120_000);
      expect(wrongIn(await auditOf(rig.stores, tally))).toEqual([]);
    },
  );
});
