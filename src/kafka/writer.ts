/** The topic for those who append to it. */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../log/log.ts';
import { TopicFailure, type TopicEntry, type TopicWriter } from '../topic/topic-port.ts';
import { pause } from './backoff.ts';
import type { KafkaSettings } from '../config/kafka-settings.ts';
import { createPacker } from './packing.ts';
import { createPartitionProducer, type PartitionProducer } from './partition-producer.ts';
import { openRequests } from './requests.ts';
import { largestRecordBytes, maxMessageBytesIn, readTopicSettings } from './topic-facts.ts';
import { createTroubles } from './trouble.ts';

export type WriterDeps = { readonly clock: Clock; readonly log: Log; readonly random: () => number };

export type WriterTimes = {
  readonly connectMs: number;
  /** How long the replicas may take to have a record. */
  readonly answerMs: number;
  /** How often the broker is asked for partitions and sizes. */
  readonly refreshMs: number;
};

const TIMES: WriterTimes = { connectMs: 5_000, answerMs: 8_000, refreshMs: 30_000 };
/** How often whoever waits for the first answer looks whether it came unnoticed. */
const LOOK_MS = 60_000;
/** What an answer may take on its way beyond the time that the broker is given for it. */
const WAY_MS = 2_000;

type Facts = { readonly partitions: number; readonly maxRecordBytes: number };

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
  const packer = createPacker(requests.driver);
  const troubles = createTroubles(log, 'writer');
  const trouble = troubles.part();
  const closing = new AbortController();
  const producers = new Map<number, PartitionProducer>();
  const underWay = new Set<number>();
  let facts: Facts | null = null;
  let watching: Promise<void> | null = null;
  /** Aborts when the facts are there. */
  const known = new AbortController();

  return {
    partitionCount,
    append,
    maxRecordBytes: () => facts?.maxRecordBytes ?? largestRecordBytes(maxMessageBytesIn(new Map())),
    isUp: troubles.isUp,
    trouble: troubles.reason,
    async close() {
      closing.abort();
      await requests.close();
    },
  };

  async function partitionCount(signal: AbortSignal): Promise<number> {
    watching ??= watch();
    if (facts === null) await clock.sleep(LOOK_MS, AbortSignal.any([signal, closing.signal, known.signal]));
    if (facts !== null) return facts.partitions;
    signal.throwIfAborted();
    if (closing.signal.aborted) throw closed();
    return partitionCount(signal);
  }

  /** Asks now and then, also while nothing is appended: whether Kafka can be used is shown all the time. Never rejects. */
  async function watch(): Promise<void> {
    for (let failures = 0; !closing.signal.aborted;) {
      try {
        facts = await readFacts();
        known.abort();
        failures = 0;
        trouble.well();
        await clock.sleep(refreshMs, closing.signal);
      } catch (error) {
        failures += 1;
        if (!closing.signal.aborted) trouble.failed(error, failures);
        await pause(deps, failures, closing.signal);
      }
    }
  }

  async function readFacts(): Promise<Facts> {
    const { partitions } = await requests.layout(topic, { isFresh: true });
    const read = await readTopicSettings(requests, topic);
    return { partitions: partitions.length, maxRecordBytes: largestRecordBytes(maxMessageBytesIn(read)) };
  }

  async function append(partition: number, entry: TopicEntry): Promise<void> {
    if (underWay.has(partition)) throw new Error(`an append to partition ${partition} is under way already`);
    if (closing.signal.aborted) throw closed();
    watching ??= watch();
    let producer = producers.get(partition);
    if (producer === undefined) {
      producer = createPartitionProducer(
        { ...deps, requests, packer, trouble: troubles.part() },
        { topic, partition, answerMs },
      );
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
