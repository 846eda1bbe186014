/** A short wait for room in place of a refusal: what it promises, beside the limits of the channel, which hold as ever. */
import { describe, expect, test } from 'vitest';
import type { Batch } from '../src/pipeline/batch.ts';
import type { HeldPlace, OfferRefusal } from '../src/pipeline/channel-port.ts';
import { type Attempt, createWaitingRoom } from '../src/pipeline/waiting-room.ts';
import { createManualClock, settled } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT, channelOn, envelopeOf, randomOf } from './support/factory.ts';

type Limits = Parameters<typeof channelOn>[1];
type Outcome = 'waits' | 'held' | OfferRefusal;

function setup(limits: Limits = {}) {
  const clock = createManualClock();
  const channel = channelOn(clock, { maxEvents: 100, maxBytes: 100_000, ...limits });
  const room = createWaitingRoom({ channel, clock });

  /** Asks for places, as intake does with a body of `bodyBytes`; what has become of it so far. */
  function hold(count: number, { projectId = PROJECT, rowBytes = 20, bodyBytes = 0, from = 0 } = {}) {
    const seen: { outcome: Outcome } = { outcome: 'waits' };
    const reservation = channel.reserve();
    reservation.grow(bodyBytes);
    const held = room.hold(envelopeOf(count, { projectId, rowBytes, from }), reservation);
    if (held instanceof Promise) void held.then(became);
    else became(held);
    return seen;

    function became(place: HeldPlace | OfferRefusal) {
      seen.outcome = typeof place === 'string' ? place : 'held';
      if (typeof place !== 'string') place.queue(null);
    }
  }

  /** Stands at the door and comes in as soon as it is open, which takes an event's place. */
  function knock(bytes = 10) {
    const seen = { outcome: 'refused at once' as string, leave: () => {} };
    const attempt: Attempt = (isLast) => {
      if (!room.hasRoom(bytes)) {
        if (isLast) seen.outcome = 'refused';
        return isLast ? 'refused' : 'waits';
      }
      hold(1);
      seen.outcome = 'in';
      return 'enters';
    };
    const leave = room.waitAtDoor(bytes, attempt);
    if (leave !== null) Object.assign(seen, { outcome: 'waits', leave });
    return seen;
  }

  async function settleOne() {
    const batch = (await channel.take())!;
    channel.settle(batch, 'stored');
    await settled();
  }

  return { clock, channel, room, hold, knock, settleOne };
}

