/** The topic for those who append to it. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { TopicFailure, type TopicEntry, type TopicWriter } from '../topic/topic-port.ts';
import { pause } from './backoff.ts';
import type { KafkaSettings } from './client.ts';
import { createPartitionProducer, type PartitionProducer } from './partition-producer.ts';
import { openRequests } from './requests.ts';
import { largestRecordBytes, maxMessageBytesIn, readTopicSettings } from './topic-facts.ts';
import { createTrouble } from './trouble.ts';

export type WriterDeps = { readonly clock: Clock; readonly log: Log; readonly random: () => number };

export type WriterTimes = {
  readonly connectMs: number;
  /** How long the replicas may take to have a record. */
  readonly answerMs: number;
  /** How long what the broker said of partitions and sizes is believed. */
  readonly refreshMs: number;
};

const TIMES: WriterTimes = { connectMs: 5_000, answerMs: 8_000, refreshMs: 30_000 };
/** What an answer may take on its way beyond the time that the broker is given for it. */
const WAY_MS = 2_000;

type Facts = { readonly partitions: number; readonly maxRecordBytes: number; readonly readAt: number };

/** Connects when it is first used. Throws `KafkaFailure` where a file of the settings cannot be read. */
export async function openTopicWriter(
  deps: WriterDeps,
  settings: KafkaSettings,
  times: Partial<WriterTimes> = {},
): Promise<TopicWriter> {
  const { clock, log } = deps;
  const { topic } = settings;
  const { connectMs, answerMs, refreshMs } = { ...TIMES, ...times };
  const requests = await openRequests(settings, 'writer', { connectMs, requestMs: answerMs + WAY_MS });
  const trouble = createTrouble(log, 'writer');
  const closing = new AbortController();
  const producers = new Map<number, PartitionProducer>();
  const underWay = new Set<number>();
  let facts: Facts | null = null;
  let reading: Promise<void> | null = null;

  return {
    partitionCount,
    append,
    maxRecordBytes: () => facts?.maxRecordBytes ?? largestRecordBytes(maxMessageBytesIn(new Map())),
    isUp: trouble.isUp,
    trouble: trouble.reason,
    async close() {
      closing.abort();
      await requests.close();
    },
  };

  async function partitionCount(signal: AbortSignal): Promise<number> {
    if (facts !== null && clock.elapsed() - facts.readAt > refreshMs) void refresh();
    for (let attempt = 1; ; attempt++) {
      if (facts !== null) return facts.partitions;
      signal.throwIfAborted();
      if (closing.signal.aborted) throw closed();
      await refresh();
      if (facts === null) await pause(deps, attempt, AbortSignal.any([signal, closing.signal]));
    }
  }

  /** Never rejects. */
  function refresh(): Promise<void> {
    reading ??= readFacts().finally(() => (reading = null));
    return reading;
  }

  async function readFacts(): Promise<void> {
    try {
      const { partitions } = await requests.layout(topic, { isFresh: true });
      const read = await readTopicSettings(requests, topic);
      const maxRecordBytes = largestRecordBytes(maxMessageBytesIn(read));
      facts = { partitions: partitions.length, maxRecordBytes, readAt: clock.elapsed() };
      trouble.well();
    } catch (error) {
      if (!closing.signal.aborted) trouble.failed(error);
    }
  }

  async function append(partition: number, entry: TopicEntry): Promise<void> {
    if (underWay.has(partition)) throw new Error(`an append to partition ${partition} is under way already`);
    if (closing.signal.aborted) throw closed();
    let producer = producers.get(partition);
    if (producer === undefined) {
      producer = createPartitionProducer({ ...deps, requests, trouble }, { topic, partition, answerMs });
      producers.set(partition, producer);
    }
    underWay.add(partition);
    try {
      await producer.append(entry, closing.signal);
    } finally {
      underWay.delete(partition);
    }
  }
}

const closed = () => new TopicFailure('the writer was closed', { kind: 'closed' });
