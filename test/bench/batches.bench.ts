/**
 * Batches in the native format, from one event to 500 a request, over few and many
 * connections, plain and compressed. Each with the journal on and off, by turns:
 * what durability costs is the ratio of the two.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Bodies, createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, PROMPT, openGrounds } from './support/grounds.ts';
import { cpuUsOfCall } from './support/own-cpu.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { type Measured, latencyFigures, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';

/** One kind of load. */
type Cell = {
  readonly size: number;
  readonly connections: number;
  readonly isGzip: boolean;
  /** In one round. */
  readonly events: number;
  readonly rounds: number;
  /** Whether the same is done without a journal. */
  readonly isCompared: boolean;
};

/** What the bars are about. Rounds of a second: in shorter ones, the last answers take much of the time. */
const MAIN: Cell = { size: 500, connections: 16, isGzip: false, events: 200_000, rounds: 15, isCompared: true };
const QUICK: readonly Cell[] = [
  { ...MAIN, events: 40_000, rounds: 7 },
  { ...MAIN, isGzip: true, events: 20_000, rounds: 1, isCompared: false },
  { ...MAIN, size: 1, connections: 64, events: 10_000, rounds: 1, isCompared: false },
];
const BESIDE: Cell = { ...MAIN, events: 50_000, rounds: 3 };
const FULL: readonly Cell[] = [
  MAIN,
  { ...BESIDE, connections: 1 },
  { ...BESIDE, connections: 64 },
  { ...BESIDE, isGzip: true },
  { ...BESIDE, size: 100, connections: 1 },
  { ...BESIDE, size: 100, connections: 64 },
  { ...BESIDE, size: 10, connections: 1, events: 10_000 },
  { ...BESIDE, size: 10, connections: 64, events: 10_000 },
  { ...BESIDE, size: 10, connections: 64, events: 10_000, isGzip: true },
  { ...BESIDE, size: 1, connections: 1, events: 10_000 },
  { ...BESIDE, size: 1, connections: 16, events: 10_000 },
  { ...BESIDE, size: 1, connections: 64, events: 10_000 },
];

const PARSE_MS = 200;
const IDLE_MS = 20_000;
const MEMORY_ROUNDS = 9;

type Round = Measured & {
  /** Of `JSON.parse` of the same bodies. */
  readonly parseSPerMillion: number;
  /** At the end of it. */
  readonly rssMiB: number;
};

export const scenario: Scenario = {
  name: 'batches',
  about:
    'Native batches, named events × connections, plain and gzip: throughput and latency, with the journal ÷ ' +
    'without; processor time of Weir per million events, also ÷ that of JSON.parse of the same bodies, and of ' +
    'ClickHouse; memory of a Weir that has nothing to do, and under load.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds();
    try {
      const bodies = createBodies(seed);
      const figures = isQuick ? [] : await measureMemory(grounds, bodies, say);
      const weirs = {
        on: await grounds.startBenched({ ...PROMPT, INGEST_JOURNAL: 'on' }),
        off: await grounds.startBenched({ ...PROMPT, INGEST_JOURNAL: 'off' }),
      };
      for (const cell of isQuick ? QUICK : FULL) {
        say(nameOf(cell));
        const round = (weir: BenchedWeir) => measureRound(grounds, { weir, cell, bodies });
        const ways = { on: () => round(weirs.on), off: () => (cell.isCompared ? round(weirs.off) : null) };
        // The first round of a kind meets code that was never run like that.
        await alternately(1, ways);
        const { on, off } = await alternately(cell.rounds, ways);
        const offs = off.filter((measured) => measured !== null);
        figures.push(...figuresOf(cell, on, offs));
      }
      figures.push(figureOf('peak RSS, journal on', [weirs.on.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }));
      figures.push(figureOf('peak RSS, journal off', [weirs.off.peakRssMiB()], 'MiB', { bar: { atMost: 512 } }));
      await weirs.on.stop();
      await weirs.off.stop();
      return figures;
    } finally {
      await grounds.stop();
    }
  },
};

/** Of a Weir with the settings that it has by itself: the others have room for whole rounds. */
async function measureMemory(grounds: Grounds, bodies: Bodies, say: BenchContext['say']): Promise<Figure[]> {
  say('memory');
  // The first start also makes the tables.
  await (await grounds.startBenched()).stop();
  const weir = await grounds.startBenched();
  // Whatever a start leaves behind is collected by then.
  await sleep(IDLE_MS);
  const idleMiB = weir.rssMiB();
  const { loaded } = await alternately(MEMORY_ROUNDS, {
    loaded: () => measureRound(grounds, { weir, cell: MAIN, bodies }),
  });
  const figures = [
    figureOf('RSS, idle', [idleMiB], 'MiB', { bar: { atMost: 80 } }),
    figureOf(`RSS, ${nameOf(MAIN)}`, eachOf(loaded, 'rssMiB'), 'MiB', { bar: { atMost: 180 } }),
    figureOf(`peak RSS, ${nameOf(MAIN)}`, [weir.peakRssMiB()], 'MiB'),
  ];
  await weir.stop();
  return figures;
}

