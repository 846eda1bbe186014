/** A broker for a file of tests, and what they need of it. Closes what a test opened. */
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from 'vitest';
import type { KafkaSettings } from '../../src/config/kafka-settings.ts';
import { openTopicWriter } from '../../src/kafka/writer.ts';
import { createLog } from '../../src/log/log.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { TopicEntry, TopicWriter } from '../../src/topic/topic-port.ts';
import { missingForKafka, startKafka, type Kafka } from './kafka.ts';
import { readAll, startReader, type TestReader } from './kafka-reader.ts';

export type KafkaWorld = {
  readonly kafka: Kafka;
  settingsOf(topic: string): KafkaSettings;
  /** Settings for a topic and a group of its own. */
  newTopic(options?: Parameters<Kafka['createTopic']>[1]): Promise<KafkaSettings>;
  newWriter(settings: KafkaSettings, times?: Parameters<typeof openTopicWriter>[2]): Promise<TopicWriter>;
  newReader(settings: KafkaSettings, times?: Parameters<typeof startReader>[1]): Promise<TestReader>;
  /** The values in a partition, by a reader of another group. */
  valuesIn(settings: KafkaSettings, partition?: number): Promise<string[]>;
};

const isRequired = Boolean(process.env['CI']);
const missing = missingForKafka();

/** Whether tests that need a broker are left out, which is said. In CI they fail where one cannot be started. */
export const isWithoutKafka = missing !== null && !isRequired;
if (isWithoutKafka) console.warn(`NOT RUN: the channel over Kafka. Install what is missing: ${missing}`);

export const soon = (): AbortSignal => AbortSignal.timeout(60_000);
export const entryOf = (text: string): TopicEntry => ({
  head: Buffer.from(`{"v":1,"id":"${text}"}`),
  chunks: [Buffer.from(`${text}\n`)],
});

/** To be called in a suite: its hooks start and stop the broker. */
export function inKafkaWorld(): KafkaWorld {
  let kafka: Kafka;
  let topics = 0;

  beforeAll(async () => {
    expect(missing, 'something is not installed that in CI has to be').toBeNull();
    kafka = await startKafka();
  });
  // A test that failed while it was frozen must not hold up the others.
  afterEach(() => kafka?.thaw());
  afterAll(async () => {
    await kafka?.stop();
  });

  return {
    get kafka() {
      return kafka;
    },
    settingsOf,
    async newTopic(options) {
      const topic = `topic-${++topics}`;
      await kafka.createTopic(topic, options);
      return settingsOf(topic);
    },
    async newWriter(settings, times) {
      const deps = { clock: systemClock, log: createLog('silent'), random: Math.random };
      const writer = await openTopicWriter(deps, settings, times);
      onTestFinished(() => writer.close());
      return writer;
    },
    async newReader(settings, times) {
      const reader = await startReader(settings, times);
      onTestFinished(() => reader.stop());
      return reader;
    },
    async valuesIn(settings, partition = 0) {
      const reader = await startReader({ ...settings, brokers: [kafka.broker], group: `looking-at-${settings.topic}` });
      const records = await readAll(await reader.holding(partition));
      await reader.stop();
      return records.map(({ value }) => value.toString().trim());
    },
  };

  function settingsOf(topic: string): KafkaSettings {
    return { brokers: [kafka.broker], topic, group: `group-of-${topic}`, instanceId: null, tls: null, sasl: null };
  }
}
