/**
 * A broker between intake and inserts: what it costs beside the local journal. The broker shares the machine with
 * everything else.
 */
import { type Kafka, startKafka } from '../support/kafka.ts';
import { createBodies, type Bodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, PROMPT, openGrounds } from './support/grounds.ts';
import { percentilesOf } from './support/load.ts';
import { cpuMsOf } from './support/process-usage.ts';
import type { Scenario } from './support/scenario.ts';
import { latencyFigures, sendAll } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';
import { BATCH_EVENTS, requestsOf, storedBy, throughTopic, untilStored } from './support/topics.ts';

const CONNECTIONS = 16;
/** Of the requests with one event each. */
const SINGLES = { connections: 64, perRequest: 1 } as const;

type Round = {
  readonly acknowledgedPerS: number;
  /** From the first request until the last event was stored. */
  readonly storedPerS: number;
  readonly cpuSPerMillion: number;
  /** Of the broker, which other services share in earnest; 0 without one. */
  readonly brokerSPerMillion: number;
  readonly latencyMs: ReturnType<typeof percentilesOf>;
};

export const scenario: Scenario = {
  name: 'kafka',
  about:
    'Events through a topic ÷ through the local journal, with one process that does both: acknowledged and stored a ' +
    'second, processor time of Weir per million. And single events that the brokers confirmed.',
  async run(context) {
    const { isQuick, seed, say } = context;
    const kafka = await startKafka();
    const grounds = await openGrounds({ settings: PROMPT });
    try {
      const weirs = {
        local: await grounds.startBenched(),
        topic: await grounds.startBenched(await throughTopic(kafka, 'journaled')),
        memory: await grounds.startBenched({ ...(await throughTopic(kafka, 'in-memory')), INGEST_JOURNAL: 'off' }),
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
        ratioOf(
          'CPU, replicated by the topic ÷ journal',
          eachOf(memory, 'cpuSPerMillion'),
          eachOf(local, 'cpuSPerMillion'),
          {
            bar: { atMost: 1.6 },
            guard: 'less is better',
          },
        ),
        ratioOf('CPU, journal and topic ÷ journal', eachOf(topic, 'cpuSPerMillion'), eachOf(local, 'cpuSPerMillion')),
        ratioOf('stored, replicated by the topic ÷ journal', eachOf(memory, 'storedPerS'), eachOf(local, 'storedPerS')),
        figureOf('stored, topic', eachOf(topic, 'storedPerS'), 'events/s'),
        figureOf('acknowledged, topic, journaled', eachOf(topic, 'acknowledgedPerS'), 'events/s'),
        figureOf('acknowledged, topic, replicated', eachOf(memory, 'acknowledgedPerS'), 'events/s'),
        figureOf('CPU, topic', eachOf(topic, 'cpuSPerMillion'), 's/million'),
        figureOf('CPU, topic without a journal', eachOf(memory, 'cpuSPerMillion'), 's/million'),
        figureOf('CPU of the broker', eachOf(topic, 'brokerSPerMillion'), 's/million'),
      ];
      say('single events');
      const single = (weir: BenchedWeir) =>
        measureRound(grounds, { weir, bodies, events: isQuick ? 20_000 : 100_000, kafka, ...SINGLES });
      const singles = await alternately(isQuick ? 2 : 5, {
        local: () => single(weirs.local),
        memory: () => single(weirs.memory),
      });
      figures.push(
        ratioOf(
          'single events acknowledged, replicated ÷ journaled',
          eachOf(singles.memory, 'acknowledgedPerS'),
          eachOf(singles.local, 'acknowledgedPerS'),
        ),
        figureOf('single events acknowledged, replicated', eachOf(singles.memory, 'acknowledgedPerS'), 'events/s'),
        ...latencyFigures('single events, replicated', singles.memory),
      );
      for (const weir of Object.values(weirs)) await weir.stop();
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
  readonly connections?: number;
  readonly perRequest?: number;
};

async function measureRound(
  grounds: Grounds,
  { weir, bodies, events, kafka, connections = CONNECTIONS, perRequest = BATCH_EVENTS }: RoundOf,
): Promise<Round> {
  const requests = requestsOf(weir, grounds, bodies, { events, perRequest });
  const before = await storedBy(weir);
  const [cpuBefore, brokerBefore] = [weir.cpuMs(), cpuMsOf(kafka.pid())];
  const startedAt = performance.now();
  const { acknowledged, elapsedMs, latency } = await sendAll(weir, { requests, connections });
  await untilStored([weir], () => before + acknowledged);
  const storedMs = performance.now() - startedAt;
  const [cpuMs, brokerMs] = [weir.cpuMs() - cpuBefore, cpuMsOf(kafka.pid()) - brokerBefore];
  await grounds.expectStored(acknowledged);
  await grounds.forget();
  return {
    acknowledgedPerS: (acknowledged * 1_000) / elapsedMs,
    storedPerS: (acknowledged * 1_000) / storedMs,
    cpuSPerMillion: (cpuMs * 1_000) / acknowledged,
    brokerSPerMillion: (brokerMs * 1_000) / acknowledged,
    latencyMs: percentilesOf(latency),
  };
}
