import { describe, expect, test } from 'vitest';
import type { ProjectId } from '../src/event/event.ts';
import { timedUuidOf } from '../src/event/uuid.ts';
import { createLog } from '../src/log/log.ts';
import { type Batch, type BatchId, freezeBatch } from '../src/pipeline/batch.ts';
import { createChannel } from '../src/pipeline/channel.ts';
import { createLedger } from '../src/pipeline/ledger.ts';
import { type Frame, readHead } from '../src/topic/frame.ts';
import { divideRows, recordBytesOf } from '../src/topic/frame-division.ts';
import { createPartitionTurns } from '../src/topic/partition-turns.ts';
import { createRelay } from '../src/topic/relay.ts';
import { createManualClock } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';
import fc from './support/fast-check.ts';
import { createFakeTopic } from './support/fake-topic.ts';
import { CUT } from './support/frames.ts';
import { batchOf, envelopeOfRows, goodRows, numbersIn, rowOf } from './support/rows.ts';

const MAX_EVENTS = 100;

function startRelay({ partitionCount = 2 } = {}) {
  const clock = createManualClock();
  const topic = createFakeTopic({ clock, random: () => 0.4 }, { partitionCount });
  topic.latencyMs = () => 10;
  let made = 0;
  const turns = createPartitionTurns({ newUuid: () => timedUuidOf(clock.now(), `${made++}`) });
  const channel = createChannel(
    { clock, newBatchId: turns.newFrameId },
    { maxEvents: 1_000, maxBytes: 1_000_000, projectShare: 1 },
    { maxEvents: MAX_EVENTS, maxBytes: 100_000, maxWaitMs: 0 },
  );
  const ledger = createLedger();
  const writer = topic.writer({ isOver: false });
  const log = createLog('silent');
  const relay = createRelay({ channel, writer, turns, ledger, clock, random: () => 0.5, log }, { cut: CUT });
  const done = relay.run();
  const destinations: string[] = [];
  let next = 0;
  return { clock, topic, channel, ledger, relay, done, destinations, turns, offer, frames };

  function offer(count = 1, projectId: ProjectId = PROJECT, rowBytes = 0) {
    const properties = `{"long":"${'x'.repeat(rowBytes)}"}`;
    const rows = goodRows(count, next).map((spec) => rowOf({ ...spec, projectId, properties }));
    next += count;
    channel.offer(envelopeOfRows(rows, projectId), channel.reserve(), (to) => destinations.push(to));
  }

  /** All frames of the topic, by partition and then in order. */
  function frames() {
    return topic.partitions.flatMap(({ log: records }, partition) =>
      records.flatMap((record) => {
        const head = readHead(record);
        return head.kind === 'frame' ? [{ partition, ...(head as Frame), numbers: numbersIn([record.value]) }] : [];
      }),
    );
  }
}

/** As an earlier process cut it, for this partition. */
const recovered = (partition: number): Batch => ({
  ...batchOf(1, goodRows(2, 900)),
  id: `01890000-0000-7000-8000-00000000${partition.toString(16).padStart(4, '0')}` as BatchId,
});

test('what waits while appends are under way becomes one frame; partitions take turns', async () => {
  const { clock, channel, ledger, destinations, offer, frames } = startRelay();
  await clock.advance(20);
  for (let n = 0; n < 6; n++) {
    offer();
    await clock.advance(0);
  }
  await clock.advance(100);
  expect(frames().map(({ partition, numbers }) => [partition, numbers])).toEqual([
    [0, [0]],
    [0, [2, 3, 4, 5]],
    [1, [1]],
  ]);
  expect(destinations).toEqual(Array.from({ length: 6 }, () => 'replicated'));
  expect(ledger.replicated).toBe(6);
  expect(channel.usage().events).toBe(0);
});

test('a frame says what is in it, by which limits it is cut, and is under an id that tells its partition', async () => {
  const { clock, turns, offer, frames } = startRelay();
  await clock.advance(20);
  offer();
  await clock.advance(0);
  offer(2);
  offer(1, OTHER_PROJECT);
  await clock.advance(100);
  const [first, ...others] = frames();
  expect(first).toMatchObject({ eventCount: 1, limits: CUT, isRepeat: false, mayBeElsewhere: false });
  const use = new Map(others.flatMap(({ useByProject }) => [...useByProject]).map(([id, { events }]) => [id, events]));
  expect(use).toEqual(
    new Map([
      [PROJECT, 2],
      [OTHER_PROJECT, 1],
    ]),
  );
  for (const { id, partition } of frames()) expect(turns.partitionOf(id)).toBe(partition);
});

test('an append that was refused is repeated as a repeat, in its place, until it is taken', async () => {
  const { clock, topic, relay, ledger, offer, frames } = startRelay({ partitionCount: 1 });
  topic.refuse = 'denied';
  offer();
  await clock.advance(3_000);
  expect(relay.problems()).toEqual(['the topic refuses events: refused: denied']);
  expect([relay.held().length, ledger.replicated]).toEqual([1, 0]);
  offer();
  topic.refuse = null;
  await clock.advance(60_000);
  expect(relay.problems()).toEqual([]);
  const all = frames();
  expect(all.map(({ isRepeat, numbers }) => [isRepeat, numbers]).at(-2)).toEqual([true, [0]]);
  expect(all.at(-1)).toMatchObject({ isRepeat: false, numbers: [1] });
  expect(new Set(all.slice(0, -1).map(({ id }) => id)).size).toBe(1);
  expect(ledger.replicated).toBe(2);
});

