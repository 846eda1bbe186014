import { describe, expect, test } from 'vitest';
import type { Batch } from '../src/pipeline/batch.ts';
import type { Channel } from '../src/pipeline/channel-port.ts';
import { createManualClock, settled } from './support/clock.ts';
import { heldBytes } from './support/garbage.ts';
import { OTHER_PROJECT, PROJECT, channelOn, envelopeOf, randomOf } from './support/factory.ts';

const offer = (channel: Channel, ...args: Parameters<typeof envelopeOf>) =>
  channel.offer(envelopeOf(...args), channel.reserve());

/** What a pending take resolved to, or undefined while it still waits. */
function watch(taken: Promise<Batch | null>) {
  const seen: { batch: Batch | null | undefined } = { batch: undefined };
  void taken.then((batch) => (seen.batch = batch));
  return seen;
}

describe('cutting batches', () => {
  test('a partial batch is cut when its oldest event has waited long enough, and not before', async () => {
    const clock = createManualClock();
    const channel = channelOn(clock);
    offer(channel, 2);
    await clock.advance(500);
    offer(channel, 1);
    const seen = watch(channel.take());
    await clock.advance(1_499);
    expect(seen.batch).toBeUndefined();
    await clock.advance(1);
    expect(seen.batch?.eventCount).toBe(3);
  });

  test('a full batch is cut at once, by events or by bytes', async () => {
    const channel = channelOn(createManualClock());
    offer(channel, 10);
    expect((await channel.take())?.eventCount).toBe(10);
    offer(channel, 5, { rowBytes: 200 });
    expect((await channel.take())?.byteCount).toBe(1_000);
  });

  test('envelopes stay whole and in order; one larger than a batch goes alone', async () => {
    const clock = createManualClock();
    const channel = channelOn(clock);
    for (const [from, count] of [
      [0, 6],
      [6, 6],
      [12, 30],
      [42, 1],
    ] as const)
      offer(channel, count, { from });
    const counts: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) counts.push((await channel.take())?.eventCount);
    const last = watch(channel.take());
    await clock.advance(2_000);
    expect([...counts, last.batch?.eventCount]).toEqual([6, 6, 30, 1]);
  });

  test('hurry cuts what is queued now, and leaves later events their time', async () => {
    const clock = createManualClock();
    const channel = channelOn(clock);
    offer(channel, 1);
    channel.hurry();
    expect((await channel.take())?.eventCount).toBe(1);
    offer(channel, 1);
    const seen = watch(channel.take());
    await clock.advance(1_999);
    expect(seen.batch).toBeUndefined();
  });

  test('what the journal has and what it has not is never in one batch', async () => {
    const channel = channelOn(createManualClock());
    for (const journalSequence of [0, 1, null, null, 2]) {
      const held = channel.hold(envelopeOf(1), channel.reserve());
      if (typeof held === 'string') throw new Error(held);
      held.queue(journalSequence);
    }
    channel.hurry();
    const batches = [await channel.take(), await channel.take(), await channel.take()];
    expect(batches.map((batch) => [batch?.eventCount, batch?.sequences])).toEqual([
      [2, [0, 1]],
      [2, []],
      [1, [2]],
    ]);
  });

  test('a scaled channel cuts larger batches', async () => {
    const channel = channelOn(createManualClock());
    channel.setBatchScale({ events: 2, bytes: 2 });
    for (let i = 0; i < 4; i++) offer(channel, 5);
    expect((await channel.take())?.eventCount).toBe(20);
    channel.setBatchScale({ events: 2, bytes: 1 });
    for (let i = 0; i < 4; i++) offer(channel, 5, { rowBytes: 75 });
    expect((await channel.take())?.eventCount).toBe(10);
  });

  test('a closed channel hands out the rest at once and then null', async () => {
    const channel = channelOn(createManualClock());
    offer(channel, 3);
    const waiting = channel.take();
    channel.close();
    expect((await waiting)?.eventCount).toBe(3);
    expect(await channel.take()).toBeNull();
    expect(offer(channel, 1)).toBe('closed');
  });

  test('an adopted batch comes first, as it was', async () => {
    const channel = channelOn(createManualClock());
    offer(channel, 10);
    const earlier = (await channel.take())!;
    const next = channelOn(createManualClock());
    offer(next, 10);
    const destinations: string[] = [];
    next.adopt(earlier, (destination) => destinations.push(destination));
    expect(await next.take()).toBe(earlier);
    expect(next.usage().events).toBe(20);
    next.settle(earlier, 'stored');
    expect(destinations).toEqual(['stored']);
    expect(next.usage().events).toBe(10);
  });
});

