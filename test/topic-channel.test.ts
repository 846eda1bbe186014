import { describe, expect, test } from 'vitest';
import { createLog } from '../src/log/log.ts';
import { type Batch, partIdOf } from '../src/pipeline/batch.ts';
import { encodeFrame, readHead } from '../src/topic/frame.ts';
import { createPauseWatch } from '../src/topic/pause-watch.ts';
import { createTopicChannel } from '../src/topic/topic-channel.ts';
import { createManualClock } from './support/clock.ts';
import { createFakeTopic } from './support/fake-topic.ts';
import { CUT, STRANGERS, frameOf, plainRow } from './support/frames.ts';
import { batchIdAt } from './support/rows.ts';

type Given = { readonly partitionCount?: number; readonly maxBytes?: number };

function createWorld({ partitionCount = 1 }: Given = {}) {
  const clock = createManualClock();
  const topic = createFakeTopic({ clock, random: () => 0.9 }, { partitionCount });
  return { clock, topic };
}

/** A member of the group, and a taker that takes all there is and settles nothing. */
function join({ clock, topic }: ReturnType<typeof createWorld>, { maxBytes = 1_000_000 }: Given = {}) {
  const life = { isOver: false };
  const channel = createTopicChannel(
    { reader: topic.reader(life), writer: topic.writer(life), clock, log: createLog('silent') },
    { maxBytes },
  );
  const stop = new AbortController();
  const taken: Batch[] = [];
  const running = channel.run(stop.signal);
  void take();
  const settle = (batch: Batch) => channel.settle(batch, 'stored');
  return { life, channel, taken, stop, running, settle };

  async function take() {
    for (let batch = await channel.take(); batch !== null; batch = await channel.take()) taken.push(batch);
  }
}

function start(given: Given = {}) {
  const world = createWorld(given);
  return { ...world, ...join(world, given) };
}

const ticksOf = ({ topic }: Pick<ReturnType<typeof createWorld>, 'topic'>, partition = 0) =>
  topic.records(partition).filter((record) => readHead(record).kind === 'tick').length;
const rowsOf = ({ chunks }: Batch) => Buffer.concat(chunks).toString();
/** A frame that is a batch of its own. */
const full = (n: number, bytes = 20) => frameOf({ n, rows: [plainRow(n, bytes)], limits: { ...CUT, maxEvents: 1 } });

describe('a batch to which nothing comes any more', () => {
  test('is closed by one tick, after its interval, however the clocks of the makers go', async () => {
    const parts = start();
    const { clock, topic, taken, settle } = parts;
    topic.append(0, frameOf({ n: 1, at: clock.now() + 3_600_000 }));
    await clock.advance(1_900);
    expect(ticksOf(parts)).toBe(0);
    await clock.advance(1_000);
    expect(taken).toHaveLength(1);
    settle(taken[0]!);
    await clock.advance(60_000);
    expect(ticksOf(parts)).toBe(1);
    expect(topic.lagOf(0)).toBe(0);
  });

  test('gets another tick only when that one does not come', async () => {
    const parts = start();
    const { clock, topic, taken, channel } = parts;
    topic.append(0, frameOf({ n: 1, at: clock.now() }));
    topic.refuse = 'denied';
    await clock.advance(8_000);
    expect(channel.problems()).toEqual(['partition 0 cannot be written to by its reader: refused: denied']);
    topic.refuse = null;
    await clock.advance(12_000);
    expect(taken).toHaveLength(1);
    expect([ticksOf(parts), channel.problems()]).toEqual([1, []]);
  });

  test('waits with the brokers, and then needs no more than one tick', async () => {
    const parts = start();
    const { clock, topic, taken } = parts;
    topic.append(0, frameOf({ n: 1, at: clock.now() }));
    await clock.advance(500);
    topic.down = true;
    await clock.advance(60_000);
    topic.down = false;
    await clock.advance(5_000);
    expect([taken.length, ticksOf(parts)]).toEqual([1, 1]);
  });
});

