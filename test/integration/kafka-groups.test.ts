/** Members of a group on a real broker: who has a partition, where it begins to read, and whose commits count. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { openRequests, type Requests } from '../../src/kafka/requests.ts';
import { readOffsets } from '../../src/kafka/start-offsets.ts';
import type { Tenure } from '../../src/topic/topic-port.ts';
import { API } from '../support/kafka-proxy.ts';
import { readAll, startReader, until, type TestReader } from '../support/kafka-reader.ts';
import { entryOf, inKafkaWorld, isWithoutKafka } from '../support/kafka-topics.ts';

describe.skipIf(isWithoutKafka)('members of a group on a real broker', () => {
  const world = inKafkaWorld();
  const { newTopic, newWriter, newReader } = world;

  async function newRequests(settings: KafkaSettings): Promise<Requests> {
    const requests = await openRequests(settings, 'test', { connectMs: 5_000, requestMs: 5_000 });
    onTestFinished(() => requests.close());
    return requests;
  }

  async function committedOf(settings: KafkaSettings, partition = 0): Promise<number | null> {
    const requests = await newRequests(settings);
    return (await readOffsets(requests, settings, [partition])).get(partition)!.committed;
  }

  async function append(settings: KafkaSettings, count: number, partition = 0): Promise<void> {
    const writer = await newWriter(settings);
    for (let index = 0; index < count; index++) await writer.append(partition, entryOf(`${partition}-${index}`));
  }

  /** As tools do while nobody is in the group. */
  async function setOffset(settings: KafkaSettings, offset: number, partition = 0): Promise<void> {
    const requests = await newRequests(settings);
    const committed = { partitionIndex: partition, committedOffset: BigInt(offset), committedLeaderEpoch: -1 };
    const topics = [{ name: settings.topic, partitions: [{ ...committed, committedMetadata: '' }] }];
    const answer = await requests.ask({ group: settings.group }, 'OffsetCommit', [
      settings.group,
      -1,
      '',
      null,
      topics,
    ]);
    expect(answer.topics[0]!.partitions[0]!.errorCode).toBe(0);
  }

  describe('partitions', () => {
    test('are shared, and taken over from who leaves; nobody loses what it can keep', async () => {
      const settings = await newTopic({ partitions: 6 });
      const first = await newReader(settings);
      expect(await first.holds(6)).toEqual([0, 1, 2, 3, 4, 5]);
      const kept = await Promise.all([0, 1, 2].map((partition) => first.holding(partition)));
      const second = await newReader(settings);
      expect(await second.holds(3)).toEqual([3, 4, 5]);
      expect(kept.map(({ over }) => over.aborted)).toEqual([false, false, false]);
      const third = await newReader(settings);
      const shares = await Promise.all([first.holds(2), second.holds(2), third.holds(2)]);
      expect(shares.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5]);
      expect(kept.filter(({ over }) => over.aborted)).toHaveLength(1);
      await first.stop();
      const left = await Promise.all([second.holds(3), third.holds(3)]);
      expect(left.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5]);
      expect(second.reader.held()).toEqual({ partitions: left[0], of: 6 });
      expect(second.reader.isMember()).toBe(true);
      expect(first.reader.held()!.partitions).toEqual([]);
    });

    test('are read while others join and leave', async () => {
      const settings = await newTopic({ partitions: 2 });
      const reader = await newReader(settings);
      await append(settings, 1);
      const tenure = await reader.holding(0);
      expect(await readAll(tenure)).toHaveLength(1);
      const waiting = tenure.read(1, 1024);
      const other = await newReader(settings);
      await other.holds(1);
      await append(settings, 1);
      // The answer to the wait, or to the read after it.
      const { records } = await waiting;
      expect(records.length > 0 ? records : await readAll(tenure, 1)).toHaveLength(1);
    });

    test('that are added are read, too', async () => {
      const settings = await newTopic({ partitions: 2 });
      const readers = [await newReader(settings), await newReader(settings)] as const;
      await Promise.all(readers.map((reader) => reader.holds(1)));
      await world.kafka.admin.createPartitions({ topics: [{ name: settings.topic, count: 4 }] });
      const shares = await Promise.all(readers.map((reader) => reader.holds(2)));
      expect(shares.flat().toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
      await append(settings, 1, 3);
      const holder = readers[shares.findIndex((share) => share.includes(3))]!;
      expect(await readAll(await holder.holding(3))).toHaveLength(1);
    });

    test('of a member that is not heard from any more go to another one, and its reads end', async () => {
      const settings = await newTopic();
      const cut = await newReader({ ...settings, brokers: [world.kafka.proxied] });
      const lost = await cut.holding(0);
      const ended = expect(readForEver(lost)).rejects.toThrow('the tenure of partition 0 is over');
      const other = await newReader(settings);
      await until(() => (other.reader.isMember() ? true : undefined));
      await world.kafka.proxy.refuse();
      onTestFinished(() => world.kafka.proxy.accept());
      await other.holding(0);
      await ended;
      expect(cut.reader.isUp()).toBe(false);
      expect(cut.reader.trouble()).not.toBeNull();
      await world.kafka.proxy.accept();
      await until(() => (cut.reader.isUp() === true ? true : undefined));
      await other.stop();
      await cut.holding(0);
    });

    test('of a static member wait for it while it restarts', async () => {
      const settings = await newTopic({ partitions: 2 });
      const fixed = { ...settings, instanceId: 'flush-1' };
      const before = await startReader(fixed);
      await before.holds(2);
      const other = await newReader(settings);
      const [mine] = await before.holds(1);
      const [theirs] = await other.holds(1);
      const kept = await other.holding(theirs!);
      await before.stop();
      const after = await newReader(fixed);
      expect(await after.holds(1)).toEqual([mine]);
      expect(kept.over.aborted).toBe(false);
    });
  });

  describe('records', () => {
    /** Reads on, in whatever tenure there is, until that many have been seen. */
    async function readAcross(reader: TestReader, count: number): Promise<string[]> {
      const seen = new Map<number, string>();
      while (seen.size < count) {
        const tenure = await reader.holding(0);
        const records = await readAll(tenure).catch(() => []);
        for (const { offset, value } of records) seen.set(offset, value.toString().trim());
      }
      return [...seen].sort(([a], [b]) => a - b).map(([, value]) => value);
    }

    test.each(['fetch', 'joinGroup', 'syncGroup', 'heartbeat'] as const)(
      'are read while answers to %s are lost',
      async (api) => {
        const settings = await newTopic();
        await append(settings, 3);
        world.kafka.proxy.set({ kind: 'cut-answer', api: API[api] }, { times: 3 });
        onTestFinished(() => world.kafka.proxy.set(null));
        const hits = world.kafka.proxy.hits();
        const reader = await newReader({ ...settings, brokers: [world.kafka.proxied] });
        const lost = until(() => (world.kafka.proxy.hits() - hits === 3 ? true : undefined));
        const [read] = await Promise.all([readAcross(reader, 3), lost]);
        expect(read).toEqual(['0-0', '0-1', '0-2']);
      },
    );

    test('are read when the broker is killed and comes back, and when it freezes', async () => {
      const settings = await newTopic();
      await append(settings, 2);
      const reader = await newReader(settings);
      expect(await readAcross(reader, 2)).toHaveLength(2);
      await world.kafka.kill();
      await until(() => (reader.reader.isUp() === false ? true : undefined));
      await world.kafka.restart();
      await append(settings, 1);
      expect(await readAcross(reader, 3)).toHaveLength(3);
      // Other parts of it may not have been answered yet.
      await until(() => (reader.reader.trouble() === null ? true : undefined));

      world.kafka.freeze();
      await until(() => (reader.reader.isUp() === false ? true : undefined));
      expect(reader.reader.trouble()).toBe('Kafka does not answer');
      world.kafka.thaw();
      await append(settings, 1);
      expect(await readAcross(reader, 4)).toHaveLength(4);
      await until(() => (reader.reader.trouble() === null ? true : undefined));
    });
  });

  describe('a process', () => {
    function startProcess(settings: KafkaSettings) {
      const child = spawn(process.execPath, ['test/support/kafka-reader-process.ts', JSON.stringify(settings)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      onTestFinished(async () => {
        const exited = child.exitCode ?? child.signalCode ?? once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      });
      const lines: string[] = [];
      createInterface(child.stdout).on('line', (line) => lines.push(line));
      return { child, lines, says: (text: string) => until(() => lines.find((line) => line === text)) };
    }

    test('that is killed is followed by another one, at what it committed', async () => {
      const settings = await newTopic();
      await append(settings, 5);
      const { child, says } = startProcess(settings);
      await says('taken 0 at 0');
      child.stdin.write('0 2\n');
      await says('committed 0 2');
      const next = await newReader(settings);
      await until(() => (next.reader.isMember() ? true : undefined));
      child.kill('SIGKILL');
      expect(await next.holding(0)).toMatchObject({ start: 2, isBoundary: true, takenAt: 5 });
    });

    test('that was frozen for longer than its session sets nothing back when it wakes up', async () => {
      const settings = await newTopic();
      await append(settings, 9);
      const { child, lines, says } = startProcess(settings);
      await says('taken 0 at 0');
      child.stdin.write('0 1\n');
      await says('committed 0 1');
      const next = await newReader(settings);
      await until(() => (next.reader.isMember() ? true : undefined));
      child.kill('SIGSTOP');
      const tenure = await next.holding(0);
      expect(tenure).toMatchObject({ start: 1, isBoundary: true });
      await tenure.commit(8);
      // Its commit is what it does first.
      child.stdin.write('0 3\n');
      child.kill('SIGCONT');
      await says('committed 0 3');
      expect(await committedOf(settings)).toBe(8);
      expect(tenure.over.aborted).toBe(false);
      // And it is a member again, which waits for its turn.
      await next.stop();
      await says('taken 0 at 8');
      expect(lines).not.toContain('taken 0 at 3');
    });
  });

  describe('a commit', () => {
    test('is sent again when its answer was lost', async () => {
      const settings = await newTopic();
      await append(settings, 3);
      const reader = await newReader({ ...settings, brokers: [world.kafka.proxied] });
      const tenure = await reader.holding(0);
      world.kafka.proxy.set({ kind: 'cut-answer', api: API.offsetCommit }, { times: 1 });
      const hits = world.kafka.proxy.hits();
      await tenure.commit(2);
      expect(world.kafka.proxy.hits() - hits).toBe(1);
      expect(await committedOf(settings)).toBe(2);
      expect(tenure.over.aborted).toBe(false);
    });

    test('carries all partitions, and of each the latest offset', async () => {
      const settings = await newTopic({ partitions: 3 });
      for (const partition of [0, 1, 2]) await append(settings, 4, partition);
      const reader = await newReader({ ...settings, brokers: [world.kafka.proxied] });
      const tenures = await Promise.all([0, 1, 2].map((partition) => reader.holding(partition)));
      const before = world.kafka.proxy.passed(API.offsetCommit);
      await Promise.all([1, 2, 3, 4].flatMap((offset) => tenures.map((tenure) => tenure.commit(offset))));
      expect(world.kafka.proxy.passed(API.offsetCommit) - before).toBeLessThanOrEqual(2);
      const requests = await newRequests(settings);
      const offsets = await readOffsets(requests, settings, [0, 1, 2]);
      expect([...offsets.values()].map(({ committed }) => committed)).toEqual([4, 4, 4]);
    });

    test(
      'that comes while its member joins again, and the group is a generation further, ends nothing',
      { timeout: 30_000 },
      async () => {
        const settings = await newTopic({ partitions: 2 });
        await append(settings, 3);
        const reader = await newReader({ ...settings, brokers: [world.kafka.proxied] });
        await reader.holds(2);
        const tenure = await reader.holding(0);
        const { proxy } = world.kafka;
        const [hits, commits] = [proxy.hits(), proxy.passed(API.offsetCommit)];
        proxy.set({ kind: 'hold-answer', api: API.syncGroup }, { times: 1 });
        const other = await newReader(settings);
        await other.holds(1);
        expect(proxy.hits() - hits).toBe(1);
        const committing = tenure.commit(2);
        // The first was refused: it is sent again.
        await until(() => (proxy.passed(API.offsetCommit) - commits > 1 ? true : undefined));
        proxy.release();
        await committing;
        expect(await committedOf(settings)).toBe(2);
        expect(await reader.holds(1)).toEqual([0]);
        expect(tenure.over.aborted).toBe(false);
      },
    );

    test('of a tenure that is over changes nothing and does not wait', async () => {
      const settings = await newTopic();
      await append(settings, 3);
      const reader = await startReader(settings);
      const tenure = await reader.holding(0);
      await tenure.commit(1);
      await reader.stop();
      await tenure.commit(3);
      expect(await committedOf(settings)).toBe(1);
    });
  });

  test('a tenure tells where the records of a time begin', async () => {
    const settings = await newTopic();
    await append(settings, 2);
    const between = await clockPast();
    await append(settings, 2);
    const reader = await newReader(settings);
    const tenure = await reader.holding(0);
    expect(await tenure.offsetAt(0)).toBe(0);
    expect(await tenure.offsetAt(between)).toBe(2);
    expect(await tenure.offsetAt(Date.now() + 60_000)).toBe(4);
    await removeBefore(settings, 1);
    expect(await tenure.offsetAt(0)).toBeNull();
    expect(await tenure.offsetAt(between)).toBe(2);
  });

  test.each([
    ['CreateTime', 600_000],
    ['LogAppendTime', 0],
  ])('records have the time that they are found by: %s', async (type, aheadMs) => {
    const settings = await newTopic({ settings: { 'message.timestamp.type': type } });
    const now = Date.now.bind(Date);
    const spy = vi.spyOn(Date, 'now').mockImplementation(() => now() + 600_000);
    await append(settings, 1);
    spy.mockRestore();
    const tenure = await (await newReader(settings)).holding(0);
    const [record] = await readAll(tenure);
    expect(Math.abs(record!.time - aheadMs - Date.now())).toBeLessThan(60_000);
    expect(await tenure.offsetAt(record!.time)).toBe(0);
    expect(await tenure.offsetAt(record!.time + 1)).toBe(1);
  });

  test('two reads of a partition at once are both answered', async () => {
    const settings = await newTopic({ partitions: 2 });
    await append(settings, 4);
    const reader = await newReader(settings);
    const tenure = await reader.holding(0);
    const reads = await Promise.all([0, 2, 3].map((offset) => tenure.read(offset, 1024 * 1024)));
    expect(reads.map(({ records }) => records[0]!.offset)).toEqual([0, 2, 3]);
  });

  describe('a tenure begins', () => {
    test('at the log’s start, no boundary, where retention removed what was not read; and says how much', async () => {
      const settings = await newTopic();
      await append(settings, 8);
      const reader = await startReader(settings);
      await (await reader.holding(0)).commit(2);
      await reader.stop();
      await removeBefore(settings, 5);
      const next = await newReader(settings);
      const tenure = await next.holding(0);
      expect(tenure).toMatchObject({ start: 5, isBoundary: false, removed: 3, takenAt: 8 });
      expect(await readAll(tenure)).toHaveLength(3);
    });

    test('anew where retention removes what is about to be read', async () => {
      const settings = await newTopic();
      await append(settings, 8);
      const reader = await newReader(settings);
      const tenure = await reader.holding(0);
      await removeBefore(settings, 6);
      await expect(tenure.read(0, 1024)).rejects.toThrow('the broker has no records at that offset');
      expect(await reader.holding(0)).toMatchObject({ start: 6, isBoundary: false, removed: 0 });
    });

    test('where a tool has set the offset, which is no boundary', async () => {
      const settings = await newTopic();
      await append(settings, 8);
      await setOffset(settings, 3);
      const reader = await startReader(settings);
      const tenure = await reader.holding(0);
      expect(tenure).toMatchObject({ start: 3, isBoundary: false, removed: 0 });
      await tenure.commit(4);
      await reader.stop();
      expect(await (await newReader(settings)).holding(0)).toMatchObject({ start: 4, isBoundary: true });
    });

    test('at the log’s start, no boundary, where the offset is beyond the end', async () => {
      const settings = await newTopic();
      await append(settings, 3);
      await setOffset(settings, 30);
      expect(await (await newReader(settings)).holding(0)).toMatchObject({ start: 0, isBoundary: false, takenAt: 3 });
    });

    test('anew, with another id, when the topic was deleted and made again', async () => {
      const settings = await newTopic();
      await append(settings, 3);
      const reader = await newReader(settings);
      const tenure = await reader.holding(0);
      await world.kafka.admin.deleteTopics({ topics: [settings.topic] });
      const ended = expect(readForEver(tenure)).rejects.toThrow('over');
      await world.kafka.createTopic(settings.topic);
      await append(settings, 1);
      await ended;
      const next = await reader.holding(0);
      expect(next.topicId).not.toBe(tenure.topicId);
      expect(await readAll(next)).toHaveLength(1);
    });
  });

  /** A millisecond behind which nothing has happened yet. */
  async function clockPast(): Promise<number> {
    const at = Date.now() + 1;
    await until(() => (Date.now() > at ? true : undefined));
    return at;
  }

  async function readForEver(tenure: Tenure): Promise<never> {
    for (;;) await tenure.read(tenure.takenAt, 1024);
  }

  async function removeBefore({ topic }: KafkaSettings, offset: number): Promise<void> {
    const partitions = [{ partition: 0, offset: BigInt(offset) }];
    await world.kafka.admin.deleteRecords({ topics: [{ name: topic, partitions }] });
  }
});