async function measureRound(
  grounds: Grounds,
  { weir, cell, bodies }: { weir: BenchedWeir; cell: Cell; bodies: Bodies },
): Promise<Round> {
  const { size, connections, isGzip } = cell;
  const plain = Array.from({ length: cell.events / size }, () => bodies.nativeBatch(size));
  const encoding = isGzip ? { 'content-encoding': 'gzip' } : {};
  const target = targetOf(weir, PATH, { token: grounds.token, ...encoding });
  const requests = plain.map((body) => prepare(target, isGzip ? gzipSync(body) : body, size));
  const parseUs = cpuUsOfCall(() => {
    for (const body of plain) JSON.parse(body.toString());
  }, PARSE_MS);
  const measured = await measureSending(grounds, weir, { requests, connections });
  return { ...measured, parseSPerMillion: parseUs / cell.events, rssMiB: weir.rssMiB() };
}

function figuresOf(cell: Cell, on: readonly Round[], off: readonly Round[]): Figure[] {
  const name = nameOf(cell);
  const [bars, guards] = isMain(cell) ? [BARS, GUARDS] : [{}, {}];
  return [
    figureOf(`${name}: CPU per million events`, eachOf(on, 'cpuSPerMillion'), 's', bars.cpu),
    ratioOf(`${name}: CPU ÷ JSON.parse`, eachOf(on, 'cpuSPerMillion'), eachOf(on, 'parseSPerMillion'), guards.cpu),
    figureOf(`${name}: CPU of ClickHouse per million events`, eachOf(on, 'storeSPerMillion'), 's'),
    ratioOf(
      `${name}: CPU of ClickHouse ÷ JSON.parse`,
      eachOf(on, 'storeSPerMillion'),
      eachOf(on, 'parseSPerMillion'),
      guards.cpu,
    ),
    figureOf(`${name}: acknowledged`, eachOf(on, 'acknowledgedPerS'), 'events/s'),
    figureOf(`${name}: stored`, eachOf(on, 'storedPerS'), 'events/s'),
    ...latencyFigures(name, on),
    figureOf(`${name}: refused and sent again`, eachOf([...on, ...off], 'refused'), 'requests'),
    ...(off.length > 0
      ? comparedFigures(name, on, off, { journal: { ...bars.journal, ...guards.journal }, memory: bars.memory })
      : []),
  ];
}

const BARS = {
  cpu: { bar: { atMost: 4.5 } },
  memory: { bar: { atLeast: 1 } },
  journal: { bar: { atLeast: 0.8 } },
} as const;
const GUARDS = { cpu: { guard: 'less is better' }, journal: { guard: 'more is better' } } as const;

/** What the journal costs. */
function comparedFigures(
  name: string,
  on: readonly Round[],
  off: readonly Round[],
  more: Readonly<Record<'journal' | 'memory', Pick<Figure, 'bar' | 'guard'> | undefined>>,
): Figure[] {
  return [
    ratioOf(
      `${name}: acknowledged, with ÷ without journal`,
      eachOf(on, 'acknowledgedPerS'),
      eachOf(off, 'acknowledgedPerS'),
      more.journal,
    ),
    // Not guarded: a faster journal is no loss.
    ratioOf(
      `${name}: acknowledged, memory ÷ journal`,
      eachOf(off, 'acknowledgedPerS'),
      eachOf(on, 'acknowledgedPerS'),
      more.memory,
    ),
    ratioOf(`${name}: stored, with ÷ without journal`, eachOf(on, 'storedPerS'), eachOf(off, 'storedPerS')),
    figureOf(`${name}, no journal: CPU per million events`, eachOf(off, 'cpuSPerMillion'), 's'),
    figureOf(`${name}, no journal: acknowledged`, eachOf(off, 'acknowledgedPerS'), 'events/s'),
    ...latencyFigures(`${name}, no journal`, off),
  ];
}

const isMain = ({ size, connections, isGzip }: Cell) =>
  size === MAIN.size && connections === MAIN.connections && !isGzip;

const nameOf = ({ size, connections, isGzip }: Cell) => `${size} × ${connections}${isGzip ? ' gzip' : ''}`;
