/**
 * What a console that looks costs: events stored a second with a page that reads the live view, by turns with the page
 * closed, and with a service that has no console. The page is open only during its rounds, and so is nothing of it beside
 * the others. Two processes of the same program differ by several per cent for as long as they run: each pair has a few
 * rounds, and what looking costs is also measured within one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LiveBatch } from '../../src/console/watch/answers.ts';
import { type LiveReader, type Visitor, visitConsole } from '../support/console-visitor.ts';
import { freePort } from '../support/ports.ts';
import { type Bodies, createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, PROMPT, openGrounds } from './support/grounds.ts';
import { offer, percentilesOf } from './support/load.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { type Measured, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, eachOf, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';

const PACED_PER_S = 5_000;
const PACED = `single events, ${PACED_PER_S} a second`;

type Cell = {
  readonly name: string;
  readonly size: number;
  readonly connections: number;
  readonly events: number;
  /** Of each pair of Weirs. */
  readonly rounds: number;
  /** What the page asks for. */
  readonly query: string;
};

const PAIRS = 6;
/** Many rounds, none too short for what happens once a second: what the stores do meanwhile differs by far more than what is measured. */
const FULL: readonly Cell[] = [
  { name: 'batches of 500', size: 500, connections: 16, events: 200_000, rounds: 3, query: '' },
  { name: 'batches of 500, a rare name', size: 500, connections: 16, events: 200_000, rounds: 2, query: '?event=rare' },
  { name: 'single events', size: 1, connections: 64, events: 40_000, rounds: 3, query: '' },
];
const QUICK: readonly Cell[] = [{ ...FULL[0]!, rounds: 5 }];

export const scenario: Scenario = {
  name: 'console',
  about:
    'Events stored a second, and processor time of Weir, with a console whose live view is read ÷ without one, and ÷ ' +
    'with the page closed.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: PROMPT });
    try {
      const cells = (isQuick ? QUICK : FULL).map((cell) => ({ cell, measured: [] as RoundsOf[] }));
      const paced: Paced[] = [];
      for (let pair = 1; pair <= (isQuick ? 1 : PAIRS); pair++) {
        const bench = { grounds, bodies: createBodies(seed), ...(await startPair(grounds)) };
        for (const { cell, measured } of cells) {
          say(`${cell.name}, pair ${pair}`);
          measured.push(await measureCell(bench, cell));
        }
        say(`${PACED}, pair ${pair}`);
        paced.push(await measurePaced(bench, isQuick));
        bench.visitor.leave();
        await bench.looked.stop();
        await bench.alone.stop();
      }
      return [...cells.flatMap(({ cell, measured }) => figuresOf(cell, measured)), ...pacedFigures(paced)];
    } finally {
      await grounds.stop();
    }
  },
};

type Bench = {
  readonly grounds: Grounds;
  readonly bodies: Bodies;
  readonly looked: BenchedWeir;
  readonly alone: BenchedWeir;
  readonly visitor: Visitor;
};
type RoundsOf = {
  readonly looked: Measured[];
  /** By the service that has a console, with the page closed. */
  readonly closed: Measured[];
  readonly alone: Measured[];
  readonly shown: number[];
};

async function startPair(grounds: Grounds): Promise<Pick<Bench, 'looked' | 'alone' | 'visitor'>> {
  const port = freePort();
  const looked = await grounds.startBenched({ CONSOLE_PORT: String(port) });
  const alone = await grounds.startBenched({ CONSOLE_PORT: 'off' });
  return { looked, alone, visitor: await visitConsole(grounds.stores, port) };
}

