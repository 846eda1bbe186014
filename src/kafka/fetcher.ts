/**
 * Reads of all partitions, in one request for each broker that leads some of them, one under way at a time. The position
 * is the caller's.
 */
import type { fetchV17 } from '@platformatic/kafka';
import type { Clock } from '../runtime/clock.ts';
import type { Driver } from './client.ts';
import { fingerprintOf } from '../topic/batch-identity.ts';
import type { TopicRecord } from '../topic/topic-port.ts';
import { pause } from './backoff.ts';
import { createFetchSize, type FetchSize } from './fetch-size.ts';
import { ENCODING, unpack } from './packing.ts';
import { HEAD } from './partition-producer.ts';
import type { Requests } from './requests.ts';
import type { Trouble } from './trouble.ts';

export type FetchedRecords = { readonly records: readonly TopicRecord[]; readonly end: number };

export type Fetcher = {
  /**
   * As `Tenure.read`. Rejects with `over`'s reason once that aborts; `onGone` is called where the broker has nothing at
   * that offset, or not that topic, and the answer then waits until `over` aborts.
   */
  read(reader: PartitionReader, offset: number, maxBytes: number): Promise<FetchedRecords>;
};

export type PartitionReader = {
  readonly partition: number;
  readonly topicId: string;
  readonly over: AbortSignal;
  readonly onGone: () => void;
};

export type FetcherDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly requests: Requests;
  readonly trouble: Trouble;
  /** The partitions that are held: a broker need not wait for records of some while others may be asked for any moment. */
  readonly held: () => readonly number[];
  readonly closing: AbortSignal;
};

/** How long a broker waits for a record where all partitions wait. */
const WAIT_MS = 500;
/** And where one of them is not asked for, because its reader is busy. */
const SHORT_WAIT_MS = 25;
/** Long enough for readers that were just answered to ask for more, so that one request has all of them. */
const GATHER_MS = 1;
const OFFSET_OUT_OF_RANGE = 1;
/** A set in the attributes of a batch: what transactions leave behind, which is nobody's record. */
const CONTROL = 0b10_0000;
/** That the broker appended it at its latest time, whatever its records say. */
const BROKERS_TIME = 0b1000;
/** From this version on topics are named by their ids. */
const FIRST_WITH_IDS = 13;
const EMPTY = Buffer.alloc(0);

type Want = {
  readonly reader: PartitionReader;
  /** The offset that was asked for; where nothing at all stands there, the fetch goes on behind. */
  readonly from: number;
  at: number;
  readonly maxBytes: number;
  readonly answer: PromiseWithResolvers<FetchedRecords>;
};

