/** What the scenarios with a broker share: Weirs on one topic, requests for them, and what they have stored. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from '../../support/kafka.ts';
import type { Bodies } from './bodies.ts';
import type { BenchedWeir, Grounds } from './grounds.ts';
import { prepare, targetOf } from './sending.ts';

export const PARTITIONS = 4;
export const BATCH_EVENTS = 500;
const PATH = '/api/v1/ingest/events';
const POLL_MS = 50;
const STORED_WITHIN_MS = 300_000;

/** Makes the topic. The settings of a Weir on it: those that share a topic share its partitions. */
export async function throughTopic(kafka: Kafka, topic: string): Promise<Record<string, string>> {
  await kafka.createTopic(topic, { partitions: PARTITIONS });
  return { CHANNEL: 'kafka', KAFKA_BROKERS: kafka.broker, KAFKA_TOPIC: topic };
}

export function requestsOf(
  weir: BenchedWeir,
  { token }: Pick<Grounds, 'token'>,
  bodies: Bodies,
  { events, perRequest = BATCH_EVENTS }: { events: number; perRequest?: number },
) {
  const target = targetOf(weir, PATH, { token });
  return Array.from({ length: events / perRequest }, () => prepare(target, bodies.nativeBatch(perRequest), perRequest));
}

/** How many events these processes have stored since their start. */
export async function storedBy(...weirs: readonly BenchedWeir[]): Promise<number> {
  const each = weirs.map(async ({ url }) => {
    const page = await (await fetch(`${url}/internal/metrics`)).text();
    return Number(/^weir_events_total\{result="stored"\} (\d+)/m.exec(page)![1]);
  });
  return (await Promise.all(each)).reduce((sum, stored) => sum + stored, 0);
}

/** Waits until they have stored so many; `wanted` is asked again at each look. */
export async function untilStored(weirs: readonly BenchedWeir[], wanted: () => number): Promise<void> {
  for (
    const until = performance.now() + STORED_WITHIN_MS;
    (await storedBy(...weirs)) < wanted();
    await sleep(POLL_MS)
  ) {
    if (performance.now() > until) throw new Error(`not all was stored within ${STORED_WITHIN_MS} ms`);
  }
}
