/** What intake and flusher rely on in a channel, of the one in memory and of the one with a journal alike. */
import { describe, expect, test } from 'vitest';
import type { Envelope } from '../../src/event/event.ts';
import { openJournal } from '../../src/journal/journal.ts';
import { createLog } from '../../src/log/log.ts';
import type { Batch } from '../../src/pipeline/batch.ts';
import { createChannel } from '../../src/pipeline/channel.ts';
import type {
  BatchLimits,
  Channel,
  ChannelLimits,
  Destination,
  HeldPlace,
  OnSettled,
} from '../../src/pipeline/channel-port.ts';
import { journaledChannel } from '../../src/pipeline/journaled-channel.ts';
import { createManualClock, type ManualClock, settled } from '../support/clock.ts';
import { OTHER_PROJECT, PROJECT, envelopeOf, randomOf } from '../support/factory.ts';
import { createFaultyFiles } from '../support/files.ts';
import { countingBatchIds } from '../support/pipeline.ts';

type Limits = Partial<ChannelLimits> & { readonly batch?: Partial<BatchLimits> };

type Subject = {
  readonly channel: Channel;
  /** Queues the envelope that has this place, as intake does. */
  queue(envelope: Envelope, place: HeldPlace): Promise<void>;
};

type Open = (clock: ManualClock, limits: Limits) => Promise<Subject>;

const ROW_BYTES = 20;
const log = createLog('silent');
const newDirectory = () => createFaultyFiles(randomOf(1));

/** The place of an envelope that is not refused. */
function hold(channel: Channel, envelope: Envelope): HeldPlace {
  const place = channel.hold(envelope, channel.reserve());
  if (typeof place === 'string') throw new Error(`refused: ${place}`);
  return place;
}

function holdAndCancel(channel: Channel) {
  const place = channel.hold(envelopeOf(1, { from: 99_999 }), channel.reserve());
  if (typeof place !== 'string') place.cancel();
}

function memoryChannel(clock: ManualClock, { batch, ...limits }: Limits): Channel {
  return createChannel(
    { clock, newBatchId: countingBatchIds() },
    { maxEvents: 100, maxBytes: 10_000, projectShare: 0.5, ...limits },
    { maxEvents: 10, maxBytes: 1_000, maxWaitMs: 2_000, ...batch },
  );
}

const inMemory: Open = async (clock, limits) => ({
  channel: memoryChannel(clock, limits),
  queue: async (_, place) => place.queue(null),
});

const openJournalIn = async (files: ReturnType<typeof newDirectory>, clock: ManualClock) => {
  const { journal, recovered } = await openJournal(
    { dir: 'journal', files, clock, log },
    { maxBytes: 10_000_000, segmentBytes: 100_000, maxKeys: 10, maxKeyBytes: 1_000 },
  );
  return { ...journal, recovered };
};

const withJournalIn =
  (files: ReturnType<typeof newDirectory>): Open =>
  async (clock, limits) => {
    const journal = await openJournalIn(files, clock);
    return {
      channel: journaledChannel({ channel: memoryChannel(clock, limits), journal, clock, log }),
      async queue(envelope, place) {
        const { sequence, written } = journal.append(envelope);
        await written;
        place.queue(sequence);
      },
    };
  };

/** The numbers of a batch's events, in the order of its rows. */
const numbersIn = (batch: Batch | null | undefined) =>
  Buffer.concat(batch?.chunks ?? [])
    .toString()
    .trimEnd()
    .split('\n')
    .map(Number);
const range = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index);

