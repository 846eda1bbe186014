/**
 * A broker between intake and inserts: what it costs beside the local journal, and how fast a backlog leaves the topic
 * when ClickHouse is back. The broker shares the machine with everything else.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kafka, startKafka } from '../support/kafka.ts';
import { createBodies, type Bodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { cpuMsOf } from './support/process-usage.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { prepare, sendAll, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf, rounded } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';
const PARTITIONS = 4;
const CONNECTIONS = 16;
const BATCH_EVENTS = 500;
/** A whole round fits in, and its rest does not wait: neither refusals are measured nor the flush interval. */
const ROOM = { INGEST_EVENT_BUFFER: '250000', INGEST_BUFFER_BYTES: '256MiB', INGEST_FLUSH_INTERVAL: '200ms' };
const POLL_MS = 50;
const STORED_WITHIN_MS = 120_000;

type Round = {
  readonly acknowledgedPerS: number;
  /** From the first request until the last event was stored. */
  readonly storedPerS: number;
  readonly cpuSPerMillion: number;
  /** Of the broker, which other services share in earnest; 0 without one. */
  readonly brokerSPerMillion: number;
};

export const scenario: Scenario = {
  name: 'kafka',
  about:
    'Events through a topic ÷ through the local journal, with one process that does both: acknowledged and stored a ' +
    'second, processor time of Weir per million. And a backlog in the topic: memory, and how fast it is stored.',
  async run(context) {
    const { isQuick, seed, say } = context;
    const kafka = await startKafka();
    const grounds = await openGrounds({ settings: ROOM });
    try {
      // Those that share a topic share its partitions.
      const through = async (topic: string) => {
        await kafka.createTopic(topic, { partitions: PARTITIONS });
        return { CHANNEL: 'kafka', KAFKA_BROKERS: kafka.broker, KAFKA_TOPIC: topic };
      };
      const weirs = {
        local: await grounds.startBenched(),
        topic: await grounds.startBenched(await through('journaled')),
        memory: await grounds.startBenched({ ...(await through('in-memory')), INGEST_JOURNAL: 'off' }),
      };
      const bodies = createBodies(seed);
      const events = isQuick ? 40_000 : 200_000;
      const round = (weir: BenchedWeir) => measureRound(grounds, { weir, bodies, events, kafka });
      const ways = {
        local: () => round(weirs.local),
        topic: () => round(weirs.topic),
        memory: () => round(weirs.memory),
      };
      say('batches');
      await alternately(1, ways);
      const { local, topic, memory } = await alternately(isQuick ? 3 : 9, ways);
      const figures = [
        ratioOf('stored, topic ÷ journal', eachOf(topic, 'storedPerS'), eachOf(local, 'storedPerS'), {
          bar: { atLeast: 0.5 },
          guard: 'more is better',
        }),
        ratioOf('CPU, topic ÷ journal', eachOf(topic, 'cpuSPerMillion'), eachOf(local, 'cpuSPerMillion'), {
          bar: { atMost: 1.6 },
          guard: 'less is better',
        }),
        figureOf('stored, topic', eachOf(topic, 'storedPerS'), 'events/s'),
        figureOf('acknowledged, topic, journaled', eachOf(topic, 'acknowledgedPerS'), 'events/s'),
        figureOf('acknowledged, topic, replicated', eachOf(memory, 'acknowledgedPerS'), 'events/s'),
        figureOf('CPU, topic', eachOf(topic, 'cpuSPerMillion'), 's/million'),
        figureOf('CPU, topic without a journal', eachOf(memory, 'cpuSPerMillion'), 's/million'),
        figureOf('CPU of the broker', eachOf(topic, 'brokerSPerMillion'), 's/million'),
      ];
      for (const weir of Object.values(weirs)) await weir.stop();
      figures.push(...(await measureBacklog({ grounds, kafka, bodies }, context)));
      return figures;
    } finally {
      await grounds.stop();
      await kafka.stop();
    }
  },
};

type RoundOf = {
  readonly weir: BenchedWeir;
  readonly bodies: Bodies;
  readonly events: number;
  readonly kafka: Kafka;
};