describe('of what is read ahead', () => {
  test('no partition has more than four batches, and settling one makes room for one', async () => {
    const { clock, topic, taken, channel, settle } = start();
    for (let n = 0; n < 20; n++) topic.append(0, full(n));
    await clock.advance(10_000);
    expect(taken).toHaveLength(4);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(taken).toHaveLength(5);
    expect(channel.lag()).toMatchObject([{ records: 19, events: 4 }]);
  });

  test('all partitions together have no more bytes than allowed, and all of them get on', async () => {
    const { clock, topic, taken, channel, settle } = start({ partitionCount: 5, maxBytes: 200_000 });
    const limits = { ...CUT, maxBytes: 60_000, maxEvents: 1_000 };
    for (let n = 0; n < 500; n++) topic.append(n % 5, frameOf({ n, rows: [plainRow(n, 5_000)], limits }));
    let settled = 0;
    for (let waited = 0; waited < 200; waited++) {
      await clock.advance(500);
      const held = channel.lag().reduce((sum, { bytes }) => sum + bytes, 0);
      expect(held).toBeLessThan(200_000 + 60_000 + 40_000);
      while (settled < taken.length) settle(taken[settled++]!);
    }
    expect(taken.reduce((sum, { eventCount }) => sum + eventCount, 0)).toBe(500);
    expect(topic.partitions.map((_, partition) => topic.lagOf(partition))).toEqual([0, 0, 0, 0, 0]);
  });

  test.each([
    ['has no leader', 0],
    ['has no leader', 1],
    ['takes no tick', 0],
    ['takes no tick', 1],
  ])('a partition that %s (%i) keeps no other waiting, however full memory is', async (trouble, troubled) => {
    const { clock, topic, taken, settle, channel } = start({ partitionCount: 2, maxBytes: 200_000 });
    const limits = { maxEvents: 1_000, maxBytes: 150_000, maxWaitMs: 2_000 };
    const add = (partition: number, n: number) =>
      topic.append(partition, frameOf({ n, rows: [plainRow(n, 5_000)], limits }));
    let n = 0;
    if (trouble === 'takes no tick') topic.refuse = 'denied';
    while (n < 20) add(n % 2, n++);
    await clock.advance(900);
    if (trouble === 'has no leader') topic.leaderless.add(troubled);
    while (n < 40) add(n % 2, n++);
    // Where there is no leader, what is read is waited for.
    for (let more = 0; more < 40; more++) add(1 - troubled, n++);
    if (trouble === 'has no leader') add(troubled, n++);
    let settled = 0;
    for (let waited = 0; waited < 60; waited++) {
      await clock.advance(1_000);
      while (settled < taken.length) settle(taken[settled++]!);
    }
    expect(taken.map(({ eventCount }) => eventCount)).toEqual([30, 30]);
    expect(topic.lagOf(1 - troubled)).toBe(0);
    topic.refuse = null;
    topic.leaderless.clear();
    for (let waited = 0; waited < 60; waited++) {
      await clock.advance(1_000);
      while (settled < taken.length) settle(taken[settled++]!);
    }
    expect([topic.lagOf(troubled), channel.problems()]).toEqual([0, []]);
  });

  test('each partition has its turn', async () => {
    const world = createWorld({ partitionCount: 3 });
    for (let n = 0; n < 30; n++) world.topic.append(0, full(n));
    for (let n = 30; n < 32; n++) world.topic.append(n - 29, full(n));
    const { taken, settle } = join(world);
    let settled = 0;
    for (let waited = 0; waited < 10; waited++) {
      await world.clock.advance(100);
      while (settled < taken.length) settle(taken[settled++]!);
    }
    const places = [30, 31].map((n) => taken.findIndex((batch) => rowsOf(batch) === plainRow(n).toString()));
    expect(Math.max(...places)).toBeLessThan(6);
  });
});

