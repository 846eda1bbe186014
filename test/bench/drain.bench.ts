/**
 * What a backlog costs those who send meanwhile, and what they cost it. The same
 * load goes on throughout; by turns the dead letters are due and not due, so that
 * every stretch of draining has one without beside it.
 */
import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBodies } from './support/bodies.ts';
import { type BenchedWeir, type Grounds, openGrounds } from './support/grounds.ts';
import { writeBacklog } from './support/letters.ts';
import { offer, percentilesOf, recordMs, saturate } from './support/load.ts';
import { type Roll, createRoll, numberedLoad } from './support/roll.ts';
import type { BenchContext, Figure, Scenario } from './support/scenario.ts';
import { targetOf } from './support/sending.ts';
import { type Backlog, allStored, backlogIn, conservationOf } from './support/settling.ts';
import { figureOf, medianOf, ratioOf, rounded } from './support/statistics.ts';

const PATH = '/api/v1/ingest/events';
const BATCH_EVENTS = 500;
const BODIES = 32;
/** Four full inserts under way and some more waiting: nobody is refused, and ClickHouse never waits. */
const CONNECTIONS = 64;
const OFFERED_CONNECTIONS = 32;
/** Of what was stored at saturation without a backlog. */
const OFFERED_SHARE = 0.5;
const SETTLED_WITHIN_MS = 120_000;
const TAKES_EFFECT_WITHIN_MS = 30_000;
const POLL_MS = 50;

type Sizes = {
  readonly events: number;
  /** Beside saturation: how often, for how long without draining, and how many letters are then due. */
  readonly rounds: number;
  readonly windowMs: number;
  readonly lettersARound: number;
  readonly offeredMs: number;
};

const FULL: Sizes = { events: 1_000_000, rounds: 5, windowMs: 8_000, lettersARound: 10, offeredMs: 40_000 };
const QUICK: Sizes = { events: 100_000, rounds: 3, windowMs: 1_000, lettersARound: 2, offeredMs: 2_000 };

/** Per second. */
type Rates = { readonly fresh: number; readonly drained: number };

export const scenario: Scenario = {
  name: 'drain',
  about: 'A backlog of dead letters is replayed while fresh events come in, against the same load without a backlog.',
  async run(context) {
    // Only so that a backlog which becomes due is noticed soon: there is no pause between passes while there is more.
    const grounds = await openGrounds({ settings: { DLQ_DRAIN_INTERVAL: '200ms' } });
    try {
      return await runDrain(grounds, context);
    } finally {
      await grounds.stop();
    }
  },
};

async function runDrain(grounds: Grounds, { isQuick, seed, say }: BenchContext): Promise<Figure[]> {
  const sizes = isQuick ? QUICK : FULL;
  const { stores } = grounds;
  const { nativeBatch } = createBodies(seed);
  const bodies = Array.from({ length: BODIES }, () => nativeBatch(BATCH_EVENTS));
  const roll = createRoll();
  await writeBacklog(grounds, { roll, bodies, events: sizes.events });
  const switchable = createSwitch(grounds);
  const weir = await grounds.startBenched();
  say(`a backlog of ${sizes.events} events`);

  const { draining, without } = await atSaturation(grounds, { weir, roll, bodies, sizes, switchable, say });
  const fresh = medianOf(without);
  const left = await backlogIn(stores);
  if (left.letters === 0) throw new Error('nothing of the backlog is left for the second half');
  say(`${left.events} events are left; now ${Math.round(OFFERED_SHARE * fresh)} fresh events/s`);
  const offered = await atRate(grounds, { weir, roll, bodies, sizes, switchable, perS: OFFERED_SHARE * fresh });
  await allStored(stores, weir, { withinMs: SETTLED_WITHIN_MS });
  const conservation = await conservationOf(roll, stores);
  const peakRss = weir.peakRssMiB();
  await weir.stop();

  const freshBeside = draining.map((rates) => rates.fresh);
  return [
    figureOf('fresh at saturation, no backlog', without, 'events/s'),
    figureOf('fresh at saturation, draining', freshBeside, 'events/s'),
    ratioOf('fresh while draining ÷ without', freshBeside, without, {
      bar: { atLeast: 0.75 },
      // Windows of a second differ by more than a guard can forgive.
      ...(isQuick ? {} : { guard: 'more is better' as const }),
    }),
    figureOf(
      'drained beside saturation',
      draining.map((rates) => rates.drained),
      'events/s',
    ),
    ...offered,
    { name: 'time due until empty', value: rounded(switchable.dueMs() / 1_000), unit: 's' },
    ...conservation,
    { name: 'peak RSS', value: Math.round(peakRss), unit: 'MiB', bar: { atMost: 512 } },
  ];
}

type Ground = {
  readonly weir: BenchedWeir;
  readonly roll: Roll;
  readonly bodies: readonly Buffer[];
  readonly sizes: Sizes;
  readonly switchable: Switch;
};