describe('an envelope that finds no room', () => {
  test('has its places when a batch settles, first come, first served', async () => {
    const { channel, hold, knock, settleOne } = setup();
    for (let n = 0; n < 10; n++) expect(hold(10).outcome).toBe('held');
    const [first, second, third] = [hold(6, { from: 1_000 }), hold(6, { from: 2_000 }), hold(4, { from: 3_000 })];
    const body = knock();
    expect(channel.usage().events).toBe(100);
    await settleOne();
    // The third would fit, and what is at the door, but they are not before the second.
    expect([first, second, third, body].map(({ outcome }) => outcome)).toEqual(['held', 'waits', 'waits', 'waits']);
    const late = hold(3);
    expect(late.outcome).toBe('waits');
    expect(channel.usage().events).toBe(96);
    await settleOne();
    expect([second, third, late, body].map(({ outcome }) => outcome)).toEqual(['held', 'held', 'held', 'in']);
  });

  test('is refused after a second, with all that was reserved for it given back', async () => {
    const { clock, channel, hold } = setup();
    hold(100);
    const waiting = hold(5, { bodyBytes: 500 });
    expect(channel.usage().reservedBytes).toBe(5 * 20);
    await clock.advance(949);
    expect(waiting.outcome).toBe('waits');
    await clock.advance(101);
    expect(waiting.outcome).toBe('full');
    expect(channel.usage()).toEqual({ events: 100, bytes: 100 * 20, reservedBytes: 0 });
  });

  test('does not wait beyond the bytes of the channel', () => {
    const { hold } = setup({ maxBytes: 10_000 });
    hold(100, { rowBytes: 96 });
    expect(hold(1, { rowBytes: 400 }).outcome).toBe('waits');
    expect(hold(1, { rowBytes: 1 }).outcome).toBe('full');
  });

  test('does not wait when it is more than a quarter of the channel, and keeps nobody out', () => {
    const { hold, room } = setup();
    hold(80);
    expect(hold(26).outcome).toBe('full');
    expect(room.isOpen(1)).toBe(true);
    expect(hold(25).outcome).toBe('waits');
    expect(room.isOpen(1)).toBe(false);
  });

  test('does not wait for what waiting will not change', async () => {
    const { channel, hold } = setup();
    hold(1, { projectId: OTHER_PROJECT });
    hold(50);
    expect(hold(101).outcome).toBe('never-fits');
    expect(hold(10).outcome).toBe('over-share');
    channel.close();
    expect(hold(1).outcome).toBe('closed');
  });

  test('hears that its project is over its share, or the channel closed, when its turn comes', async () => {
    const { channel, hold, settleOne } = setup();
    for (let n = 0; n < 10; n++) hold(10);
    hold(10, { projectId: OTHER_PROJECT });
    const waiting = hold(10);
    await settleOne();
    await settleOne();
    expect(waiting.outcome).toBe('over-share');
    hold(10, { projectId: OTHER_PROJECT });
    const last = hold(15, { projectId: OTHER_PROJECT });
    channel.close();
    await settleOne();
    await settleOne();
    expect(last.outcome).toBe('closed');
  });

  test('is one of 1 024 at most', () => {
    const { hold } = setup({ maxBytes: 10_000_000 });
    hold(100);
    for (let n = 0; n < 1_024; n++) expect(hold(1).outcome).toBe('waits');
    expect(hold(1).outcome).toBe('full');
  });
});

describe('a body at the door', () => {
  test('is not read while an envelope waits, nor while there is less room than the last one needed', async () => {
    const { clock, hold, knock, room, settleOne } = setup();
    for (let n = 0; n < 9; n++) hold(10);
    hold(8);
    expect(room.isOpen(10)).toBe(true);
    const envelope = hold(5);
    const body = knock();
    expect(body.outcome).toBe('waits');
    await settleOne();
    expect([envelope.outcome, body.outcome]).toEqual(['held', 'in']);
    hold(20);
    await clock.advance(1_100);
    expect(room.isOpen(10)).toBe(false);
  });

  test('comes in with as many as usually find room, in order', async () => {
    const { channel, hold, knock, settleOne } = setup();
    for (let n = 0; n < 10; n++) hold(10);
    const bodies = Array.from({ length: 15 }, () => knock());
    await settleOne();
    // Each may bring about as many events as those before: two would fill the room for ten.
    expect(bodies.map(({ outcome }) => outcome)).toEqual(bodies.map((_, index) => (index < 2 ? 'in' : 'waits')));
    expect(channel.usage().events).toBe(92);
  });

  test('is not overtaken, and those behind it come in soon while there is room', async () => {
    const { clock, channel, hold, knock, room, settleOne } = setup();
    for (let n = 0; n < 10; n++) hold(10);
    const bodies = Array.from({ length: 15 }, () => knock());
    await settleOne();
    expect([channel.room(), room.hasRoom(10), room.isOpen(10)]).toEqual([8, true, false]);
    await clock.advance(30);
    expect(bodies.map(({ outcome }) => outcome)).toEqual(bodies.map((_, index) => (index < 10 ? 'in' : 'waits')));
    await settleOne();
    await clock.advance(30);
    expect([bodies.at(-1)!.outcome, room.isOpen(10)]).toEqual(['in', true]);
  });

  test('comes in soon where only larger ones wait before it', async () => {
    const { clock, channel, knock } = setup();
    channel.reserve().grow(60_000);
    const large = knock(50_000);
    await clock.advance(20);
    const small = knock(10);
    await clock.advance(5);
    expect([large.outcome, small.outcome]).toEqual(['waits', 'in']);
  });

  test('is refused after a second', async () => {
    const { clock, hold, knock } = setup();
    hold(100);
    const body = knock();
    await clock.advance(949);
    expect(body.outcome).toBe('waits');
    await clock.advance(101);
    expect(body.outcome).toBe('refused');
  });

  test('comes in also when no batch settled: a body that was reserved for is gone', async () => {
    const { clock, channel, knock } = setup({ maxBytes: 1_000 });
    const reading = channel.reserve();
    reading.grow(1_000);
    const body = knock();
    reading.release();
    await clock.advance(50);
    expect(body.outcome).toBe('in');
  });

  test('that leaves is not asked again', async () => {
    const { hold, knock, settleOne } = setup();
    for (let n = 0; n < 10; n++) hold(10);
    const [gone, next] = [knock(), knock()];
    gone.leave();
    await settleOne();
    expect([gone.outcome, next.outcome]).toEqual(['waits', 'in']);
  });

  test('is one of 1 024, and of 16 MiB that may have arrived', () => {
    const small = setup();
    small.hold(100);
    for (let n = 0; n < 1_024; n++) expect(small.knock().outcome).toBe('waits');
    expect(small.knock().outcome).toBe('refused at once');

    const large = setup();
    large.hold(100);
    const bodies = Array.from({ length: 256 }, () => large.knock(10_000_000));
    expect(large.knock(1).outcome).toBe('refused at once');
    bodies[0]!.leave();
    expect(large.knock(1).outcome).toBe('waits');
  });
});

