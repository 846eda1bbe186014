/** How much of a topic is read at once: against a broker that sends as much as it is asked for, packed as it stands in the log. */
import * as driver from '@platformatic/kafka';
import { describe, expect, test } from 'vitest';
import { createFetchSize } from '../src/kafka/fetch-size.ts';
import { createFetcher, type PartitionReader } from '../src/kafka/fetcher.ts';
import { createPacker } from '../src/kafka/packing.ts';
import { HEAD } from '../src/kafka/partition-producer.ts';
import type { Requests } from '../src/kafka/requests.ts';
import fc from './support/fast-check.ts';

const MIB = 1024 * 1024;
/** What a batch and its record add to the value. */
const HEAD_BYTES = 100;

type Stored = {
  readonly firstOffset: bigint;
  readonly lastOffsetDelta: number;
  readonly length: number;
  readonly attributes: number;
  readonly firstTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly records: readonly {
    readonly offsetDelta: number;
    readonly timestampDelta: bigint;
    readonly value: Buffer;
    readonly headers: readonly (readonly [Buffer, Buffer])[];
  }[];
};

const packer = createPacker(driver);

/** A batch of records whose values are packed as Weir does it, one at each of these places behind `first`. */
function batchOf(first: number, values: ReadonlyMap<number, Buffer>, { last = 0, isControl = false } = {}): Stored {
  const records = [...values].map(([offsetDelta, rows]) => {
    const { value, headers } = packer.pack([rows]);
    return { offsetDelta, timestampDelta: 0n, value, headers: [[HEAD, Buffer.from('{}')] as const, ...headers] };
  });
  return {
    firstOffset: BigInt(first),
    lastOffsetDelta: Math.max(last, ...values.keys()),
    length: records.reduce((sum, { value }) => sum + value.length + HEAD_BYTES, 0),
    attributes: isControl ? 0b10_0000 : 0,
    firstTimestamp: 0n,
    maxTimestamp: 0n,
    records,
  };
}

const recordOf = (offset: number, rows: Buffer): Stored => batchOf(offset, new Map([[0, rows]]));
const endOf = (log: readonly Stored[]): number => {
  const last = log.at(-1);
  return last === undefined ? 0 : Number(last.firstOffset) + last.lastOffsetDelta + 1;
};

/** A fetcher, and a broker that leads all partitions. */
function setUp(logs: readonly (readonly Stored[])[]) {
  const counts = { requests: 0, sentBytes: 0 };
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  const layout = { id: 'id', partitions: logs.map(() => ({ leader: 1, replicas: [1], inSync: [1] })) };
  const requests = {
    driver,
    layout: () => Promise.resolve(layout),
    async ask(_: unknown, __: string, request: (version: number) => unknown[]) {
      await turn();
      counts.requests++;
      const [topic] = request(17)[6] as [{ partitions: Asked[] }];
      return { responses: [{ partitions: answerTo(topic.partitions) }] };
    },
  } as unknown as Requests;
  const clock = { now: () => 0, elapsed: () => 0, turn, sleep: turn };
  const trouble = { well: () => {}, failed: (error: unknown) => expect(error).toBeNull(), clear: () => {} };
  const closing = new AbortController();
  const held = () => logs.map((_, partition) => partition);
  const fetcher = createFetcher(
    { clock, random: () => 0, requests, trouble, held, closing: closing.signal },
    { topic: 'topic' },
  );
  const readerOf = (partition: number): PartitionReader => ({
    partition,
    topicId: 'id',
    over: closing.signal,
    onGone: () => expect.fail('it is there'),
  });
  return { counts, fetcher, readerOf, readAll };

  type Asked = { partition: number; fetchOffset: bigint; partitionMaxBytes: number };

  /** As Kafka: whole batches, of each partition as many as fit, and the first one whatever its size. */
  function answerTo(asked: readonly Asked[]) {
    let hasSome = false;
    return asked.map(({ partition, fetchOffset, partitionMaxBytes }) => {
      const log = logs[partition]!;
      const records: Stored[] = [];
      let bytes = 0;
      for (const batch of log) {
        if (Number(batch.firstOffset) + batch.lastOffsetDelta < fetchOffset) continue;
        if (bytes + batch.length > partitionMaxBytes && (hasSome || records.length > 0)) break;
        records.push(batch);
        bytes += batch.length;
      }
      hasSome ||= records.length > 0;
      counts.sentBytes += bytes;
      return { partitionIndex: partition, errorCode: 0, highWatermark: BigInt(endOf(log)), records };
    });
  }

  /** The offsets and the bytes of each read, as whoever goes on behind the last record. */
  async function readAll(partition: number, maxBytes: () => number) {
    const reader = readerOf(partition);
    const offsets: number[] = [];
    const reads: { readonly allowed: number; readonly bytes: number; readonly last: number }[] = [];
    const values: Buffer[] = [];
    const lastOf = logs[partition]!.findLast(({ attributes, records }) => attributes === 0 && records.length > 0)!;
    const lastOffset = Number(lastOf.firstOffset) + lastOf.records.at(-1)!.offsetDelta;
    for (let at = 0; at <= lastOffset; at = offsets.at(-1)! + 1) {
      const allowed = maxBytes();
      const { records } = await fetcher.read(reader, at, allowed);
      expect(records.length).toBeGreaterThan(0);
      offsets.push(...records.map(({ offset }) => offset));
      values.push(...records.map(({ value }) => value));
      const bytes = records.reduce((sum, { value }) => sum + value.length, 0);
      reads.push({ allowed, bytes, last: records.at(-1)!.value.length });
    }
    return { offsets, values, reads };
  }
}