describe('an offset is committed', () => {
  test('when all before it has settled, and what is skipped with it', async () => {
    const { clock, topic, taken, settle } = start();
    for (let n = 0; n < 3; n++) topic.append(0, full(n));
    for (const stranger of STRANGERS) topic.append(0, stranger);
    await clock.advance(1_000);
    const committed = () => topic.partitions[0]!.committed?.offset ?? 0;
    settle(taken[1]!);
    await clock.advance(1_000);
    expect(committed()).toBe(0);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(committed()).toBe(2);
    settle(taken[2]!);
    await clock.advance(1_000);
    expect(committed()).toBe(3 + STRANGERS.length);
  });

  test('not for what was left, nor once the tenure is over', async () => {
    const { clock, topic, taken, channel, settle, life } = start();
    for (let n = 0; n < 3; n++) topic.append(0, full(n));
    await clock.advance(1_000);
    channel.letGo(taken[0]!);
    settle(taken[1]!);
    await clock.advance(1_000);
    expect(topic.partitions[0]!.committed).toBeNull();
    topic.expire(life);
    topic.rejoin(life);
    await clock.advance(1_000);
    expect(taken.slice(3).map(({ id }) => id)).toEqual(taken.slice(0, 3).map(({ id }) => id));
    settle(taken[2]!);
    await clock.advance(1_000);
    expect(topic.partitions[0]!.committed).toBeNull();
  });

  test('of what has settled last before a member leaves', async () => {
    const { clock, topic, taken, channel, settle, stop, running } = start();
    topic.latencyMs = () => 300;
    topic.append(0, full(1));
    await clock.advance(2_000);
    channel.close();
    settle(taken[0]!);
    stop.abort();
    await clock.advance(1_000);
    await running;
    expect(topic.lagOf(0)).toBe(0);
  });
});

describe('a batch may have been sent already', () => {
  test('if it begins before the tenure; others have only been sent here', async () => {
    const world = createWorld();
    world.topic.append(0, full(1));
    const { taken } = join(world);
    await world.clock.advance(1_000);
    world.topic.append(0, full(2));
    await world.clock.advance(1_000);
    expect(taken.map(({ mayHaveLanded, mayBeElsewhere }) => [mayHaveLanded, mayBeElsewhere])).toEqual([
      [true, false],
      [false, false],
    ]);
  });

  test('in other batches, where no batch is known to begin at the start, up to a tick; until then nothing is committed', async () => {
    const world = createWorld();
    const { topic, clock } = world;
    for (let n = 0; n < 3; n++) topic.append(0, full(n));
    topic.resetOffset(0, 1);
    const { taken, settle } = join(world);
    await clock.advance(1_000);
    topic.append(0, full(3));
    await clock.advance(1_000);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([true, true, false]);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(topic.partitions[0]!.committed).toEqual({ offset: 1, isBoundary: false });
    settle(taken[1]!);
    await clock.advance(1_000);
    expect(topic.partitions[0]!.committed).toEqual({ offset: 4, isBoundary: true });
  });

  test('by another member, for long, when this process stood still', async () => {
    const { clock, topic, taken } = start();
    topic.append(0, full(1));
    await clock.advance(1_000);
    expect(taken[0]!.inLog!.isInDoubt()).toBe(false);
    clock.jump(31_000);
    expect(taken[0]!.inLog!.isInDoubt()).toBe(true);
  });

  test('elsewhere, of a frame that is marked so: it waits until all before it has settled', async () => {
    const { clock, topic, taken, settle } = start();
    topic.append(0, full(1));
    topic.append(0, frameOf({ n: 2, mayBeElsewhere: true }));
    topic.append(0, full(3));
    await clock.advance(1_000);
    expect(taken).toHaveLength(1);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([false, true, false]);
  });
});