test('what it is unclear of is repeated at once', async () => {
  const { clock, topic, relay, offer, frames } = startRelay({ partitionCount: 1 });
  topic.refuse = 'unclear';
  await clock.advance(20);
  offer();
  await clock.advance(15);
  topic.refuse = null;
  await clock.advance(60);
  expect(frames().at(-1)).toMatchObject({ isRepeat: true, numbers: [0] });
  expect(relay.problems()).toEqual([]);
});

describe('a frame of an earlier process', () => {
  test.each([
    [{ mayHaveLanded: true }, { isRepeat: true, mayBeElsewhere: false }],
    [{ mayBeElsewhere: true }, { isRepeat: false, mayBeElsewhere: true }],
  ])(
    'of which is known that %j goes to its partition, some time after its leader has answered',
    async (known, said) => {
      const { clock, topic, channel, ledger, offer, frames } = startRelay();
      topic.down = true;
      channel.adopt({ ...recovered(1), ...known }, () => {});
      await clock.advance(60_000);
      topic.down = false;
      await clock.advance(1_000);
      offer();
      await clock.advance(1_000);
      // Others do not wait for it.
      expect(frames().map(({ numbers }) => numbers)).toEqual([[0]]);
      await clock.advance(5_000);
      expect(frames().find(({ numbers }) => numbers[0] === 900)).toMatchObject({ partition: 1, ...said });
      expect(ledger.replicated).toBe(3);
    },
  );
});

describe('rows that are too large for the topic', () => {
  test('together are divided; alone they wait, are named, and keep no others waiting', async () => {
    const { clock, topic, channel, relay, ledger, destinations, offer, frames } = startRelay({ partitionCount: 1 });
    topic.maxRecordBytes = 3_000;
    await clock.advance(20);
    offer(4, PROJECT, 1_000);
    await clock.advance(1_000);
    expect(frames().map(({ numbers }) => numbers)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(new Set(frames().map(({ id }) => id)).size).toBe(2);
    offer(1, PROJECT, 5_000);
    await clock.advance(0);
    offer(1);
    await clock.advance(5_000);
    expect(frames().at(-1)!.numbers).toEqual([5]);
    expect([ledger.replicated, channel.usage().events, destinations.length]).toEqual([5, 1, 2]);
    expect(relay.problems()[0]).toMatch(/1 events are larger than the topic takes \(3000 bytes\).*max.message.bytes/);
    topic.maxRecordBytes = 10_000;
    await clock.advance(60_000);
    expect([ledger.replicated, relay.problems()]).toEqual([6, []]);
  });

  test('of a batch are divided into frames that are not, none of them lost, counted by project', () => {
    const anyRows = fc.array(
      fc.record({ project: fc.constantFrom(PROJECT, OTHER_PROJECT), count: fc.integer({ min: 1, max: 8 }) }),
      { minLength: 1, maxLength: 10 },
    );
    fc.assert(
      fc.property(anyRows, fc.integer({ min: 600, max: 4_000 }), fc.boolean(), (specs, maxBytes, isMerged) => {
        let n = 0;
        const envelopes = specs.map(({ project, count }) => {
          const rows = Array.from({ length: count }, () =>
            rowOf({ n: n++, projectId: project, properties: `{"a":"${'x'.repeat((n * 37) % 500)}"}` }),
          );
          return envelopeOfRows(rows, project);
        });
        const batch = freezeBatch('id' as BatchId, envelopes);
        const given = isMerged ? { ...batch, chunks: [Buffer.concat(batch.chunks)] } : batch;
        const { frames, tooLarge } = divideRows(given, maxBytes);
        for (const frame of frames) expect(recordBytesOf(frame)).toBeLessThanOrEqual(maxBytes);
        const parts = [...frames, ...(tooLarge === null ? [] : [tooLarge])];
        const numbers = parts.flatMap(({ chunks }) => numbersIn(chunks));
        expect([...numbers].sort((a, b) => a - b)).toEqual([...Array.from({ length: n }).keys()]);
        for (const project of [PROJECT, OTHER_PROJECT]) {
          const events = parts.reduce((sum, { useByProject }) => sum + (useByProject.get(project)?.events ?? 0), 0);
          expect(events).toBe(batch.useByProject.get(project)?.events ?? 0);
        }
      }),
    );
  });
});

test('with brokers away nothing is dropped, and giving up leaves all of it to be saved', async () => {
  const { clock, topic, channel, relay, done, offer } = startRelay();
  await clock.advance(20);
  topic.down = true;
  for (let n = 0; n < 5; n++) {
    offer();
    await clock.advance(0);
  }
  await clock.advance(600_000);
  expect(relay.isBusy()).toBe(true);
  channel.close();
  relay.stopInserting();
  await clock.advance(1_000);
  relay.giveUp();
  await done;
  const left = [...relay.held(), ...channel.takeAll()];
  expect(left.flatMap(({ chunks }) => numbersIn(chunks)).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
});

test('it ends when the channel is closed and everything was confirmed', async () => {
  const { clock, channel, done, ledger, offer } = startRelay();
  for (let n = 0; n < 5; n++) offer();
  channel.close();
  await clock.advance(100);
  await done;
  expect(ledger.replicated).toBe(5);
});