/** As many fresh events as are stored, each request answered when it is. */
async function atSaturation(
  { stores, token }: Grounds,
  { weir, roll, bodies, sizes, switchable, say }: Ground & Pick<BenchContext, 'say'>,
): Promise<{ draining: Rates[]; without: number[] }> {
  const load = numberedLoad(roll, targetOf(weir, `${PATH}?ack=stored`, { token }), bodies);
  let isOver = false;
  const loading = saturate({
    port: weir.port,
    connections: CONNECTIONS,
    next: () => (isOver ? null : load.next()),
    onAnswer: load.onAnswer,
  });
  const draining: Rates[] = [];
  const quiet: Rates[] = [];
  // What a process does first takes it longer.
  await sleep(sizes.windowMs);
  quiet.push(await measure(() => sleep(sizes.windowMs)));
  while (draining.length < sizes.rounds) {
    await switchable.reveal(sizes.lettersARound);
    const beside = await measure(switchable.replayed);
    const after = await measure(() => sleep(sizes.windowMs));
    draining.push(beside);
    quiet.push(after);
    say(`fresh ${Math.round(after.fresh)}/s; beside ${Math.round(beside.drained)}/s ${Math.round(beside.fresh)}/s`);
  }
  isOver = true;
  const { statuses, failures } = await loading;
  const odd = [...statuses.keys()].filter((status) => status !== 202);
  if (odd.length > 0 || failures > 0) throw new Error(`answers ${odd.join(' ')}, ${failures} without one`);
  // A table that fills gets slower: each stretch of draining is held against what was before and after it.
  const without = draining.map((_, round) => (quiet[round]!.fresh + quiet[round + 1]!.fresh) / 2);
  return { draining, without };

  async function measure(wait: () => Promise<unknown>): Promise<Rates> {
    const startedAt = performance.now();
    const before = { fresh: roll.acknowledged(), backlog: (await backlogIn(stores)).events };
    await wait();
    const drained = before.backlog - (await backlogIn(stores)).events;
    const seconds = (performance.now() - startedAt) / 1_000;
    return { fresh: (roll.acknowledged() - before.fresh) / seconds, drained: drained / seconds };
  }
}

/** A load that leaves room: how long its requests take while the rest of the backlog is drained, and before. */
async function atRate(
  { stores, token }: Grounds,
  { weir, roll, bodies, sizes, switchable, perS }: Ground & { perS: number },
): Promise<Figure[]> {
  const load = numberedLoad(roll, targetOf(weir, PATH, { token }), bodies);
  const quiet = createWatch();
  const draining = createWatch();
  let current = quiet;
  const backlog = (await backlogIn(stores)).events;
  const offering = offer({
    port: weir.port,
    maxConnections: OFFERED_CONNECTIONS,
    durationMs: sizes.offeredMs,
    rateAt: () => perS / BATCH_EVENTS,
    next: load.next,
    onAnswer(status, sent, detail) {
      load.onAnswer(status, sent, detail);
      recordMs(current.latency, detail.tookMs);
      if (status !== 202) current.refused += 1;
    },
  });
  await sleep(sizes.offeredMs / 4);
  await switchable.reveal();
  current = draining;
  const revealedAt = performance.now();
  const replaying = switchable.replayed();
  await Promise.race([replaying, offering]);
  const left = (await backlogIn(stores)).events;
  const drained = ((backlog - left) * 1_000) / (performance.now() - revealedAt);
  const { failures } = await offering;
  // Without company, if there is still something left.
  await replaying;
  return [
    { name: 'offered rate', value: Math.round(perS), unit: 'events/s' },
    { name: 'drained beside it', value: Math.round(drained), unit: 'events/s' },
    { name: 'p99 at that rate, no backlog', value: rounded(percentilesOf(quiet.latency).p99), unit: 'ms' },
    { name: 'p99 at that rate, draining', value: rounded(percentilesOf(draining.latency).p99), unit: 'ms' },
    { name: 'refused at that rate, no backlog', value: quiet.refused, unit: 'requests' },
    { name: 'refused at that rate, draining', value: draining.refused, unit: 'requests' },
    { name: 'requests without an answer', value: failures, unit: 'requests', bar: { atMost: 0 } },
  ];
}

type Watch = { readonly latency: RecordableHistogram; refused: number };

const createWatch = (): Watch => ({ latency: createHistogram(), refused: 0 });

/** Letters are written so that none is due before it is revealed. */
type Switch = {
  /** Makes so many letters due, or all of them; resolves when the first are being replayed. */
  reveal(letters?: number): Promise<void>;
  /** Resolves when what was revealed has been replayed. */
  replayed(): Promise<void>;
  /** How long letters were due, in all. */
  dueMs(): number;
};

function createSwitch({ stores }: Grounds): Switch {
  const { pool } = stores.postgres;
  let goal = 0;
  let dueMs = 0;
  let revealedAt = 0;
  return {
    async reveal(letters) {
      const backlog = await backlogIn(stores);
      goal = letters === undefined ? 0 : Math.max(0, backlog.letters - letters);
      revealedAt = performance.now();
      await pool.query(
        `UPDATE failed_events SET visible_at = now()
         WHERE id IN (SELECT id FROM failed_events WHERE visible_at > now() ORDER BY id LIMIT $1)`,
        [backlog.letters - goal],
      );
      await noticed(({ letters: left, leased }) => leased > 0 || left === goal, TAKES_EFFECT_WITHIN_MS);
    },
    async replayed() {
      await noticed(({ letters }) => letters === goal, SETTLED_WITHIN_MS);
      dueMs += performance.now() - revealedAt;
    },
    dueMs: () => dueMs,
  };

  async function noticed(holds: (backlog: Backlog) => boolean, withinMs: number) {
    const until = performance.now() + withinMs;
    while (!holds(await backlogIn(stores))) {
      if (performance.now() > until) throw new Error('the drain does not notice what is due');
      await sleep(POLL_MS);
    }
  }
}
