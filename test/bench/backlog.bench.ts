/**
 * A topic that fills while ClickHouse is away, and empties afterwards: memory meanwhile, and how fast it empties while
 * events go on arriving. And what a second process that inserts is worth to one that is saturated.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kafka, startKafka } from '../support/kafka.ts';
import { createBodies, type Bodies } from './support/bodies.ts';
import { type Grounds, ROOM, openGrounds } from './support/grounds.ts';
import { offer } from './support/load.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { sendAll } from './support/sending.ts';
import { rounded } from './support/statistics.ts';
import { throttle } from './support/throttle.ts';
import { BATCH_EVENTS, requestsOf, storedBy, throughTopic, untilStored } from './support/topics.ts';

const CONNECTIONS = 16;
const STEP_EVENTS = 200_000;
/** What arrives while the topic empties, as events a second. */
const ARRIVING_PER_S = 10_000;
/** The least for which ClickHouse is away: longer than all that is remembered of inserts in minutes. */
const AWAY_MS = 300_000;

type Place = { readonly grounds: Grounds; readonly kafka: Kafka; readonly bodies: Bodies };

export const scenario: Scenario = {
  name: 'backlog',
  about:
    'A topic while ClickHouse is away for five minutes and ten million events wait: memory, and how fast they are stored ' +
    'afterwards ÷ what arrives meanwhile. And events stored by two processes ÷ by one, each with a fifth of a core.',
  async run(context) {
    const kafka = await startKafka();
    const grounds = await openGrounds({ settings: ROOM });
    const place = { grounds, kafka, bodies: createBodies(context.seed) };
    try {
      return [...(await measureOutage(place, context)), ...(await measureSecond(place, context))];
    } finally {
      await grounds.stop();
      await kafka.stop();
    }
  },
};

async function measureOutage({ grounds, kafka, bodies }: Place, { isQuick, say }: BenchContext): Promise<Figure[]> {
  const { stores } = grounds;
  const through = await throughTopic(kafka, 'backlog');
  const ingest = await grounds.startBenched({ ...through, WEIR_ROLE: 'ingest' });
  const flush = await grounds.startBenched({ ...through, WEIR_ROLE: 'flush' });
  const events = isQuick ? 400_000 : 10_000_000;
  await stores.clickhouseServer.stop();
  const awaySince = performance.now();
  const peaks: number[] = [];
  let acknowledged = 0;
  for (let sent = 0; sent < events; sent += STEP_EVENTS) {
    say(`${sent} of ${events} events wait in the topic`);
    const requests = requestsOf(ingest, grounds, bodies, { events: STEP_EVENTS });
    acknowledged += (await sendAll(ingest, { requests, connections: CONNECTIONS })).acknowledged;
    peaks.push(flush.peakRssMiB());
  }
  const arrivals = beginArrivals();
  if (!isQuick) await sleep(Math.max(0, awaySince + AWAY_MS - performance.now()));
  say('ClickHouse is back');
  const before = await storedBy(flush);
  await stores.clickhouseServer.start();
  const startedAt = performance.now();
  // What arrived in the last second is on its way.
  await untilStored([flush], () => acknowledged - ARRIVING_PER_S);
  const storedPerS = (((await storedBy(flush)) - before) * 1_000) / (performance.now() - startedAt);
  await arrivals.end();
  await untilStored([flush], () => acknowledged);
  await grounds.expectStored(acknowledged);
  const figures = [
    { name: 'waiting', value: acknowledged, unit: 'events' },
    { name: 'stored afterwards', value: Math.round(storedPerS), unit: 'events/s' },
    {
      name: 'stored afterwards ÷ arriving meanwhile',
      value: rounded(storedPerS / ARRIVING_PER_S),
      unit: 'ratio',
      bar: { atLeast: 5 },
    },
    { name: 'peak RSS of the process that inserts', value: Math.round(flush.peakRssMiB()), unit: 'MiB' },
    {
      name: 'its memory at the end ÷ at a tenth',
      value: rounded(peaks.at(-1)! / peaks[Math.floor(peaks.length / 10)]!),
      unit: 'ratio',
      ...(isQuick ? {} : { bar: { atMost: 1.2 } }),
    },
    { name: 'peak RSS of the process that takes events', value: Math.round(ingest.peakRssMiB()), unit: 'MiB' },
  ];
  await ingest.stop();
  await flush.stop();
  await grounds.forget();
  return figures;

  function beginArrivals() {
    const over = new AbortController();
    const done = (async () => {
      while (!over.signal.aborted) {
        const { statuses, failures } = await offer({
          port: ingest.port,
          maxConnections: CONNECTIONS,
          durationMs: 1_000,
          rateAt: () => ARRIVING_PER_S / BATCH_EVENTS,
          next: () => requestsOf(ingest, grounds, bodies, { events: BATCH_EVENTS })[0]!,
          onAnswer: (status, sent) => {
            if (status === 202) acknowledged += sent.events;
          },
        });
        const isOdd = [...statuses.keys()].some((status) => status !== 202);
        if (failures > 0 || isOdd) throw new Error(`arriving events were answered ${JSON.stringify([...statuses])}`);
      }
    })();
    return {
      async end() {
        over.abort();
        await done;
      },
    };
  }
}

/** Each may use so much of a core: then one is saturated, and the machine has room for two. */
const SHARE = 0.2;

async function measureSecond({ grounds, kafka, bodies }: Place, { isQuick, say }: BenchContext): Promise<Figure[]> {
  const through = await throughTopic(kafka, 'shares');
  const ingest = await grounds.startBenched({ ...through, WEIR_ROLE: 'ingest' });
  let acknowledged = 0;
  for (let sent = 0; sent < (isQuick ? 600_000 : 2_000_000); sent += STEP_EVENTS) {
    const requests = requestsOf(ingest, grounds, bodies, { events: STEP_EVENTS });
    acknowledged += (await sendAll(ingest, { requests, connections: CONNECTIONS })).acknowledged;
  }
  const forMs = isQuick ? 4_000 : 10_000;
  say('one process inserts');
  const first = await grounds.startBenched({ ...through, WEIR_ROLE: 'flush' });
  const endFirst = throttle(first.pid, { share: SHARE });
  await untilStored([first], () => 1);
  const alone = await rateOf([first], forMs);
  say('a second one joins');
  const second = await grounds.startBenched({ ...through, WEIR_ROLE: 'flush' });
  const endSecond = throttle(second.pid, { share: SHARE });
  await untilStored([second], () => 1);
  const together = await rateOf([first, second], forMs);
  await endFirst();
  await endSecond();
  // What both had in hand when the second joined was stored by both, and is there once.
  while ((await grounds.stored()).events < acknowledged) await sleep(500);
  await grounds.expectStored(acknowledged);
  await Promise.all([ingest, first, second].map((weir) => weir.stop()));
  return [
    { name: `stored by one with ${SHARE} of a core`, value: Math.round(alone), unit: 'events/s' },
    {
      name: 'stored by two ÷ by one',
      value: rounded(together / alone),
      unit: 'ratio',
      bar: { atLeast: 1.6 },
    },
  ];
}

async function rateOf(weirs: Parameters<typeof untilStored>[0], forMs: number): Promise<number> {
  const [before, startedAt] = [await storedBy(...weirs), performance.now()];
  await sleep(forMs);
  return (((await storedBy(...weirs)) - before) * 1_000) / (performance.now() - startedAt);
}