test('nobody waits any more once a whole wait has passed without room, until there is some', async () => {
  const { clock, hold, knock, settleOne } = setup();
  for (let n = 0; n < 10; n++) hold(10);
  hold(1);
  await clock.advance(1_050);
  expect([hold(1).outcome, knock().outcome]).toEqual(['full', 'refused at once']);
  await settleOne();
  for (let n = 0; n < 10; n++) hold(1);
  expect([hold(1).outcome, knock().outcome]).toEqual(['waits', 'waits']);
});

test('it does not count as without hope that others had room meanwhile', async () => {
  const { clock, hold, knock, settleOne } = setup();
  for (let n = 0; n < 10; n++) hold(10);
  const [first, second] = [hold(10), hold(10)];
  await clock.advance(500);
  await settleOne();
  await clock.advance(550);
  expect([first.outcome, second.outcome]).toEqual(['held', 'full']);
  expect(knock().outcome).toBe('waits');
});

const seeds = Array.from({ length: 40 }, (_, index) => index + 1);

test.each(seeds)('everyone is answered, limits hold, and everything is given back (SEED=%i)', async (seed) => {
  const { clock, channel, hold, knock } = setup({ maxEvents: 60, maxBytes: 2_000 });
  const random = randomOf(seed);
  const upTo = (count: number) => 1 + Math.floor(random() * count);
  const taken: Batch[] = [];
  const asked: { readonly outcome: string }[] = [];
  for (let step = 0; step < 300; step++) {
    const roll = random();
    if (roll < 0.4) asked.push(hold(upTo(15), { bodyBytes: upTo(300) }));
    else if (roll < 0.6) {
      const body = knock(upTo(300));
      if (random() < 0.2) body.leave();
      else asked.push(body);
    } else if (roll < 0.75) await clock.advance(upTo(400));
    else if (roll < 0.9) {
      channel.hurry();
      if (channel.queued().length > 0) taken.push((await channel.take())!);
    } else {
      const batch = taken.splice(Math.floor(random() * taken.length), 1)[0];
      if (batch) channel.settle(batch, 'stored');
    }
    const { events, bytes, reservedBytes } = channel.usage();
    expect(events).toBeLessThanOrEqual(60);
    expect(bytes + reservedBytes).toBeLessThanOrEqual(2_000);
  }
  await clock.advance(1_100);
  expect(asked.filter(({ outcome }) => outcome === 'waits')).toEqual([]);
  for (const batch of [...taken, ...channel.takeAll()]) channel.settle(batch, 'stored');
  await settled();
  expect(channel.usage()).toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
});