function contract(open: Open) {
  async function setup(limits: Limits = {}) {
    const clock = createManualClock();
    const { channel, queue } = await open(clock, limits);
    let next = 0;

    /** Offers `count` events that were never offered before. */
    async function put(
      count: number,
      { projectId = PROJECT, rowBytes = ROW_BYTES, onSettled = undefined as OnSettled | undefined } = {},
    ) {
      const envelope = envelopeOf(count, { projectId, rowBytes, from: next });
      const place = channel.hold(envelope, channel.reserve(), onSettled);
      if (typeof place === 'string') return place;
      next += count;
      await queue(envelope, place);
      return 'queued';
    }

    /** What `take` gives, or undefined while it waits. */
    function watchTake() {
      const seen: { batch: Batch | null | undefined } = { batch: undefined };
      void channel.take().then((batch) => (seen.batch = batch));
      return seen;
    }

    async function pass(ms: number) {
      await clock.advance(ms);
      for (let turn = 0; turn < 20; turn++) await settled();
    }
    return { channel, queue, put, watchTake, pass };
  }

  describe('bounds', () => {
    test('an event counts from its place on until its batch settles', async () => {
      const { channel, put } = await setup({ maxEvents: 10 });
      expect(await put(10)).toBe('queued');
      expect(await put(1)).toBe('full');
      const batch = (await channel.take())!;
      expect(await put(1)).toBe('full');
      channel.settle(batch, 'stored');
      expect(await put(10)).toBe('queued');
      expect(await put(1)).toBe('full');
    });

    test('rows and reservations together stay within the bytes, and a body is exchanged for its rows', async () => {
      const { channel, put } = await setup({ maxBytes: 1_000 });
      const reading = channel.reserve();
      expect(reading.grow(900)).toBe(true);
      expect(reading.grow(101)).toBe(false);
      expect(channel.isFull(101)).toBe(true);
      expect(channel.isFull(100)).toBe(false);
      expect(await put(10)).toBe('full');
      expect(channel.offer(envelopeOf(10), reading)).toBe('queued');
      expect(channel.usage()).toEqual({ events: 10, bytes: 10 * ROW_BYTES, reservedBytes: 0 });
      reading.release();
      expect(channel.usage().reservedBytes).toBe(0);
    });

    test('a refusal takes nothing and releases the body', async () => {
      const { channel, put } = await setup({ maxEvents: 10 });
      await put(8);
      const reading = channel.reserve();
      reading.grow(500);
      expect(channel.offer(envelopeOf(3), reading)).toBe('full');
      expect(channel.usage()).toEqual({ events: 8, bytes: 8 * ROW_BYTES, reservedBytes: 0 });
    });

    test('what can never fit is told apart from what does not fit now', async () => {
      const { channel, put } = await setup({ maxEvents: 10, maxBytes: 1_000 });
      expect([channel.couldHold(10, 1_000), channel.couldHold(11), channel.couldHold(1, 1_001)]).toEqual([
        true,
        false,
        false,
      ]);
      expect(await put(11)).toBe('never-fits');
      expect(await put(2, { rowBytes: 501 })).toBe('never-fits');
      await put(10);
      expect(await put(1)).toBe('full');
    });

    test('bodies of an unknown project hold a quarter of the bytes together, and the rest stays for the others', async () => {
      const { channel } = await setup({ maxBytes: 1_000 });
      const [first, second] = [channel.reserve('unknown'), channel.reserve('unknown')];
      expect([first.grow(200), second.grow(51)]).toEqual([true, false]);
      expect(channel.reserve().grow(800)).toBe(true);
      first.release();
      expect(second.grow(200)).toBe(true);
    });

    test('beside an active project, another is held to its share while over half is in use', async () => {
      const { put, pass } = await setup();
      await put(1, { projectId: OTHER_PROJECT });
      for (let i = 0; i < 5; i++) expect(await put(10)).toBe('queued');
      expect(await put(1)).toBe('over-share');
      expect(await put(10, { projectId: OTHER_PROJECT })).toBe('queued');
      await pass(60_001);
      expect(await put(1)).toBe('queued');
    });
  });

  describe('order', () => {
    test('batches hold whole envelopes in order of arrival; one larger than a batch goes alone', async () => {
      const { channel, put, watchTake, pass } = await setup();
      for (const count of [6, 6, 30, 1]) await put(count);
      const batches = [await channel.take(), await channel.take(), await channel.take()];
      const last = watchTake();
      await pass(2_000);
      expect([...batches, last.batch].map(numbersIn)).toEqual([range(0, 6), range(6, 6), range(12, 30), [42]]);
      expect(new Set([...batches, last.batch].map((batch) => batch?.id)).size).toBe(4);
    });

    test('a batch is cut at either size at once, and otherwise when its oldest event has waited long enough', async () => {
      const { channel, put, watchTake, pass } = await setup();
      await put(10);
      expect(numbersIn(await channel.take())).toEqual(range(0, 10));
      await put(5, { rowBytes: 200 });
      expect(numbersIn(await channel.take())).toEqual(range(10, 5));
      await put(2);
      await pass(500);
      await put(1);
      const seen = watchTake();
      await pass(1_499);
      expect(seen.batch).toBeUndefined();
      await pass(1);
      expect(numbersIn(seen.batch)).toEqual([15, 16, 17]);
    });

    test('hurry cuts what is queued, and leaves later events their time', async () => {
      const { channel, put, watchTake, pass } = await setup();
      await put(1);
      const first = watchTake();
      await pass(1);
      expect(first.batch).toBeUndefined();
      channel.hurry();
      await pass(0);
      expect(numbersIn(first.batch)).toEqual([0]);
      await put(1);
      const second = watchTake();
      await pass(1_999);
      expect(second.batch).toBeUndefined();
      await pass(1);
      expect(numbersIn(second.batch)).toEqual([1]);
    });

    test('a scale enlarges batches, and a bound on their bytes holds whatever the scale', async () => {
      const { channel, put } = await setup();
      channel.setBatchScale({ events: 2, bytes: 2 });
      for (let i = 0; i < 8; i++) await put(5);
      expect(numbersIn(await channel.take())).toEqual(range(0, 20));
      channel.setBatchBytes(5 * ROW_BYTES);
      expect(numbersIn(await channel.take())).toEqual(range(20, 5));
      channel.setBatchBytes(null);
      channel.setBatchScale({ events: 1, bytes: 1 });
      expect(numbersIn(await channel.take())).toEqual(range(25, 10));
    });

    test('a smaller scale hands out at once what is large enough for it', async () => {
      const { channel, put, watchTake, pass } = await setup();
      channel.setBatchScale({ events: 2, bytes: 2 });
      const seen = watchTake();
      for (let i = 0; i < 3; i++) await put(5);
      await pass(0);
      expect(seen.batch).toBeUndefined();
      channel.setBatchScale({ events: 1, bytes: 1 });
      await pass(0);
      expect(numbersIn(seen.batch)).toEqual(range(0, 10));
    });

    test('one caller takes at a time: a second is refused, and the first gets its batch', async () => {
      const { channel, put, watchTake, pass } = await setup();
      const first = watchTake();
      await expect(channel.take()).rejects.toThrow('one caller');
      await put(10);
      await pass(0);
      expect(numbersIn(first.batch)).toEqual(range(0, 10));
      await put(10);
      expect(numbersIn(await channel.take())).toEqual(range(10, 10));
    });
  });

  describe('places that are held', () => {
    test('have their room, are not pending, and are not handed out', async () => {
      const { channel, queue, watchTake, pass } = await setup({ maxEvents: 10 });
      const envelope = envelopeOf(10);
      const place = hold(channel, envelope);
      expect(channel.usage()).toEqual({ events: 0, bytes: 10 * ROW_BYTES, reservedBytes: 0 });
      expect(channel.offer(envelopeOf(1), channel.reserve())).toBe('full');
      const seen = watchTake();
      await pass(10_000);
      expect(seen.batch).toBeUndefined();
      await queue(envelope, place);
      await pass(0);
      expect(numbersIn(seen.batch)).toEqual(range(0, 10));
      expect(channel.usage().events).toBe(10);
    });

    test('give their room back when they are cancelled, and their envelope is in no batch', async () => {
      const { channel, put } = await setup({ maxEvents: 10 });
      hold(channel, envelopeOf(10, { from: 500 })).cancel();
      expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
      expect(await put(10)).toBe('queued');
      expect(numbersIn(await channel.take())).toEqual(range(0, 10));
    });

    test('are pending from their acknowledgement on, and counted once', async () => {
      const { channel, queue } = await setup();
      const envelope = envelopeOf(10);
      const place = hold(channel, envelope);
      place.acknowledge();
      expect(channel.usage().events).toBe(10);
      await queue(envelope, place);
      expect(channel.usage().events).toBe(10);
      channel.settle((await channel.take())!, 'stored');
      expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
    });
  });

  describe('settling', () => {
    test('tells every envelope once where its batch went', async () => {
      const { channel, put } = await setup();
      const told: string[] = [];
      const telling = (name: string) => ({ onSettled: (to: Destination) => void told.push(`${name} ${to}`) });
      await put(5, telling('a'));
      await put(5, telling('b'));
      await put(10, telling('c'));
      const [first, second] = [(await channel.take())!, (await channel.take())!];
      channel.settle(second, 'dead-lettered');
      channel.settle(first, 'stored');
      expect(told).toEqual(['c dead-lettered', 'a stored', 'b stored']);
    });

    test('tells an envelope with a row taken out that it is a dead letter, wherever the others went', async () => {
      const { channel, put } = await setup();
      const told: string[] = [];
      for (const name of ['a', 'b', 'c', 'd', 'e'])
        await put(2, { onSettled: (to) => void told.push(`${name} ${to}`) });
      channel.settle((await channel.take())!, 'stored', [3, 8, 9]);
      expect(told).toEqual(['a stored', 'b dead-lettered', 'c stored', 'd stored', 'e dead-lettered']);
      expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
    });
  });

  describe('batches of an earlier process', () => {
    test('come first and as they were, even beyond the limits, and count until they settle', async () => {
      const earlier = await setup();
      await earlier.put(10);
      const batch = (await earlier.channel.take())!;
      const { channel, put } = await setup({ maxEvents: 12 });
      await put(10);
      const told: Destination[] = [];
      channel.adopt(batch, (destination) => told.push(destination));
      expect(channel.usage().events).toBe(20);
      expect(await put(1)).toBe('full');
      expect(await channel.take()).toBe(batch);
      expect(numbersIn(await channel.take())).toEqual(range(0, 10));
      channel.settle(batch, 'stored', [0]);
      expect(told).toEqual(['stored']);
      expect(channel.usage().events).toBe(10);
    });

    test('end the wait of a taker', async () => {
      const earlier = await setup();
      await earlier.put(10);
      const batch = (await earlier.channel.take())!;
      const { channel, watchTake, pass } = await setup();
      const seen = watchTake();
      channel.adopt(batch, () => {});
      await pass(0);
      expect(seen.batch).toBe(batch);
    });
  });

  describe('the end', () => {
    test('a closed channel hands out the rest at once, then null, and takes nothing in', async () => {
      const { channel, put, watchTake, pass } = await setup();
      await put(3);
      const seen = watchTake();
      await pass(1);
      expect(seen.batch).toBeUndefined();
      channel.close();
      await pass(0);
      expect(numbersIn(seen.batch)).toEqual(range(0, 3));
      expect(await channel.take()).toBeNull();
      const reading = channel.reserve();
      reading.grow(100);
      expect(channel.offer(envelopeOf(1), reading)).toBe('closed');
      expect(channel.usage().reservedBytes).toBe(0);
    });

    test('a taker that waits for nothing hears of the close', async () => {
      const { channel, watchTake, pass } = await setup();
      const seen = watchTake();
      channel.close();
      await pass(0);
      expect(seen.batch).toBeNull();
    });

    test('a place from before the close is still queued and handed out', async () => {
      const { channel, queue } = await setup();
      const envelope = envelopeOf(3);
      const place = hold(channel, envelope);
      channel.close();
      await queue(envelope, place);
      expect(numbersIn(await channel.take())).toEqual(range(0, 3));
    });

    test('takeAll hands out everything that was not taken, once, and closes', async () => {
      const earlier = await setup();
      await earlier.put(10);
      const adopted = (await earlier.channel.take())!;
      const { channel, put } = await setup();
      for (let i = 0; i < 3; i++) await put(8);
      const taken = await channel.take();
      channel.adopt(adopted, () => {});
      const rest = channel.takeAll();
      expect(rest[0]).toBe(adopted);
      expect([taken, ...rest.slice(1)].map(numbersIn)).toEqual([range(0, 8), range(8, 8), range(16, 8)]);
      expect(channel.takeAll()).toEqual([]);
      expect(await channel.take()).toBeNull();
      expect(await put(1)).toBe('closed');
      expect(channel.usage().events).toBe(34);
    });
  });

  test.each(range(1, 20))(
    'limits hold at every step, and every event is handed out once, in order, and given back (SEED=%i)',
    async (seed) => {
      const random = randomOf(seed);
      const upTo = (most: number) => 1 + Math.floor(random() * most);
      const { channel, put, watchTake, pass } = await setup({ maxEvents: 60, maxBytes: 2_000 });
      const inFlight: Batch[] = [];
      const handedOut: number[] = [];
      let accepted = 0;
      let taking = watchTake();
      for (let step = 0; step < 150; step++) {
        const roll = random();
        const count = upTo(12);
        const projectId = random() < 0.5 ? PROJECT : OTHER_PROJECT;
        if (roll < 0.4) accepted += (await put(count, { projectId })) === 'queued' ? count : 0;
        else if (roll < 0.5) holdAndCancel(channel);
        else if (roll < 0.6) channel.hurry();
        else if (roll < 0.7) channel.setBatchScale({ events: upTo(3), bytes: upTo(3) });
        else if (roll < 0.85) await pass(upTo(1_000));
        else {
          const [batch] = inFlight.splice(Math.floor(random() * inFlight.length), 1);
          if (batch) channel.settle(batch, random() < 0.8 ? 'stored' : 'dead-lettered');
        }
        if (taking.batch) {
          handedOut.push(...numbersIn(taking.batch));
          inFlight.push(taking.batch);
          taking = watchTake();
        }
        const { events, bytes, reservedBytes } = channel.usage();
        expect(events).toBeLessThanOrEqual(60);
        expect(bytes + reservedBytes).toBeLessThanOrEqual(2_000);
      }
      channel.close();
      for (; taking.batch !== null; taking = taking.batch ? watchTake() : taking) {
        await pass(0);
        if (!taking.batch) continue;
        handedOut.push(...numbersIn(taking.batch));
        inFlight.push(taking.batch);
      }
      expect(handedOut).toEqual(range(0, accepted));
      for (const batch of inFlight) channel.settle(batch, 'stored');
      expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
    },
  );
}

