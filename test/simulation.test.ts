/**
 * The whole pipeline in a world where everything fails, on a clock that only
 * the test moves. Everything follows from the seed: `SEED=17` repeats a run.
 *
 * What it was seen to catch, of 205 runs, when these bugs were put in on purpose:
 *
 * | a bug | runs that fail, by invariant |
 * |---|---|
 * | a batch in the dead letters is not settled; or is settled before it has a home | 205, I1 |
 * | a batch that both stores refuse is dropped | 157, I1 |
 * | the good rows of a split are dropped | 193, I1 |
 * | the shutdown forgets what is held; what is queued | 59; 23, I1 |
 * | a retry gets a new id | 112, I2 |
 * | ClickHouse does not recognise a repeated id | 140, I2 |
 * | an outage quarantines | 160, I4 |
 * | the store's hint is believed | 102, I4 |
 * | rows are blamed without asking for an ordinary one; or trusting a recent landing | 31; 13, I4 |
 * | a split letter is added again | 8, I5 |
 * | a probe is never given back; a lease never runs out | 45; 96, I15 |
 *
 * Changes under a stale lease hide behind the deduplication here; the contract
 * and the model of the dead-letter table catch them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomOf } from './support/factory.ts';
import type { Kind } from './support/rows.ts';
import { createSimulatedWorld, type SimulatedWorld } from './support/simulated-world.ts';
import { SEED } from './support/seed.ts';

const MINUTE_MS = 60_000;
/** A lease that a crash left behind, the longest backoff, and the time to work everything off. */
const REST_WITHIN_MS = 20 * MINUTE_MS;

const SEEDS = process.env['SEED'] ? [SEED] : Array.from({ length: 200 }, (_, i) => i + 1);

/** What may happen in one step, and how often. */
type Action = {
  readonly weight: number;
  readonly act: (world: SimulatedWorld, random: () => number) => void | Promise<void>;
};
const ACTIONS: Record<string, Action> = {
  offer: { weight: 40, act: (world, random) => void world.offerSome(upTo(6, random), () => someKind(random)) },
  wait: { weight: 30, act: ({ clock }, random) => clock.advance(upTo(3_000, random)) },
  waitLong: { weight: 3, act: ({ clock }, random) => clock.advance(upTo(40_000, random)) },
  clickhouseDown: { weight: 3, act: ({ events }) => void (events.down = true) },
  clickhouseHangs: { weight: 2, act: ({ events }) => void (events.hangs = true) },
  eventsUp: { weight: 5, act: ({ events }) => void Object.assign(events, { down: false, hangs: false }) },
  clickhouseRefuses: {
    weight: 2,
    act: ({ events }, random) => {
      events.failWith = oneOf(['operator', 'unknown', 'capacity', 'ambiguous', 'unavailable'], random);
    },
  },
  clickhouseRelents: {
    weight: 4,
    act: ({ events }) => void Object.assign(events, { failWith: null, minRows: 0, failsByChance: () => false }),
  },
  clickhouseFailsByChance: {
    weight: 2,
    act: ({ events }, random) => void (events.failsByChance = () => random() < 0.5),
  },
  clickhouseBusy: { weight: 2, act: ({ events }, random) => void (events.minRows = upTo(12, random)) },
  clickhouseCuts: { weight: 5, act: ({ events }) => void (events.commitThenCut = true) },
  clickhouseDiesBeforePart: { weight: 3, act: ({ events }) => void (events.diesBeforePart = true) },
  clickhouseDiesBeforeView: { weight: 3, act: ({ events }) => void (events.diesBeforeView = true) },
  clickhouseResets: { weight: 2, act: ({ events }, random) => void (events.resets = upTo(3, random)) },
  postgresDown: { weight: 3, act: ({ deadLetters }) => void (deadLetters.down = true) },
  postgresUp: { weight: 5, act: ({ deadLetters }) => void (deadLetters.down = false) },
  postgresCuts: { weight: 4, act: ({ deadLetters }) => void (deadLetters.commitThenCut = true) },
  schemaDrifts: { weight: 1, act: ({ events }) => void (events.drifted = true) },
  schemaMended: { weight: 3, act: ({ events }) => void (events.drifted = false) },
  crash: { weight: 3, act: ({ crashDrainer }) => crashDrainer() },
  restart: { weight: 2, act: ({ restart }) => restart() },
  wallClockJumps: {
    weight: 1,
    act: ({ clock }, random) => clock.jump(Math.round((random() - 0.5) * 96 * 60 * MINUTE_MS)),
  },
  tableClockJumps: {
    weight: 1,
    act: ({ deadLetters }, random) => deadLetters.jump(Math.round((random() - 0.2) * 3 * MINUTE_MS)),
  },
};