describe('limits', () => {
  test('capacity is held until the batch settles', async () => {
    const channel = channelOn(createManualClock(), { maxEvents: 10 });
    expect(offer(channel, 10)).toBe('queued');
    const batch = (await channel.take())!;
    expect(offer(channel, 1)).toBe('full');
    channel.settle(batch, 'stored');
    expect(offer(channel, 1)).toBe('queued');
  });

  test('what has settled is not held, however long the channel is never empty', async () => {
    const rowBytes = 100_000;
    const channel = channelOn(createManualClock(), { maxBytes: 10_000_000, batch: { maxBytes: 10 * rowBytes } });
    offer(channel, 10, { rowBytes });
    const before = heldBytes();
    for (let round = 0; round < 100; round += 1) {
      offer(channel, 10, { rowBytes });
      channel.settle((await channel.take())!, 'stored');
    }
    expect(channel.usage().events).toBe(10);
    expect(heldBytes() - before).toBeLessThan(20 * rowBytes);
  });

  test('an envelope is refused whole', () => {
    const channel = channelOn(createManualClock(), { maxEvents: 10 });
    offer(channel, 8);
    expect(offer(channel, 3)).toBe('full');
    expect(channel.usage().events).toBe(8);
  });

  test('what could never fit is told apart from what does not fit now', () => {
    const channel = channelOn(createManualClock(), { maxEvents: 10, maxBytes: 1_000 });
    expect(offer(channel, 11)).toBe('never-fits');
    expect(offer(channel, 2, { rowBytes: 501 })).toBe('never-fits');
  });

  test('bodies being read count against the bytes, and their room is exchanged for the rows', () => {
    const channel = channelOn(createManualClock(), { maxBytes: 1_000 });
    const reading = channel.reserve();
    expect(reading.grow(900)).toBe(true);
    expect(reading.grow(101)).toBe(false);
    expect(channel.isFull(101)).toBe(true);
    expect(offer(channel, 10)).toBe('full');
    expect(channel.offer(envelopeOf(10), reading)).toBe('queued');
    expect(channel.usage()).toEqual({ events: 10, bytes: 200, reservedBytes: 0 });
  });

  test('bodies of nobody known yet hold a quarter of the bytes at most, and leave the rest to the others', () => {
    const channel = channelOn(createManualClock(), { maxBytes: 1_000 });
    const strangers = [channel.reserve('unknown'), channel.reserve('unknown')];
    expect(strangers[0]!.grow(200)).toBe(true);
    expect(strangers[1]!.grow(51)).toBe(false);
    expect(channel.reserve('known').grow(800)).toBe(true);
    strangers[0]!.release();
    expect(strangers[1]!.grow(200)).toBe(true);
  });

  test('a reservation is given back once, however often it is released', () => {
    const channel = channelOn(createManualClock());
    const reservation = channel.reserve();
    reservation.grow(500);
    reservation.release();
    reservation.release();
    expect(channel.usage().reservedBytes).toBe(0);
  });
});

describe('fairness between projects (I11)', () => {
  test('alone, a project may use everything', () => {
    const channel = channelOn(createManualClock());
    for (let i = 0; i < 10; i++) expect(offer(channel, 10)).toBe('queued');
    expect(offer(channel, 1)).toBe('full');
  });

  test('beside another, it is held to its share while over half is in use', () => {
    const channel = channelOn(createManualClock());
    offer(channel, 1, { projectId: OTHER_PROJECT });
    for (let i = 0; i < 5; i++) expect(offer(channel, 10)).toBe('queued');
    expect(offer(channel, 1)).toBe('over-share');
    for (let i = 0; i < 4; i++) expect(offer(channel, 10, { projectId: OTHER_PROJECT })).toBe('queued');
  });

  test('a neighbour that has been silent for a minute no longer counts', async () => {
    const clock = createManualClock();
    const channel = channelOn(clock);
    offer(channel, 1, { projectId: OTHER_PROJECT });
    for (let i = 0; i < 5; i++) offer(channel, 10);
    await clock.advance(60_001);
    expect(offer(channel, 10)).toBe('queued');
  });
});

test.each(Array.from({ length: 50 }, (_, index) => index + 1))(
  'limits hold at every step and everything is given back (I6, SEED=%i)',
  async (seed) => {
    const random = randomOf(seed);
    const clock = createManualClock();
    const channel = channelOn(clock, { maxEvents: 60, maxBytes: 2_000 });
    const reading: ReturnType<Channel['reserve']>[] = [];
    const taken: Batch[] = [];
    let offered = 0;
    let handedOut = 0;
    for (let step = 0; step < 300; step++) {
      const roll = random();
      if (roll < 0.4) {
        const count = 1 + Math.floor(random() * 12);
        const reservation = reading.pop() ?? channel.reserve();
        const projectId = random() < 0.5 ? PROJECT : OTHER_PROJECT;
        if (channel.offer(envelopeOf(count, { projectId }), reservation) === 'queued') offered += count;
      } else if (roll < 0.6) {
        const reservation = channel.reserve();
        reservation.grow(Math.floor(random() * 600));
        reading.push(reservation);
      } else if (roll < 0.7) reading.shift()?.release();
      else if (roll < 0.85) {
        channel.hurry();
        if (offered > handedOut) {
          const batch = (await channel.take())!;
          handedOut += batch.eventCount;
          taken.push(batch);
        }
      } else {
        const batch = taken.splice(Math.floor(random() * taken.length), 1)[0];
        if (batch) channel.settle(batch, 'stored');
      }
      const { events, bytes, reservedBytes } = channel.usage();
      expect(events).toBeLessThanOrEqual(60);
      expect(bytes + reservedBytes).toBeLessThanOrEqual(2_000);
    }
    for (const reservation of reading) reservation.release();
    for (const batch of [...taken, ...channel.takeAll()]) channel.settle(batch, 'stored');
    await settled();
    expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
  },
);