describe('a frame that was appended twice', () => {
  test('is in one batch, whatever became of the first and whoever reads', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    const at = clock.now();
    topic.append(0, frameOf({ n: 1, at }));
    topic.append(0, frameOf({ n: 2, at, isRepeat: true }));
    topic.append(0, frameOf({ n: 1, at, isRepeat: true }));
    topic.append(0, frameOf({ n: 1, at, isRepeat: true }));
    // The first one has settled and is not read again.
    topic.resetOffset(0, 1, { isBoundary: true });
    const { taken, settle } = join(world);
    await clock.advance(1_000);
    expect(taken.map(rowsOf)).toEqual([plainRow(2).toString()]);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(topic.lagOf(0)).toBe(0);
  });

  test('holds back the commit until it is known which it is', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    topic.append(0, full(1));
    topic.append(0, frameOf({ n: 2, at: clock.now(), isRepeat: true }));
    topic.latencyMs = () => 200;
    const { taken, settle } = join(world);
    await clock.advance(300);
    expect(taken).toHaveLength(1);
    settle(taken[0]!);
    await clock.advance(250);
    expect([taken.length, topic.partitions[0]!.committed!.offset]).toEqual([1, 1]);
    await clock.advance(1_000);
    expect([taken.length, topic.partitions[0]!.committed!.offset]).toEqual([2, 1]);
  });

  test('is found where the clock of its maker is ahead of the one that the broker goes by', async () => {
    const { clock, topic, taken } = start();
    const at = clock.now() + 600_000;
    topic.append(0, frameOf({ n: 1, at }));
    await clock.advance(3_000);
    topic.append(0, frameOf({ n: 1, at: at + 3_000, madeAt: at, isRepeat: true }));
    await clock.advance(1_000);
    expect(taken.map(rowsOf)).toEqual([plainRow(1).toString()]);
  });

  test('is asked about where the log has what may be parts of it, once these are no longer under way', async () => {
    const { clock, topic, taken, settle } = start();
    const at = clock.now();
    const whole = batchIdAt(at, 1);
    topic.append(0, full(0));
    const limits = { ...CUT, maxEvents: 1 };
    topic.append(0, frameOf({ n: 1, at, id: partIdOf(whole, plainRow(1)), limits }));
    topic.append(0, frameOf({ n: 1, at, id: whole, rows: [plainRow(1), plainRow(2)], isRepeat: true }));
    topic.append(0, full(3));
    await clock.advance(5_000);
    expect(taken.map(rowsOf)).toEqual([0, 1].map((n) => plainRow(n).toString()));
    settle(taken[1]!);
    await clock.advance(1_000);
    expect(taken).toHaveLength(2);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([false, false, true, false]);
  });

  test('waits too where the log does not reach back so far', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    topic.append(0, full(0));
    await clock.advance(3_600_000);
    const at = clock.now();
    topic.append(0, full(1));
    topic.append(0, frameOf({ n: 2, at, madeAt: at - 1_800_000, isRepeat: true }));
    topic.append(0, full(3));
    topic.remove(0, 1);
    topic.resetOffset(0, 1, { isBoundary: true });
    const { taken, settle } = join(world);
    await clock.advance(1_000);
    expect(taken.map(rowsOf)).toEqual([plainRow(1).toString()]);
    settle(taken[0]!);
    await clock.advance(1_000);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([false, true, false]);
  });

  test('is asked about where the log does not reach back so far', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    topic.append(0, full(1));
    await clock.advance(3_600_000);
    topic.append(0, frameOf({ n: 2, at: clock.now() - 1_800_000, isRepeat: true }));
    topic.remove(0, 1);
    topic.resetOffset(0, 1, { isBoundary: true });
    const { taken } = join(world);
    await clock.advance(1_000);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([true]);
  });
});

