/** What brokers say of a topic's settings. */
import { MAX_VALUE_BYTES } from './packing.ts';
import type { Requests } from './requests.ts';

const TOPIC = 2;
/** Kafka's own default. */
const DEFAULT_MAX_MESSAGE_BYTES = 1_048_588;

/** By name; empty where the user may not see them. Throws the driver's error. */
export async function readTopicSettings(requests: Requests, topic: string): Promise<ReadonlyMap<string, string>> {
  const answer = await requests.ask('any', 'DescribeConfigs', [[{ resourceType: TOPIC, resourceName: topic }]]);
  const [result] = answer.results;
  return new Map((result?.configs ?? []).flatMap(({ name, value }) => (value == null ? [] : [[name, value] as const])));
}

export const maxMessageBytesIn = (settings: ReadonlyMap<string, string>): number =>
  Number(settings.get('max.message.bytes') ?? DEFAULT_MAX_MESSAGE_BYTES);

/**
 * What a record adds to its value and its head: the heads of the batch and of the record are some 100 bytes, and lz4
 * adds a little to what it cannot make smaller. Readers take no larger value, whatever the topic takes.
 */
export const largestRecordBytes = (maxMessageBytes: number): number =>
  Math.min(MAX_VALUE_BYTES, Math.max(0, maxMessageBytes - 1_024 - Math.ceil(maxMessageBytes / 1_024)));
