/**
 * One event a request, as browsers and small services send: against a bare
 * `node:http` server that parses the same bytes and answers as much. What is
 * between the two is everything Weir does for an event.
 */
import { type Bodies, createBodies } from './support/bodies.ts';
import { type Benched, type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { percentilesOf } from './support/load.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { latencyFigures, measureSending, prepare, sendAll, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/events';
const FEW = 64;
const MANY = 256;

type Round = {
  readonly requestsPerS: number;
  readonly cpuUs: number;
  readonly latencyMs: ReturnType<typeof percentilesOf>;
  readonly refused: number;
};
type Place = {
  readonly grounds: Grounds;
  readonly bodies: Bodies;
  readonly weir: BenchedWeir;
  /** Without a journal. */
  readonly memory: BenchedWeir;
  readonly bare: Benched;
};

export const scenario: Scenario = {
  name: 'singles',
  about:
    'POST /events with one product event over 64 and 256 connections: requests a second of Weir ÷ those of a bare ' +
    'node:http server that parses the same body and answers 202, and the processor time of both; over 64 without a ' +
    'journal ÷ with.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds();
    try {
      const place: Place = {
        grounds,
        bodies: createBodies(seed),
        weir: await grounds.startBenched(),
        memory: await grounds.startBenched({ INGEST_JOURNAL: 'off' }),
        bare: await grounds.startBare(),
      };
      const count = isQuick ? 10_000 : 50_000;
      const ways = (connections: number, events: number) => ({
        weir: () => sendToWeir(place, place.weir, { count: events, connections }),
        bare: () => sendToBare(place, { count: events, connections }),
      });
      const few = (events: number) => ({
        ...ways(FEW, events),
        memory: () => sendToWeir(place, place.memory, { count: events, connections: FEW }),
      });
      say('warming up');
      await alternately(1, few(10_000));
      await alternately(1, ways(MANY, 10_000));
      say(`${MANY} connections`);
      const ofMany = await alternately(isQuick ? 7 : 15, ways(MANY, count));
      say(`${FEW} connections`);
      const ofFew = await alternately(isQuick ? 7 : 15, few(count));
      const figures = [
        ...figuresOf('', ofMany, { requests: 0.7 }),
        ...figuresOf(`${FEW} connections: `, ofFew, { requests: 0.6, cpu: 1.4 }),
        ...memoryFigures(ofFew),
        figureOf('refused and sent again', eachOf([...ofMany.weir, ...ofFew.weir], 'refused'), 'requests'),
        figureOf('peak RSS', [place.weir.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }),
      ];
      await place.weir.stop();
      await place.memory.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};

function figuresOf(
  name: string,
  of: Readonly<Record<'weir' | 'bare', readonly Round[]>>,
  bars: { readonly requests: number; readonly cpu?: number },
): Figure[] {
  return [
    ratioOf(`${name}requests, Weir ÷ bare`, eachOf(of.weir, 'requestsPerS'), eachOf(of.bare, 'requestsPerS'), {
      bar: { atLeast: bars.requests },
      guard: 'more is better',
    }),
    ratioOf(`${name}CPU of a request, Weir ÷ bare`, eachOf(of.weir, 'cpuUs'), eachOf(of.bare, 'cpuUs'), {
      ...(bars.cpu !== undefined && { bar: { atMost: bars.cpu } }),
      guard: 'less is better',
    }),
    ...(['weir', 'bare'] as const).flatMap((who) => [
      figureOf(`${name}${who}: requests`, eachOf(of[who], 'requestsPerS'), '1/s'),
      figureOf(`${name}${who}: CPU of a request`, eachOf(of[who], 'cpuUs'), 'µs'),
      ...latencyFigures(`${name}${who}`, of[who]),
    ]),
  ];
}

/** Not guarded: a faster journal is no loss. */
function memoryFigures({ weir, memory }: Readonly<Record<'weir' | 'memory', readonly Round[]>>): Figure[] {
  const name = `${FEW} connections`;
  return [
    ratioOf(`${name}: requests, memory ÷ journal`, eachOf(memory, 'requestsPerS'), eachOf(weir, 'requestsPerS'), {
      bar: { atLeast: 1.25 },
    }),
    figureOf(`${name}: weir, no journal: requests`, eachOf(memory, 'requestsPerS'), '1/s'),
    figureOf(`${name}: weir, no journal: CPU of a request`, eachOf(memory, 'cpuUs'), 'µs'),
  ];
}

type Load = { readonly count: number; readonly connections: number };

async function sendToWeir({ grounds, bodies }: Place, to: BenchedWeir, { count, connections }: Load): Promise<Round> {
  const load = { requests: prepared({ grounds, bodies }, to, count), connections };
  const { requestsPerS, cpuMs, latencyMs, refused } = await measureSending(grounds, to, load);
  return { requestsPerS, cpuUs: (cpuMs * 1_000) / count, latencyMs, refused };
}

async function sendToBare({ grounds, bodies, bare }: Place, { count, connections }: Load): Promise<Round> {
  const load = { requests: prepared({ grounds, bodies }, bare, count), connections };
  const cpuBefore = bare.cpuMs();
  const { elapsedMs, latency, refused } = await sendAll(bare, load);
  const cpuUs = ((bare.cpuMs() - cpuBefore) * 1_000) / count;
  return { requestsPerS: (count * 1_000) / elapsedMs, cpuUs, latencyMs: percentilesOf(latency), refused };
}

function prepared({ grounds, bodies }: Pick<Place, 'grounds' | 'bodies'>, at: Benched, count: number) {
  const target = targetOf(at, PATH, { token: grounds.token, 'content-type': 'application/json' });
  return Array.from({ length: count }, () => prepare(target, bodies.productEvent(), 1));
}
