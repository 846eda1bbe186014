/**
 * Single events at a given rate, stage by stage: up to 2 000 requests a second,
 * then at once to a share of what a bare server takes on this machine, and back; and
 * at last the same share of what Weir itself takes.
 * Requests are sent when they are due, not when the server has time, and their
 * latency counts from then.
 */
import { type RecordableHistogram, createHistogram, performance } from 'node:perf_hooks';
import { createBodies } from './support/bodies.ts';
import { type Grounds, openGrounds } from './support/grounds.ts';
import { type AnswerDetail, type Target, offer, percentilesOf, recordMs, saturate } from './support/load.ts';
import { type NumberedLoad, createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { targetOf } from './support/sending.ts';
import { allStored, conservationOf } from './support/settling.ts';
import { rounded } from './support/statistics.ts';

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

type Stage = {
  readonly name: 'ramp' | 'hold' | 'peak' | 'back' | 'sustained';
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

export const scenario: Scenario = {
  name: 'staged',
  about: `Single events at a constant rate: ${HOLD_PER_S} requests a second, then ${PEAK_SHARE} of what a bare server takes, and back; and ${PEAK_SHARE} of what Weir takes.`,
  async run(context) {
    const grounds = await openGrounds();
    try {
      return await runStages(grounds, context);
    } finally {
      await grounds.stop();
    }
  },
};

async function runStages(grounds: Grounds, { isQuick, seed, say }: BenchContext): Promise<Figure[]> {
  const { productEvent } = createBodies(seed);
  const bodies = Array.from({ length: BODIES }, productEvent);
  const ceiling = await ceilingOf(grounds, bodies, isQuick ? 700 : 5_000);
  const peakPerS = Math.min(MAX_PEAK_PER_S, PEAK_SHARE * ceiling);
  say(`the bare server takes ${Math.round(ceiling)} requests/s; the peak is ${Math.round(peakPerS)}`);

  const weir = await grounds.startBenched();
  const roll = createRoll();
  const target = targetOf(weir, PATH, { token: grounds.token });
  const load = numberedLoad(roll, target, bodies);
  const stages = watched(stagesUpTo(peakPerS, isQuick ? 0.1 : 1));
  const cpuBefore = weir.cpuMs();
  let failures = await offerStages(target, load, stages);
  await weir.settled();
  // Warm by now: what it takes itself, and a part of that for longer than any queue could hide.
  const own = await saturateFor(target, load, isQuick ? 1_000 : 5_000);
  await weir.settled();
  const sustained = watched([
    { name: 'sustained', fromPerS: PEAK_SHARE * own, toPerS: PEAK_SHARE * own, forMs: isQuick ? 2_000 : 20_000 },
  ]);
  failures += await offerStages(target, load, sustained);
  await allStored(grounds.stores, weir, { withinMs: SETTLED_WITHIN_MS });
  const cpuMs = weir.cpuMs() - cpuBefore;
  const peakLagMs = percentilesOf(stages.find(({ name }) => name === 'peak')!.lag).p99;
  if (peakLagMs > MAX_LAG_MS)
    say(`the load itself was ${Math.round(peakLagMs)} ms late: the latencies are partly its own`);
  const conservation = await conservationOf(roll, grounds.stores);
  const peakRss = weir.peakRssMiB();
  await weir.stop();
  return [
    { name: 'bare server', value: Math.round(ceiling), unit: 'requests/s' },
    { name: 'Weir', value: Math.round(own), unit: 'requests/s' },
    ...[...stages, ...sustained].flatMap(figuresOf),
    { name: 'requests without an answer', value: failures, unit: 'requests', bar: { atMost: 0 } },
    ...conservation,
    { name: 'CPU per million events', value: rounded((cpuMs * 1_000) / roll.acknowledged()), unit: 's' },
    { name: 'peak RSS', value: Math.round(peakRss), unit: 'MiB', bar: { atMost: 512 } },
  ];
}

/** What the bare server takes of the same requests, on the same connections, as fast as it answers. */
async function ceilingOf(grounds: Grounds, bodies: readonly Buffer[], forMs: number): Promise<number> {
  const bare = await grounds.startBare();
  const target = targetOf(bare, PATH, { token: grounds.token });
  // Numbered as those for Weir are, so that the load has the same work to do.
  const load = numberedLoad(createRoll(), target, bodies);
  // The first one is slower than it will be.
  await saturateFor(target, load, forMs / 2);
  const perSecond = await saturateFor(target, load, forMs);
  await bare.stop();
  return perSecond;
}

async function saturateFor({ port }: Target, { next, onAnswer }: NumberedLoad, forMs: number): Promise<number> {
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
async function offerStages({ port }: Target, load: NumberedLoad, stages: readonly Watched[]): Promise<number> {
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
    onAnswer(status, request, detail: AnswerDetail) {
      load.onAnswer(status, request, detail);
      const stage = stageAt(detail.dueMs);
      recordMs(stage.latency, detail.tookMs);
      stage.answered += 1;
      if (status !== 202) stage.refused += 1;
    },
  });
  return failures;
}

function stagesUpTo(peakPerS: number, scale: number): readonly Stage[] {
  const stage = (name: Stage['name'], [fromPerS, toPerS]: readonly [number, number], seconds: number): Stage => ({
    name,
    fromPerS,
    toPerS,
    forMs: seconds * 1_000 * scale,
  });
  return [
    stage('ramp', [0, HOLD_PER_S], 10),
    stage('hold', [HOLD_PER_S, HOLD_PER_S], 15),
    stage('peak', [peakPerS, peakPerS], 30),
    stage('back', [HOLD_PER_S, HOLD_PER_S], 10),
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

function figuresOf(stage: Watched): Figure[] {
  const { p50, p95, p99, p999 } = percentilesOf(stage.latency);
  const isHeld = stage.name === 'peak' || stage.name === 'sustained';
  const name = (what: string) => `${stage.name}: ${what}`;
  const latency = (what: string, value: number, atMost: number) => ({
    name: name(what),
    value: rounded(value),
    unit: 'ms',
    ...(isHeld ? { bar: { atMost } } : {}),
  });
  return [
    { name: name('answered'), value: Math.round((stage.answered * 1_000) / stage.forMs), unit: 'requests/s' },
    { name: name('p50'), value: rounded(p50), unit: 'ms' },
    latency('p95', p95, 100),
    latency('p99', p99, 200),
    { name: name('p99.9'), value: rounded(p999), unit: 'ms' },
    { name: name('errors'), value: stage.refused, unit: 'requests', bar: { atMost: 0 } },
    { name: name('lag of the load itself, p99'), value: rounded(percentilesOf(stage.lag).p99), unit: 'ms' },
  ];
}