async function measureRound(grounds: Grounds, { weir, bodies, events, kafka }: RoundOf): Promise<Round> {
  const requests = requestsOf(weir, grounds, bodies, events);
  const before = await storedBy(weir);
  const [cpuBefore, brokerBefore] = [weir.cpuMs(), cpuMsOf(kafka.pid())];
  const startedAt = performance.now();
  const { acknowledged, elapsedMs } = await sendAll(weir, { requests, connections: CONNECTIONS });
  await untilStored(weir, before + acknowledged);
  const storedMs = performance.now() - startedAt;
  const [cpuMs, brokerMs] = [weir.cpuMs() - cpuBefore, cpuMsOf(kafka.pid()) - brokerBefore];
  await grounds.expectStored(acknowledged);
  await grounds.forget();
  return {
    acknowledgedPerS: (acknowledged * 1_000) / elapsedMs,
    storedPerS: (acknowledged * 1_000) / storedMs,
    cpuSPerMillion: (cpuMs * 1_000) / acknowledged,
    brokerSPerMillion: (brokerMs * 1_000) / acknowledged,
  };
}

/**
 * A process that takes events while the one that inserts has no ClickHouse: the topic holds them. Then it is back, and
 * events come at a tenth of the rate at which the backlog could leave.
 */
async function measureBacklog(
  { grounds, kafka, bodies }: { grounds: Grounds; kafka: Kafka; bodies: Bodies },
  { isQuick, say }: BenchContext,
): Promise<Figure[]> {
  const { stores } = grounds;
  await kafka.createTopic('backlog', { partitions: PARTITIONS });
  const through = { CHANNEL: 'kafka', KAFKA_BROKERS: kafka.broker, KAFKA_TOPIC: 'backlog' };
  const ingest = await grounds.startBenched({ ...through, WEIR_ROLE: 'ingest' });
  const flush = await grounds.startBenched({ ...through, WEIR_ROLE: 'flush' });
  const events = isQuick ? 200_000 : 10_000_000;
  const step = 200_000;
  await stores.clickhouseServer.stop();
  const peaks: number[] = [];
  let acknowledged = 0;
  for (let sent = 0; sent < events; sent += step) {
    say(`${sent} of ${events} events wait in the topic`);
    const requests = requestsOf(ingest, grounds, bodies, step);
    ({ acknowledged } = await sendAll(ingest, { requests, connections: CONNECTIONS }).then((one) => ({
      acknowledged: acknowledged + one.acknowledged,
    })));
    peaks.push(flush.peakRssMiB());
  }
  const before = await storedBy(flush);
  await stores.clickhouseServer.start();
  const startedAt = performance.now();
  await untilStored(flush, before + acknowledged);
  const storedMs = performance.now() - startedAt;
  await grounds.expectStored(acknowledged);
  const figures = [
    { name: 'backlog: events', value: acknowledged, unit: 'events' },
    { name: 'backlog: stored', value: Math.round((acknowledged * 1_000) / storedMs), unit: 'events/s' },
    { name: 'backlog: peak RSS of the process that inserts', value: Math.round(flush.peakRssMiB()), unit: 'MiB' },
    {
      name: 'backlog: its memory at the end ÷ at a tenth',
      value: rounded(peaks.at(-1)! / peaks[Math.floor(peaks.length / 10)]!),
      unit: 'ratio',
      bar: { atMost: 1.2 },
    },
    { name: 'backlog: peak RSS of the process that takes events', value: Math.round(ingest.peakRssMiB()), unit: 'MiB' },
  ];
  await ingest.stop();
  await flush.stop();
  return figures;
}

function requestsOf(weir: BenchedWeir, { token }: Grounds, bodies: Bodies, events: number) {
  const target = targetOf(weir, PATH, { token });
  return Array.from({ length: events / BATCH_EVENTS }, () =>
    prepare(target, bodies.nativeBatch(BATCH_EVENTS), BATCH_EVENTS),
  );
}

/** How many events the process has stored since its start. */
async function storedBy({ url }: BenchedWeir): Promise<number> {
  const page = await (await fetch(`${url}/internal/metrics`)).text();
  return Number(/^weir_events_total\{result="stored"\} (\d+)/m.exec(page)![1]);
}

async function untilStored(weir: BenchedWeir, stored: number): Promise<void> {
  for (const until = performance.now() + STORED_WITHIN_MS; (await storedBy(weir)) < stored; await sleep(POLL_MS)) {
    if (performance.now() > until) throw new Error(`not all was stored within ${STORED_WITHIN_MS} ms`);
  }
}