describe('what is not of this version of Weir', () => {
  test('is skipped, counted, and costs no event', async () => {
    const { clock, topic, taken, channel } = start();
    topic.append(0, STRANGERS[0]!);
    topic.append(0, frameOf({ n: 1, at: clock.now() }));
    topic.append(0, STRANGERS[1]!);
    await clock.advance(5_000);
    expect(taken.map(rowsOf)).toEqual([plainRow(1).toString()]);
    expect(channel.lag()).toMatchObject([{ foreign: 2 }]);
  });

  test('stays counted when the partition is another member’s', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    topic.append(0, full(0));
    topic.append(0, STRANGERS[0]!);
    topic.append(0, STRANGERS[1]!);
    topic.remove(0, 1);
    const { channel } = join(world);
    await clock.advance(1_000);
    expect(channel.counts()).toEqual({ removed: 1, foreign: 2 });
    join(world);
    await clock.advance(1_000);
    topic.rebalance(1);
    await clock.advance(1_000);
    expect(channel.lag()).toEqual([]);
    expect(channel.counts()).toEqual({ removed: 1, foreign: 2 });
  });

  test('and newer stops the partition loudly; others go on, and nothing behind it is lost', async () => {
    const world = createWorld({ partitionCount: 2 });
    const { clock, topic } = world;
    const { taken, channel, settle } = join(world);
    topic.append(0, full(1));
    topic.append(0, { head: Buffer.from('{"v":2}'), value: Buffer.from('?') });
    topic.append(0, full(2));
    topic.append(1, full(3));
    await clock.advance(1_000);
    for (const batch of taken) settle(batch);
    await clock.advance(60_000);
    expect(taken).toHaveLength(2);
    expect(channel.problems()).toEqual([expect.stringMatching(/^partition 0 holds records of a later version \(2\)/)]);
    expect([topic.lagOf(0), topic.lagOf(1), ticksOf(world)]).toEqual([2, 0, 0]);
  });

  test.each([0, 1])(
    'stops partition %i and no other, however full memory is, and keeps none of it',
    async (stopped) => {
      const world = createWorld({ partitionCount: 2 });
      const { clock, topic } = world;
      const limits = { maxEvents: 1_000, maxBytes: 150_000, maxWaitMs: 600_000 };
      for (let n = 0; n < 120; n++) {
        if (n === 50) topic.append(stopped, { head: Buffer.from('{"v":2}'), value: Buffer.alloc(5_000) });
        topic.append(n % 2, frameOf({ n, rows: [plainRow(n, 5_000)], limits }));
      }
      const parts = join(world, { maxBytes: 200_000 });
      let settled = 0;
      for (let waited = 0; waited < 20; waited++) {
        await clock.advance(1_000);
        while (settled < parts.taken.length) parts.settle(parts.taken[settled++]!);
      }
      expect(parts.taken.map(({ eventCount }) => eventCount)).toEqual([30, 30]);
      expect(topic.lagOf(1 - stopped)).toBe(0);
      expect(parts.channel.lag()[stopped]).toMatchObject({ events: 25, bytes: 125_000 });
      // What the other holds is all there is: as much as allowed is read ahead again.
      for (let n = 0; n < 40; n++) topic.append(1 - stopped, full(1_000 + n, 45_000));
      await clock.advance(5_000);
      expect(parts.taken.length).toBe(2 + 4);
      expect(ticksOf(world, stopped)).toBe(0);
    },
  );

  test('leaves reading on, beyond what memory may hold, to the others', async () => {
    const world = createWorld({ partitionCount: 2 });
    const { clock, topic } = world;
    const limits = { maxEvents: 1_000, maxBytes: 300_000, maxWaitMs: 600_000 };
    const frame = (n: number) => frameOf({ n, rows: [plainRow(n, 5_000)], limits });
    for (let n = 0; n < 45; n++) topic.append(1, frame(n));
    const { taken } = join(world, { maxBytes: 200_000 });
    await clock.advance(5_000);
    // Memory is full of what cannot be delivered yet when this one begins to read.
    topic.append(0, frame(100));
    topic.append(0, { head: Buffer.from('{"v":2}'), value: Buffer.from('?') });
    await clock.advance(5_000);
    expect(topic.lagOf(1)).toBe(45);
    for (let n = 45; n < 65; n++) topic.append(1, frame(n));
    await clock.advance(5_000);
    expect(taken.map(({ eventCount }) => eventCount)).toEqual([60]);
  });
});

describe('retention', () => {
  test('that removes what was not read begins a tenure anew, and says how much is gone', async () => {
    const world = createWorld();
    const { clock, topic } = world;
    const { taken, channel } = join(world);
    topic.down = true;
    for (let n = 0; n < 5; n++) topic.append(0, full(n));
    topic.remove(0, 3);
    topic.down = false;
    await clock.advance(3_000);
    expect(channel.lag()).toMatchObject([{ removed: 3 }]);
    expect(taken.map(({ mayBeElsewhere }) => mayBeElsewhere)).toEqual([true, true]);
  });
});

test('lag says how long the oldest event waits', async () => {
  const { clock, topic, channel } = start();
  topic.append(0, frameOf({ n: 1, at: clock.now() - 5_000 }));
  await clock.advance(1_000);
  expect(channel.lag()).toMatchObject([{ partition: 0, records: 1, events: 1, bytes: 20, seconds: 6 }]);
});

test('a pause is noticed by either clock, and later ones have not been there', async () => {
  const clock = createManualClock();
  const watch = createPauseWatch({ clock });
  const stop = new AbortController();
  void watch.run(stop.signal);
  await clock.advance(120_000);
  expect(watch.hasPausedSince(0)).toBe(false);
  clock.jump(31_000);
  expect(watch.hasPausedSince(clock.elapsed() - 1)).toBe(true);
  await clock.advance(5_000);
  expect(watch.hasPausedSince(clock.elapsed() - 1)).toBe(false);
  expect(watch.hasPausedSince(0)).toBe(true);
  stop.abort();
});

test('what is encoded is what Weir reads', () => {
  const { head, value } = frameOf({ n: 1, at: 7 });
  const read = readHead({ head, value });
  if (read.kind !== 'frame') throw new Error('not a frame');
  expect(encodeFrame(read)).toEqual(head);
});