async function measureCell({ grounds, bodies, looked, alone, visitor }: Bench, cell: Cell): Promise<RoundsOf> {
  const shown: number[] = [];
  const ways = {
    async looked() {
      const live = await visitor.live(cell.query);
      // Opening the page is no part of what looking costs.
      while (live.all('rates').length === 0) await sleep(50);
      const measured = await measureRound(grounds, looked, cell, bodies);
      shown.push(shownIn(live));
      live.close();
      return measured;
    },
    closed: () => measureRound(grounds, looked, cell, bodies),
    alone: () => measureRound(grounds, alone, cell, bodies),
  };
  // The first round of a kind meets code that was never run like that.
  await alternately(1, ways);
  const rounds = await alternately(cell.rounds, ways);
  return { ...rounds, shown };
}

function figuresOf({ name }: Cell, pairs: readonly RoundsOf[]): Figure[] {
  const [looked, closed, alone] = (['looked', 'closed', 'alone'] as const).map((way) =>
    pairs.flatMap((pair) => pair[way]),
  ) as [Measured[], Measured[], Measured[]];
  const stored = (rounds: readonly Measured[]) => eachOf(rounds, 'storedPerS');
  const cpu = (rounds: readonly Measured[]) => eachOf(rounds, 'cpuSPerMillion');
  return [
    ratioOf(`${name}: stored, looked at ÷ no console`, stored(looked), stored(alone), { bar: { atLeast: 0.97 } }),
    ratioOf(`${name}: stored, looked at ÷ page closed`, stored(looked), stored(closed), { bar: { atLeast: 0.97 } }),
    ratioOf(`${name}: CPU, looked at ÷ no console`, cpu(looked), cpu(alone)),
    ratioOf(`${name}: CPU, looked at ÷ page closed`, cpu(looked), cpu(closed)),
    figureOf(`${name}: stored, no console`, stored(alone), 'events/s'),
    figureOf(
      `${name}: shown in a round`,
      pairs.flatMap(({ shown }) => shown),
      'events',
    ),
  ];
}

function measureRound(grounds: Grounds, weir: BenchedWeir, { size, connections, events }: Cell, bodies: Bodies) {
  const target = targetOf(weir, PATH, { token: grounds.token });
  const requests = Array.from({ length: events / size }, () => prepare(target, bodies.nativeBatch(size), size));
  return measureSending(grounds, weir, { requests, connections });
}

type Answers = ReturnType<typeof percentilesOf> & { readonly refused: number };
type Paced = { readonly looked: Answers[]; readonly alone: Answers[] };

/** Single events at a constant rate: all are stored, and what counts is how long their answers take. */
async function measurePaced({ grounds, bodies, looked, alone, visitor }: Bench, isQuick: boolean): Promise<Paced> {
  const live = await visitor.live();
  const paced = async (weir: BenchedWeir) => {
    const target = targetOf(weir, PATH, { token: grounds.token });
    const event = prepare(target, bodies.nativeBatch(1), 1);
    const { statuses, failures, latency } = await offer({
      port: weir.port,
      maxConnections: 256,
      durationMs: isQuick ? 2_000 : 6_000,
      rateAt: () => PACED_PER_S,
      next: () => ({ request: event.request }),
    });
    await weir.settled();
    await grounds.forget();
    const refused = [...statuses].reduce((sum, [status, count]) => sum + (status < 300 ? 0 : count), failures);
    return { ...percentilesOf(latency), refused };
  };
  const rounds = await alternately(1, { looked: () => paced(looked), alone: () => paced(alone) });
  live.close();
  return rounds;
}

function pacedFigures(pairs: readonly Paced[]): Figure[] {
  const looked = pairs.flatMap((pair) => pair.looked);
  const alone = pairs.flatMap((pair) => pair.alone);
  return [
    figureOf(`${PACED}: not accepted`, eachOf([...looked, ...alone], 'refused'), 'requests', { bar: { atMost: 0 } }),
    figureOf(`${PACED}: p99, looked at`, eachOf(looked, 'p99'), 'ms'),
    figureOf(`${PACED}: p99, not looked at`, eachOf(alone, 'p99'), 'ms'),
  ];
}

const shownIn = (live: LiveReader) => live.all<LiveBatch>('batch').reduce((sum, { shown }) => sum + shown, 0);