describe('in memory', () => {
  contract(inMemory);
});

describe('with a journal', () => {
  contract((clock, limits) => withJournalIn(newDirectory())(clock, limits));

  test('the journal knows a batch before it is handed out, and forgets it when it settles', async () => {
    const clock = createManualClock();
    const files = newDirectory();
    const { channel, queue } = await withJournalIn(files)(clock, {});
    const batches: Batch[] = [];
    for (const from of [0, 10]) {
      const envelope = envelopeOf(10, { from });
      await queue(envelope, hold(channel, envelope));
      batches.push((await channel.take())!);
    }
    channel.settle(batches[0]!, 'stored');
    for (let turn = 0; turn < 20; turn++) await settled();
    const { recovered } = await openJournalIn(files.afterCrash(), clock);
    expect(recovered.envelopes).toEqual([]);
    expect(recovered.batches.map((batch) => [batch.id, numbersIn(batch)])).toEqual([[batches[1]!.id, range(10, 10)]]);
  });

  test('a journal that fails holds no batch up', async () => {
    const clock = createManualClock();
    const files = newDirectory();
    const { channel, queue } = await withJournalIn(files)(clock, {});
    const envelope = envelopeOf(10);
    await queue(envelope, hold(channel, envelope));
    files.failIn(1, { code: 'EIO', on: 'write' });
    expect(numbersIn(await channel.take())).toEqual(range(0, 10));
  });
});