const repetitive = (bytes: number): Buffer => Buffer.alloc(bytes, `${'{"at":"java.lang.Thread.run"},'.repeat(40)}\n`);

describe('a read', () => {
  test.each([
    ['much', repetitive(MIB)],
    [
      'a little',
      Buffer.from(Array.from({ length: 20_000 }, (_, n) => `{"id":${(n * 7_919) % 99_991},"x":"abc"}\n`).join('')),
    ],
  ])(
    'holds what was allowed and at most one record more, where rows can be packed %s; nothing is fetched over and over',
    async (_, rows) => {
      const log = Array.from({ length: 64 }, (_, offset) => recordOf(offset, rows));
      const { counts, readAll } = setUp([log]);
      const { offsets, reads } = await readAll(0, () => 2 * MIB);
      expect(offsets).toEqual(log.map((_, offset) => offset));
      for (const { allowed, bytes, last } of reads) expect(bytes - last).toBeLessThan(allowed);
      expect(reads.length).toBeLessThan(64);
      expect(counts.sentBytes).toBeLessThan(3 * log.reduce((sum, { length }) => sum + length, 0));
    },
  );

  test('goes on behind its last record, whatever stands between the records and however few were allowed', async () => {
    const value = fc.nat({ max: 3_000 });
    const batch = fc.record({
      gap: fc.nat({ max: 3 }),
      values: fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), value), { maxLength: 4 }),
      behind: fc.nat({ max: 2 }),
      isControl: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(batch, { maxLength: 12 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 6_000 })),
        async (specs, allowed) => {
          const log: Stored[] = [];
          const expected: [number, number][] = [];
          for (const { gap, values, behind, isControl } of [...specs, END]) {
            const first = endOf(log) + gap;
            const at = new Map<number, Buffer>();
            for (const [step, rows] of values) at.set(([...at.keys()].at(-1) ?? 0) + step, repetitive(rows));
            const last = ([...at.keys()].at(-1) ?? 0) + behind;
            log.push(batchOf(first, at, { last, isControl }));
            if (!isControl) for (const [delta, rows] of at) expected.push([first + delta, rows.length]);
          }
          const { offsets, values, reads } = await setUp([log]).readAll(0, () => allowed.next().value as number);
          expect(offsets.map((offset, index) => [offset, values[index]!.length])).toEqual(expected);
          for (const read of reads) expect(read.bytes - read.last).toBeLessThan(read.allowed);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('comes after those of the same partition that were asked for before it', async () => {
    const log = Array.from({ length: 4 }, (_, offset) => recordOf(offset, repetitive(100)));
    const { fetcher, readerOf } = setUp([log]);
    const first: number[] = [];
    const read = async (at: number) => {
      const { records } = await fetcher.read(readerOf(0), at, 1);
      first.push(records[0]!.offset);
    };
    await Promise.all([2, 0, 3].map(read));
    expect(first).toEqual([2, 0, 3]);
  });

  test('of a partition whose records are larger than allowed comes to its turn beside others', async () => {
    const logs = [1, 2, 3].map(() => Array.from({ length: 10 }, (_, offset) => recordOf(offset, noise(40_000))));
    const { counts, readAll } = setUp(logs);
    const busy = Promise.all([1, 2].map((partition) => readAll(partition, () => 20_000)));
    const { offsets } = await readAll(0, () => 20_000);
    expect(offsets).toHaveLength(10);
    expect(counts.requests).toBeLessThan(40);
    expect((await busy).map((read) => read.offsets.length)).toEqual([10, 10]);
  });
});

describe('what a broker is asked for', () => {
  test('is an eighth of what may be held until something was read, then what the latest records tell', () => {
    const size = createFetchSize();
    expect(size.packed(2_000_000)).toBe(250_000);
    size.saw(10_000, 500_000);
    expect(size.packed(2_000_000)).toBe(40_000);
    for (let reads = 0; reads < 20; reads++) size.saw(1_000, 2_000);
    expect(size.packed(2_000_000)).toBeGreaterThan(999_000);
  });

  test('is never more than what may be held, and enough for small records', () => {
    const size = createFetchSize();
    for (let reads = 0; reads < 20; reads++) size.saw(1_000, 10);
    expect(size.packed(1_000_000)).toBeLessThanOrEqual(1_000_000);
    size.saw(1, 1_000_000);
    size.saw(0, 0);
    expect([size.packed(1_000_000), size.packed(1_000), size.packed(1)]).toEqual([16_384, 1_000, 1]);
  });
});

const END = { gap: 0, values: [[0, 10] as [number, number]], behind: 0, isControl: false };

/** Bytes that do not get smaller. */
function noise(bytes: number): Buffer {
  let state = 1;
  return Buffer.from(Array.from({ length: bytes }, () => ((state = (state * 48_271) % 2_147_483_647) >> 8) & 255));
}
