/**
 * What a second worker is worth to one that is saturated. Each has a part of a core, so that the machine has room
 * for two, for the load and for the stores; what is left of two is what they cost each other.
 */
import { type Bodies, createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, ROOM, openGrounds } from './support/grounds.ts';
import { saturate } from './support/load.ts';
import { childrenOf, cpuMsOf } from './support/process-usage.ts';
import { createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';
import { throttle } from './support/throttle.ts';

const BATCH_EVENTS = 500;
const CONNECTIONS = 64;

type Kind = {
  readonly name: string;
  readonly path: string;
  readonly body: (bodies: Bodies) => Buffer;
  /** Of a core, for each worker: of batches ClickHouse needs most of the machine. */
  readonly share: number;
};
type Round = { readonly storedPerS: number; readonly storeSPerMillion: number };

const KINDS: readonly Kind[] = [
  {
    name: 'batches',
    path: '/api/v1/ingest/events',
    body: ({ nativeBatch }) => nativeBatch(BATCH_EVENTS),
    share: 0.2,
  },
  { name: 'singles', path: '/events', body: ({ productEvent }) => productEvent(), share: 0.3 },
];

export const scenario: Scenario = {
  name: 'workers',
  about:
    'Events stored a second by two workers ÷ by one, each with a part of a core, in batches of 500 and one by one, ' +
    'and the processor time of ClickHouse, which is the limit when there are more.',
  async run(context) {
    const grounds = await openGrounds({ settings: ROOM });
    try {
      const bodies = createBodies(context.seed);
      const figures: Figure[] = [];
      const weirs = { one: await grounds.startBenched(), two: await grounds.startBenched({ WEIR_WORKERS: '2' }) };
      for (const kind of KINDS) figures.push(...(await measureKind({ grounds, bodies, weirs }, kind, context)));
      await weirs.one.stop();
      await weirs.two.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};

type Place = {
  readonly grounds: Grounds;
  readonly bodies: Bodies;
  readonly weirs: Readonly<Record<'one' | 'two', BenchedWeir>>;
};

async function measureKind(
  { grounds, bodies, weirs }: Place,
  kind: Kind,
  { isQuick, say }: BenchContext,
): Promise<Figure[]> {
  const forMs = isQuick ? 3_000 : 8_000;
  const pids = { one: [weirs.one.pid], two: childrenOf(weirs.two.pid) };
  const round = async (which: 'one' | 'two', lastsMs: number) => {
    say(`${kind.name}, ${which}`);
    const ends = pids[which].map((pid) => throttle(pid, { share: kind.share }));
    const measured = await measureRound({ grounds, bodies }, weirs[which], { kind, forMs: lastsMs });
    await Promise.all(ends.map((end) => end()));
    return measured;
  };
  await alternately(1, { one: () => round('one', 1_000), two: () => round('two', 1_000) });
  const { one, two } = await alternately(isQuick ? 1 : 5, {
    one: () => round('one', forMs),
    two: () => round('two', forMs),
  });
  return [
    ratioOf(`${kind.name}: stored by two ÷ by one`, eachOf(two, 'storedPerS'), eachOf(one, 'storedPerS'), {
      bar: { atLeast: 1.7 },
      guard: 'more is better',
    }),
    figureOf(`${kind.name}: stored by one with ${kind.share} of a core`, eachOf(one, 'storedPerS'), 'events/s'),
    figureOf(`${kind.name}: ClickHouse's CPU per million events`, eachOf(two, 'storeSPerMillion'), 's'),
  ];
}

async function measureRound(
  { grounds, bodies }: Pick<Place, 'grounds' | 'bodies'>,
  weir: BenchedWeir,
  { kind, forMs }: { kind: Kind; forMs: number },
): Promise<Round> {
  const roll = createRoll();
  const target = targetOf(weir, kind.path, { token: grounds.token, 'content-type': 'application/json' });
  const some = Array.from({ length: 32 }, () => kind.body(bodies));
  const { next, onAnswer } = numberedLoad(roll, target, some);
  const store = grounds.stores.clickhouseServer.pid();
  const [before, startedAt] = [cpuMsOf(store), performance.now()];
  const { failures } = await saturate({
    port: weir.port,
    connections: CONNECTIONS,
    next: () => (performance.now() - startedAt < forMs ? next() : null),
    onAnswer,
  });
  await weir.settled();
  const elapsedMs = performance.now() - startedAt;
  const storeMs = cpuMsOf(store) - before;
  const stored = roll.acknowledged();
  if (failures > 0 || roll.refused() > 0) throw new Error(`${failures} without an answer, ${roll.refused()} refused`);
  await grounds.expectStored(stored);
  await grounds.forget();
  return { storedPerS: (stored * 1_000) / elapsedMs, storeSPerMillion: (storeMs * 1_000) / stored };
}