export function createFetcher(deps: FetcherDeps, { topic }: { topic: string }): Fetcher {
  const { clock, requests, trouble, closing } = deps;
  const wants = new Set<Want>();
  const underWay = new Set<Want>();
  const busy = new Set<number>();
  let isGathering = false;
  /** Something was asked for since the wants were last looked at. */
  let isAsked = false;
  let isStale = false;
  let failures = 0;
  const sizes = new WeakMap<PartitionReader, FetchSize>();

  return { read };

  function read(reader: PartitionReader, offset: number, maxBytes: number): Promise<FetchedRecords> {
    if (reader.over.aborted) return Promise.reject(reader.over.reason as Error);
    const want: Want = { reader, from: offset, at: offset, maxBytes, answer: Promise.withResolvers() };
    wants.add(want);
    const end = () => {
      wants.delete(want);
      want.answer.reject(reader.over.reason);
    };
    reader.over.addEventListener('abort', end, { once: true });
    void gather();
    return want.answer.promise.finally(() => reader.over.removeEventListener('abort', end));
  }

  /** Never rejects. */
  async function gather(): Promise<void> {
    isAsked = true;
    if (isGathering) return;
    isGathering = true;
    while (isAsked && !closing.aborted) {
      isAsked = false;
      await clock.sleep(GATHER_MS);
      if (await dispatch()) continue;
      isAsked = true;
      await pause(deps, failures, closing);
    }
    isGathering = false;
  }

  /** Whether everything that is wanted is on its way, or waits for a request that is. */
  async function dispatch(): Promise<boolean> {
    if (waiting().length === 0) return true;
    try {
      const layout = await requests.layout(topic, { isFresh: isStale });
      isStale = false;
      // The topic was deleted and made anew.
      for (const { reader } of waiting()) {
        if (reader.topicId !== layout.id && !reader.over.aborted) reader.onGone();
      }
      const leaderOf = (partition: number) => layout.partitions[partition]?.leader ?? -1;
      const byLeader = Map.groupBy(waiting(), ({ reader }) => leaderOf(reader.partition));
      for (const [leader, wanted] of byLeader) {
        if (leader === -1 || busy.has(leader)) continue;
        const led = deps.held().filter((partition) => leaderOf(partition) === leader);
        // A request has each partition once; what else is wanted of it comes with the next. Who has waited longest comes
        // first: a broker sends that one a record even if it is larger than what it was asked for.
        const asked = [...Map.groupBy(wanted, ({ reader }) => reader.partition).values()].map(([oldest]) => oldest!);
        const isPartial = asked.length < Math.max(led.length, wanted.length);
        void fetch(leader, asked, isPartial ? SHORT_WAIT_MS : WAIT_MS);
      }
      if (!byLeader.has(-1)) return true;
      throw new requests.driver.ProtocolError('LEADER_NOT_AVAILABLE');
    } catch (error) {
      fail(error);
      return false;
    }
  }

  /** Who has waited longest comes first. */
  function waiting(): Want[] {
    return [...wants].filter((want) => !underWay.has(want));
  }

  /** Never rejects. */
  async function fetch(leader: number, asked: readonly Want[], waitMs: number): Promise<void> {
    busy.add(leader);
    for (const want of asked) underWay.add(want);
    try {
      const answer = await requests.ask({ node: leader }, 'Fetch', (version) => requestFor(version, asked, waitMs));
      for (const { partitions } of answer.responses) for (const found of partitions) take(asked, found);
      if (!isStale) failures = 0;
    } catch (error) {
      fail(error);
    }
    if (failures > 0) await pause(deps, failures, closing);
    for (const want of asked) underWay.delete(want);
    busy.delete(leader);
    void gather();
  }

  function fail(error: unknown) {
    isStale = true;
    failures += 1;
    if (!closing.aborted) trouble.failed(error, failures);
  }

  function requestFor(version: number, asked: readonly Want[], waitMs: number): fetchV17.FetchRequest {
    const partitions = asked.map(({ reader, at, maxBytes }) => ({
      partition: reader.partition,
      currentLeaderEpoch: -1,
      fetchOffset: BigInt(at),
      lastFetchedEpoch: -1,
      partitionMaxBytes: sizeOf(reader).packed(maxBytes),
    }));
    const maxBytes = partitions.reduce((sum, { partitionMaxBytes }) => sum + partitionMaxBytes, 0);
    const topicId = version >= FIRST_WITH_IDS ? asked[0]!.reader.topicId : topic;
    // Without a session: each request names all that it wants.
    return [waitMs, 1, Math.min(maxBytes, 2 ** 30), 0, 0, -1, [{ topicId, partitions }], [], ''];
  }

  function sizeOf(reader: PartitionReader): FetchSize {
    let size = sizes.get(reader);
    if (size === undefined) sizes.set(reader, (size = createFetchSize()));
    return size;
  }

  function take(asked: readonly Want[], found: fetchV17.FetchResponsePartition) {
    const want = asked.find(({ reader }) => reader.partition === found.partitionIndex);
    if (want === undefined || !wants.has(want)) return;
    if (found.errorCode === OFFSET_OUT_OF_RANGE) return want.reader.onGone();
    if (found.errorCode !== 0) {
      return fail(new requests.driver.ProtocolError(found.errorCode));
    }
    trouble.well();
    const { records, next, packedBytes, bytes } = recordsIn(requests.driver, found, want);
    sizeOf(want.reader).saw(packedBytes, bytes);
    const end = Number(found.highWatermark);
    // Nothing but what nobody can read, or no room beside what other partitions have: asked for again at once.
    if (records.length === 0 && (next > want.at || end > want.at)) return void (want.at = next);
    wants.delete(want);
    want.answer.resolve({ records, end });
  }
}

/**
 * The records from `at` on, until they are about `maxBytes`, and the offset behind the last batch that was looked at.
 * What was sent beyond is not unpacked: whoever reads goes on behind the last record.
 */
function recordsIn(
  driver: Driver,
  { records: batches }: fetchV17.FetchResponsePartition,
  { at, maxBytes }: Pick<Want, 'at' | 'maxBytes'>,
) {
  const records: TopicRecord[] = [];
  let next = at;
  let packedBytes = 0;
  let bytes = 0;
  for (const batch of batches ?? []) {
    if (bytes >= maxBytes) break;
    packedBytes += batch.length;
    const first = Number(batch.firstOffset);
    next = Math.max(next, first + batch.lastOffsetDelta + 1);
    if ((batch.attributes & CONTROL) !== 0) continue;
    const isBrokersTime = (batch.attributes & BROKERS_TIME) !== 0;
    for (const { offsetDelta, timestampDelta, headers, value } of batch.records) {
      const offset = first + offsetDelta;
      if (offset < at) continue;
      if (bytes >= maxBytes) break;
      const valueOf = (key: Buffer) => headers.find(([name]) => name !== null && name.equals(key))?.[1] ?? null;
      const head = valueOf(HEAD);
      const stored = value ?? EMPTY;
      const unpacked = unpack(driver, stored, head && valueOf(ENCODING));
      bytes += unpacked.value.length;
      // Of others' records nothing but the place is needed.
      records.push({
        offset,
        time: Number(isBrokersTime ? batch.maxTimestamp : batch.firstTimestamp + timestampDelta),
        head,
        fingerprint: fingerprintOf(stored),
        ...unpacked,
      });
    }
  }
  return { records, next, packedBytes, bytes };
}