/** What is found stored while a doubt is settled may be missing in the view for good: that is not what is looked for here. */
const FULL_DISK: Record<string, Action> = {
  postgresFull: { weight: 3, act: ({ deadLetters }) => void (deadLetters.full = true) },
  postgresFreed: { weight: 4, act: ({ deadLetters }) => void (deadLetters.full = false) },
};

/** Hundreds of thousands of failures are made here on purpose; their stacks would cost more than everything else. */
const { stackTraceLimit } = Error;
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

test.each(SEEDS)('every accepted event ends in exactly one place (SEED=%i)', (seed) => liveThrough(ACTIONS, seed));

test.each(SEEDS.slice(0, 40))('so it does with a Postgres whose disk is full now and then (SEED=%i)', (seed) => {
  const { clickhouseDiesBeforeView: _, ...others } = ACTIONS;
  return liveThrough({ ...others, ...FULL_DISK }, seed);
});

async function liveThrough(actions: Record<string, Action>, seed: number) {
  const random = randomOf(seed);
  const world = createSimulatedWorld(random);
  makeDifficult(world, random);
  const done: string[] = [];
  try {
    for (let step = 0; step < 80; step++) {
      const name = someAction(actions, random);
      done.push(name);
      await actions[name]!.act(world, random);
      await world.clock.advance(0);
      world.check();
    }
    await comeToRest(world);
    world.checkEnd();
  } catch (error) {
    const story = `SEED=${seed}, after ${done.length} steps: ${done.slice(-12).join(', ')}`;
    throw new Error(`${story}\n${(error as Error).message}`, { cause: error });
  }
}

describe('an outage of half an hour (I4)', { timeout: 60_000 }, () => {
  test.each(['down', 'hangs', 'unknown', 'operator', 'capacity'] as const)(
    'of the kind "%s" quarantines nothing, and everything lands within a minute of its end',
    async (kind) => {
      const random = randomOf(1);
      const world = createSimulatedWorld(random);
      const { clock, events } = world;
      if (kind === 'down' || kind === 'hangs') events[kind] = true;
      else events.failWith = kind;
      for (let second = 0; second < 1_800; second += 5) {
        world.offerSome(3, () => 'good');
        await clock.advance(5_000);
        world.check();
      }
      world.heal();
      await clock.advance(MINUTE_MS);
      world.checkEnd();
      expect(events.stored.size).toBe(1_080);
    },
  );
});

/** Latencies and hints that stay for the whole run. */
function makeDifficult({ events, deadLetters }: SimulatedWorld, random: () => number) {
  const slowest = oneOf([0, 20, 400], random);
  events.latencyMs = () => Math.floor(random() * slowest);
  deadLetters.latencyMs = () => Math.floor((random() * slowest) / 4);
  events.landsLateMs = oneOf([null, 10, 5_000], random);
  events.hint = oneOf<typeof events.hint>(
    [(index) => index, () => null, () => 0, (_, rows) => Math.floor(random() * rows.length * 2)],
    random,
  );
}

/** Heals everything and waits until nothing is left to do, with a trickle of good events as proof that inserts work. */
async function comeToRest(world: SimulatedWorld) {
  world.heal();
  const healedAt = world.clock.elapsed();
  await world.clock.advance(5_000);
  expect(world.weir.flags.facts().unhomed, 'fatal ends without traffic (I3)').toBe(0);
  while (!world.isAtRest()) {
    expect(world.clock.elapsed() - healedAt, 'rest within bounded time (I15)').toBeLessThan(REST_WITHIN_MS);
    world.offerSome(1, () => 'good');
    await world.clock.advance(10_000);
    world.check();
  }
}

function someKind(random: () => number): Kind {
  const roll = random();
  if (roll < 0.05) return 'unreadable';
  return roll < 0.08 ? 'forbidden' : 'good';
}

function someAction(actions: Record<string, Action>, random: () => number): string {
  const names = Object.keys(actions);
  let roll = random() * names.reduce((sum, name) => sum + actions[name]!.weight, 0);
  return names.find((name) => (roll -= actions[name]!.weight) < 0)!;
}

const upTo = (most: number, random: () => number) => 1 + Math.floor(random() * most);
const oneOf = <T>(choices: readonly T[], random: () => number): T => choices[Math.floor(random() * choices.length)]!;
