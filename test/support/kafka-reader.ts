/** A member of a group that reads a topic, for tests: what it was given, and when. */
import { setTimeout as delay } from 'node:timers/promises';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { openTopicReader, type ReaderTimes } from '../../src/kafka/reader.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { Tenure, TopicReader, TopicRecord } from '../../src/topic/topic-port.ts';

/** Short enough for tests, and long enough for a busy machine. */
export const SHORT_SESSION: Partial<ReaderTimes> = {
  sessionMs: 3_000,
  heartbeatMs: 200,
  rebalanceMs: 5_000,
  requestMs: 5_000,
  layoutMs: 200,
};

export type TestReader = {
  readonly reader: TopicReader;
  /** Every tenure so far, in order. */
  readonly tenures: readonly Tenure[];
  /** The tenure of the partition, once it has one that is not over. */
  holding(partition: number): Promise<Tenure>;
  /** The partitions it holds, once there are that many. */
  holds(count: number): Promise<number[]>;
  stop(): Promise<void>;
};

export async function startReader(settings: KafkaSettings, times: Partial<ReaderTimes> = {}): Promise<TestReader> {
  const log = createLog('silent');
  const deps = { clock: systemClock, log, random: Math.random };
  const reader = await openTopicReader(deps, settings, { ...SHORT_SESSION, ...times });
  const tenures: Tenure[] = [];
  const stop = new AbortController();
  const done = reader.run({ taken: (tenure) => void tenures.push(tenure) }, stop.signal);
  const current = () => tenures.filter(({ over }) => !over.aborted);

  return {
    reader,
    tenures,
    holding: (partition) => until(() => current().find((tenure) => tenure.partition === partition)),
    async holds(count) {
      const held = await until(() => (current().length === count ? current() : undefined));
      return held.map(({ partition }) => partition).sort((a, b) => a - b);
    },
    async stop() {
      stop.abort();
      await done;
    },
  };
}

/** The first value that is there. The test's own time limit ends it. */
export async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await delay(10);
  }
}

/** All records from `from` to the end that there is when it is reached. */
export async function readAll(tenure: Tenure, from = tenure.start): Promise<TopicRecord[]> {
  const all: TopicRecord[] = [];
  for (let at = from; ;) {
    const { records, end } = await tenure.read(at, 1024 * 1024);
    all.push(...records);
    at = records.length > 0 ? records.at(-1)!.offset + 1 : end;
    if (at >= end) return all;
  }
}
