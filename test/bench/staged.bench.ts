/**
 * Single events at a given rate, stage by stage: up to 2 000 requests a second,
 * then at once to a share of what a bare server takes on this machine, and back; and
 * at last the same share of what Weir itself takes. In rounds, each with its own look
 * at what the two take: the machine is not the same from one minute to the next.
 * Requests are sent when they are due, not when the server has time, and their
 * latency counts from then.
 */
import { type RecordableHistogram, createHistogram, performance } from 'node:perf_hooks';
import { createBodies } from './support/bodies.ts';
import { type Benched, type Grounds, openGrounds } from './support/grounds.ts';
import { type Target, offer, percentilesOf, recordMs, saturate } from './support/load.ts';
import { type NumberedLoad, createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { targetOf } from './support/sending.ts';
import { allStored, conservationOf, merged } from './support/settling.ts';
import { figureOf, rounded } from './support/statistics.ts';

const PATH = '/events';
const HOLD_PER_S = 2_000;
const MAX_PEAK_PER_S = 20_000;
const PEAK_SHARE = 0.7;
const BODIES = 64;
/** So many that a request which is due finds a free one; what waits for the disk holds its connection. */
const CONNECTIONS = 256;
const SETTLED_WITHIN_MS = 60_000;
/** A generator that is later than this has become what is measured. */
const MAX_LAG_MS = 50;
const ROUNDS = 5;

type StageName = 'ramp' | 'hold' | 'peak' | 'back' | 'sustained';

type Stage = {
  readonly name: StageName;
  readonly fromPerS: number;
  readonly toPerS: number;
  readonly forMs: number;
};

type Watched = Stage & {
  readonly startsMs: number;
  readonly latency: RecordableHistogram;
  /** Between two looks of the generator at the time. */
  readonly lag: RecordableHistogram;
  answered: number;
  refused: number;
};

type Round = {
  /** What the bare server takes, and what Weir does, as fast as they answer. */
  readonly barePerS: number;
  readonly weirPerS: number;
  readonly stages: readonly Watched[];
  /** Requests without an answer. */
  readonly failures: number;
};

export const scenario: Scenario = {
  name: 'staged',
  about: `Single events at a constant rate: ${HOLD_PER_S} requests a second, then ${PEAK_SHARE} of what a bare server takes, and back; and ${PEAK_SHARE} of what Weir takes.`,
  async run(context) {
    const grounds = await openGrounds();
    try {
      return await runRounds(grounds, context);
    } finally {
      await grounds.stop();
    }
  },
};

async function runRounds(grounds: Grounds, { isQuick, seed, say }: BenchContext): Promise<Figure[]> {
  const { productEvent } = createBodies(seed);
  const bodies = Array.from({ length: BODIES }, productEvent);
  const bare = await grounds.startBare();
  const weir = await grounds.startBenched();
  const roll = createRoll();
  // Numbered for the bare server too, so that the load has the same work to do.
  const loads = { bare: loadFor(bare, createRoll()), weir: loadFor(weir, roll) };
  const scale = isQuick ? 0.25 : 1;
  const cpuBefore = weir.cpuMs();
  // The first requests meet code that was never run.
  await saturateFor(bare, loads.bare, 1_000);
  await saturateFor(weir, loads.weir, 1_000);
  const rounds: Round[] = [];
  for (let round = 0; round < (isQuick ? 1 : ROUNDS); round += 1) rounds.push(await runRound());
  await allStored(grounds.stores, weir, { withinMs: SETTLED_WITHIN_MS });
  const cpuMs = weir.cpuMs() - cpuBefore;
  const conservation = await conservationOf(roll, grounds.stores);
  const peakRss = weir.peakRssMiB();
  await Promise.all([weir.stop(), bare.stop()]);
  return [
    figureOf(
      'bare server',
      eachOf(rounds, ({ barePerS }) => barePerS),
      'requests/s',
    ),
    figureOf(
      'Weir',
      eachOf(rounds, ({ weirPerS }) => weirPerS),
      'requests/s',
    ),
    ...rounds[0]!.stages.flatMap(({ name }) => figuresOf(name, rounds)),
    {
      name: 'requests without an answer',
      value: sumOf(rounds, ({ failures }) => failures),
      unit: 'requests',
      bar: NONE,
    },
    ...conservation,
    { name: 'CPU per million events', value: rounded((cpuMs * 1_000) / roll.acknowledged()), unit: 's' },
    { name: 'peak RSS', value: Math.round(peakRss), unit: 'MiB', bar: { atMost: 512 } },
  ];

  function loadFor(to: Benched, entered: ReturnType<typeof createRoll>): NumberedLoad {
    return numberedLoad(entered, targetFor(to), bodies);
  }

  function targetFor({ port }: Benched): Target {
    return targetOf({ port }, PATH, { token: grounds.token });
  }

  async function runRound(): Promise<Round> {
    await merged(grounds.stores);
    const barePerS = await saturateFor(bare, loads.bare, 2_000 * scale);
    const peakPerS = Math.min(MAX_PEAK_PER_S, PEAK_SHARE * barePerS);
    say(`the bare server takes ${Math.round(barePerS)} requests/s; the peak is ${Math.round(peakPerS)}`);
    const stages = watched(stagesUpTo(peakPerS, scale));
    let failures = await offerStages(weir, loads.weir, stages);
    await weir.settled();
    const weirPerS = await saturateFor(weir, loads.weir, 2_000 * scale);
    await weir.settled();
    const share = PEAK_SHARE * weirPerS;
    const sustained = watched([{ name: 'sustained', fromPerS: share, toPerS: share, forMs: 6_000 * scale }]);
    failures += await offerStages(weir, loads.weir, sustained);
    await weir.settled();
    const lagMs = percentilesOf(stages.find(({ name }) => name === 'peak')!.lag).p99;
    if (lagMs > MAX_LAG_MS) say(`the load itself was ${Math.round(lagMs)} ms late: the latencies are partly its own`);
    return { barePerS, weirPerS, stages: [...stages, ...sustained], failures };
  }
}

const NONE = { atMost: 0 } as const;

const eachOf = (rounds: readonly Round[], of: (round: Round) => number) => rounds.map(of);
const sumOf = (rounds: readonly Round[], of: (round: Round) => number) =>
  eachOf(rounds, of).reduce((sum, one) => sum + one, 0);

/** As fast as the answers come. */
async function saturateFor({ port }: Benched, { next, onAnswer }: NumberedLoad, forMs: number): Promise<number> {
  const until = performance.now() + forMs;
  const { latency, elapsedMs } = await saturate({
    port,
    connections: CONNECTIONS,
    next: () => (performance.now() < until ? next() : null),
    onAnswer,
  });
  return (latency.count * 1_000) / elapsedMs;
}

/** One stage after the other without a pause. How many requests were not answered. */
async function offerStages({ port }: Benched, load: NumberedLoad, stages: readonly Watched[]): Promise<number> {
  const last = stages.at(-1)!;
  const stageAt = (ms: number) => stages.findLast(({ startsMs }) => startsMs <= ms)!;
  let lookedMs = 0;
  const { failures } = await offer({
    port,
    maxConnections: CONNECTIONS,
    durationMs: last.startsMs + last.forMs,
    rateAt(elapsedMs) {
      const stage = stageAt(elapsedMs);
      recordMs(stage.lag, elapsedMs - lookedMs);
      lookedMs = elapsedMs;
      const share = (elapsedMs - stage.startsMs) / stage.forMs;
      return stage.fromPerS + (stage.toPerS - stage.fromPerS) * share;
    },
    next: load.next,
    onAnswer(status, sent, detail) {
      load.onAnswer(status, sent, detail);
      const stage = stageAt(detail.dueMs);
      recordMs(stage.latency, detail.tookMs);
      stage.answered += 1;
      if (status !== 202) stage.refused += 1;
    },
  });
  return failures;
}

function stagesUpTo(peakPerS: number, scale: number): readonly Stage[] {
  const stage = (name: StageName, [fromPerS, toPerS]: readonly [number, number], seconds: number): Stage => ({
    name,
    fromPerS,
    toPerS,
    forMs: seconds * 1_000 * scale,
  });
  return [
    stage('ramp', [0, HOLD_PER_S], 2),
    stage('hold', [HOLD_PER_S, HOLD_PER_S], 3),
    stage('peak', [peakPerS, peakPerS], 8),
    stage('back', [HOLD_PER_S, HOLD_PER_S], 3),
  ];
}

function watched(stages: readonly Stage[]): readonly Watched[] {
  let startsMs = 0;
  return stages.map((stage) => {
    const begun = startsMs;
    startsMs += stage.forMs;
    return { ...stage, startsMs: begun, latency: createHistogram(), lag: createHistogram(), answered: 0, refused: 0 };
  });
}

function figuresOf(name: StageName, rounds: readonly Round[]): Figure[] {
  const stages = rounds.map((round) => round.stages.find((stage) => stage.name === name)!);
  const isHeld = name === 'peak' || name === 'sustained';
  const at = (percentile: 'p50' | 'p95' | 'p99' | 'p999') =>
    stages.map(({ latency }) => percentilesOf(latency)[percentile]);
  const held = (atMost: number) => (isHeld ? { bar: { atMost } } : {});
  return [
    figureOf(
      `${name}: answered`,
      stages.map(({ answered, forMs }) => (answered * 1_000) / forMs),
      'requests/s',
    ),
    figureOf(`${name}: p50`, at('p50'), 'ms'),
    figureOf(`${name}: p95`, at('p95'), 'ms', held(100)),
    figureOf(`${name}: p99`, at('p99'), 'ms', held(200)),
    figureOf(`${name}: p99.9`, at('p999'), 'ms'),
    {
      name: `${name}: errors`,
      value: stages.reduce((sum, { refused }) => sum + refused, 0),
      unit: 'requests',
      bar: NONE,
    },
    figureOf(
      `${name}: lag of the load itself, p99`,
      stages.map(({ lag }) => percentilesOf(lag).p99),
      'ms',
    ),
  ];
}
