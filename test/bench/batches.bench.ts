/**
 * Batches in the native format, from one event to 500 a request, over few and many
 * connections, plain and compressed. Each with the journal on and off, by turns:
 * what durability costs is the ratio of the two.
 */
import { gzipSync } from 'node:zlib';
import { type Bodies, createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { cpuUsOfCall } from './support/own-cpu.ts';
import type { Figure, Scenario } from './support/scenario.ts';
import { type Measured, measureSending, prepare, targetOf } from './support/sending.ts';
import { alternately, figureOf, ratioOf } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';

/** One kind of load. */
type Cell = {
  readonly size: number;
  readonly connections: number;
  readonly isGzip: boolean;
  /** In one round: full batches for ClickHouse, so that no rest waits for the flush interval. */
  readonly events: number;
};

/** What the bars are about. */
const MAIN: Cell = { size: 500, connections: 16, isGzip: false, events: 100_000 };
const QUICK: readonly Cell[] = [
  MAIN,
  { ...MAIN, isGzip: true, events: 25_000 },
  { ...MAIN, size: 1, connections: 64, events: 5_000 },
];
const FULL: readonly Cell[] = [
  MAIN,
  { ...MAIN, isGzip: true },
  ...[500, 100, 10, 1].flatMap((size) => [
    { ...MAIN, size, connections: 1, events: eventsIn(size, 5_000) },
    ...(size === MAIN.size ? [] : [{ ...MAIN, size, events: eventsIn(size, 10_000) }]),
    { ...MAIN, size, connections: 64, events: eventsIn(size, 10_000) },
  ]),
  { ...MAIN, size: 10, connections: 64, isGzip: true, events: 20_000 },
];

/** A whole round fits in: what is measured is not how often requests are refused. */
const ROOM = { INGEST_EVENT_BUFFER: '200000', INGEST_BUFFER_BYTES: '256MiB' };
const PARSE_MS = 200;

type Round = Measured & {
  /** Of `JSON.parse` of the same bodies. */
  readonly parseSPerMillion: number;
};

export const scenario: Scenario = {
  name: 'batches',
  about:
    'Native batches of 1 to 500 events, 1 to 64 connections, plain and gzip: throughput and latency, with the journal ÷ ' +
    'without; processor time of Weir per million events, also ÷ that of JSON.parse of the same bodies.',
  async run({ isQuick, seed, say }) {
    const grounds = await openGrounds({ settings: ROOM });
    try {
      const bodies = createBodies(seed);
      const weirs = {
        on: await grounds.startBenched({ INGEST_JOURNAL: 'on' }),
        off: await grounds.startBenched({ INGEST_JOURNAL: 'off' }),
      };
      const round = (weir: BenchedWeir, cell: Cell) => measureRound(grounds, { weir, cell, bodies });
      say('warming up');
      await alternately(1, { on: () => round(weirs.on, MAIN), off: () => round(weirs.off, MAIN) });
      const figures: Figure[] = [];
      for (const cell of isQuick ? QUICK : FULL) {
        say(nameOf(cell));
        const rounds = cell === MAIN ? (isQuick ? 5 : 9) : isQuick ? 2 : 3;
        const isCompared = cell === MAIN || !isQuick;
        const { on, off } = await alternately(rounds, {
          on: () => round(weirs.on, cell),
          off: () => (isCompared ? round(weirs.off, cell) : null),
        });
        figures.push(
          ...figuresOf(
            cell,
            on,
            off.filter((measured) => measured !== null),
          ),
        );
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
  const measured = await measureSending(weir, { requests, connections });
  await grounds.expectStored(measured.acknowledged);
  await grounds.forget();
  return { ...measured, parseSPerMillion: parseUs / cell.events };
}

function figuresOf(cell: Cell, on: readonly Round[], off: readonly Round[]): Figure[] {
  const name = nameOf(cell);
  const isMain = cell === MAIN;
  const all = (rounds: readonly Round[], what: (round: Round) => number) => rounds.map(what);
  const cpu = (round: Round) => round.cpuSPerMillion;
  const parse = (round: Round) => round.parseSPerMillion;
  const acknowledged = (round: Round) => round.acknowledgedPerS;
  const stored = (round: Round) => round.storedPerS;
  return [
    figureOf(`${name}: CPU per million events`, all(on, cpu), 's', isMain ? { bar: { atMost: 10 } } : {}),
    ratioOf(`${name}: CPU ÷ JSON.parse`, all(on, cpu), all(on, parse), isMain ? { guard: 'less is better' } : {}),
    ...(off.length === 0
      ? []
      : [
          ratioOf(
            `${name}: acknowledged, with ÷ without journal`,
            all(on, acknowledged),
            all(off, acknowledged),
            isMain ? { guard: 'more is better', bar: { atLeast: 0.8 } } : {},
          ),
          ratioOf(
            `${name}: stored, with ÷ without journal`,
            all(on, stored),
            all(off, stored),
            isMain ? { bar: { atLeast: 0.8 } } : {},
          ),
        ]),
    figureOf(`${name}: acknowledged`, all(on, acknowledged), 'events/s'),
    figureOf(`${name}: stored`, all(on, stored), 'events/s'),
    figureOf(
      `${name}: p50`,
      all(on, ({ latencyMs }) => latencyMs.p50),
      'ms',
    ),
    figureOf(
      `${name}: p99`,
      all(on, ({ latencyMs }) => latencyMs.p99),
      'ms',
    ),
    figureOf(
      `${name}: p99.9`,
      all(on, ({ latencyMs }) => latencyMs.p999),
      'ms',
    ),
    ...(isMain
      ? [
          figureOf(`${name}, no journal: CPU per million events`, all(off, cpu), 's'),
          figureOf(`${name}, no journal: acknowledged`, all(off, acknowledged), 'events/s'),
          figureOf(
            `${name}, no journal: p99`,
            all(off, ({ latencyMs }) => latencyMs.p99),
            'ms',
          ),
          figureOf(
            `${name}: refused and sent again`,
            all([...on, ...off], ({ refused }) => refused),
            'requests',
          ),
        ]
      : []),
  ];
}

const nameOf = ({ size, connections, isGzip }: Cell) => `${size} × ${connections}${isGzip ? ' gzip' : ''}`;

/** At least `least`, and a thousand requests of the larger ones' size. */
function eventsIn(size: number, least: number): number {
  return Math.max(least, Math.min(100_000, size * 500));
}
