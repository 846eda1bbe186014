/**
 * A small world for the simulation: stores with faults, one Weir that accepts events, drainers that come and go, and an
 * account of every accepted event, checked by id after every step.
 */
import { expect } from 'vitest';
import type { ProjectId } from '../../src/event/event.ts';
import type { Batch, BatchId } from '../../src/pipeline/batch.ts';
import { createFlags, isFatal } from '../../src/pipeline/flags.ts';
import { createLedger } from '../../src/pipeline/ledger.ts';
import { shutDown } from '../../src/pipeline/shutdown.ts';
import { OTHER_PROJECT, PROJECT } from './factory.ts';
import { numbersOf } from './fakes.ts';
import {
  countingBatchIds,
  createDrainParts,
  createPipeline,
  createStoreWatch,
  createWorld,
  type Settings,
} from './pipeline.ts';
import { type Kind, numbersIn } from './rows.ts';

const PROJECTS = [PROJECT, OTHER_PROJECT, '01890000-0000-7000-8000-00000000000c' as ProjectId];
const GRACE_MS = 10_000;

export type SimulatedWorld = ReturnType<typeof createSimulatedWorld>;

export function createSimulatedWorld(random: () => number, settings: Settings = {}) {
  const world = createWorld();
  const { clock, events, deadLetters } = world;
  const kinds = new Map<number, Kind>();
  const saved = new Map<BatchId, Batch>();
  const newBatchId = countingBatchIds(world.clock);
  let offered = 0;
  let weir = startWeir();
  let drainer = startDrainer();

  return {
    ...world,
    kinds,
    get weir() {
      return weir;
    },
    offerSome,
    crashDrainer,
    restart,
    check,
    heal,
    isAtRest,
    checkEnd,
  };

  function startWeir() {
    const parts = createPipeline(world, { random, newBatchId, ...settings });
    const stopping = new AbortController();
    const stopDraining = new AbortController();
    /** Accepted requests whose batch has not settled yet. */
    const waiting = new Set<readonly number[]>();
    for (const batch of saved.values()) {
      const numbers = numbersIn(batch.chunks);
      waiting.add(numbers);
      parts.ledger.accepted += batch.eventCount;
      parts.channel.adopt(batch, () => {
        waiting.delete(numbers);
        saved.delete(batch.id);
      });
    }
    void parts.heartbeat.run(stopping.signal);
    void parts.drain.run(stopDraining.signal);
    return { ...parts, waiting, stopping, stopDraining, flusherDone: parts.flusher.run() };
  }

  /** Another process on the same stores. Once it is dead, none of its requests is ever answered. */
  function startDrainer() {
    const life = { isOver: false };
    const stop = new AbortController();
    const watch = createStoreWatch(clock, events.answers, random);
    const locked = deadLetters.lockedBy(life);
    const { drain } = createDrainParts(
      {
        clock,
        events: mortal(events, life),
        deadLetters: mortal(deadLetters, life),
        locked: { ...mortal(locked, life), store: mortal(locked.store, life) },
      },
      { ...watch, flags: createFlags({ intake: 'open' }, () => {}), ledger: createLedger(), isFreshBusy: () => false },
      { random, ...settings },
    );
    void watch.heartbeat.run(stop.signal);
    void drain.run(stop.signal);
    return { life, stop };
  }

  /** Like `kill -9`: its leases stay behind. */
  function crashDrainer() {
    drainer.life.isOver = true;
    drainer.stop.abort();
    drainer = startDrainer();
  }

  function offerSome(count: number, kindOf: () => Kind) {
    const rows = Array.from({ length: count }, () => ({ n: offered++, kind: kindOf() }));
    const numbers = rows.map(({ n }) => n);
    const projectId = PROJECTS[Math.floor(random() * PROJECTS.length)]!;
    const { waiting } = weir;
    waiting.add(numbers);
    const answer = weir.offer(rows, projectId, () => waiting.delete(numbers));
    if (answer === 'queued') for (const { n, kind } of rows) kinds.set(n, kind);
    else waiting.delete(numbers);
    return answer;
  }

  function save(batch: Batch) {
    saved.set(batch.id, { ...batch, mayHaveLanded: true });
  }

  /** A SIGTERM and the next start. */
  async function restart() {
    const { flags, channel, flusher, flusherDone, breaker, log, stopDraining, stopping } = weir;
    const startedAt = clock.elapsed();
    const ended = { isSo: false };
    stopDraining.abort();
    const server = { close: async () => {}, cut: () => {} };
    const leftovers = shutDown(
      { flags, server, channel, flusher, flusherDone, breaker, save, clock, log },
      { graceMs: GRACE_MS },
    ).then(({ lost }) => {
      ended.isSo = true;
      expect(lost, 'lost at the shutdown').toBe(0);
    });
    while (!ended.isSo && clock.elapsed() - startedAt < GRACE_MS) {
      await clock.advance(100);
      check();
    }
    expect(ended.isSo, 'the shutdown ends within its grace (I9)').toBe(true);
    await leftovers;
    stopping.abort();
    // From here on its memory is gone.
    weir = startWeir();
    check();
  }

  /** What must hold at every instant. */
  function check() {
    const { channel, limits, ledger, waiting } = weir;
    const pending = new Set([...waiting].flat());
    const inLetters = new Set(numbersOf([...deadLetters.letters.values()]));
    const inFiles = new Set([...saved.values()].flatMap(({ chunks }) => numbersIn(chunks)));
    const isAtHome = (n: number) => pending.has(n) || events.stored.has(n) || inLetters.has(n) || inFiles.has(n);
    none(
      'accepted events without a home (I1)',
      [...kinds.keys()].filter((n) => !isAtHome(n)),
    );
    none(
      'events stored twice (I2)',
      [...events.stored].flatMap(([n, count]) => (count > 1 ? [n] : [])),
    );
    // Fewer only until what the view missed is sent again.
    if (events.counted > events.stored.size)
      same('events in the counting view (I2)', events.counted, events.stored.size);
    none(
      'good events in quarantine (I4)',
      numbersOf(deadLetters.quarantined()).filter((n) => kinds.get(n) === 'good'),
    );
    none('ids with two byte strings (I8)', [...events.changedIds, ...deadLetters.changedIds]);
    const usage = channel.usage();
    same('pending events are those that wait (I6)', usage.events, pending.size);
    // What an earlier process saved was accepted under the limits of its time.
    if (saved.size === 0 && (usage.events > limits.maxEvents || usage.bytes > limits.maxBytes)) {
      throw new Error(`pending above its limits (I6): ${JSON.stringify(usage)}`);
    }
    same('the ledger closes (I1)', ledger.stored + ledger.deadLettered + usage.events, ledger.accepted);
  }

  function heal() {
    Object.assign(events, { down: false, hangs: false, failWith: null, minRows: 0, drifted: false, resets: 0 });
    events.failsByChance = () => false;
    events.commitThenCut =
      events.diesBeforeView =
      events.diesBeforePart =
      deadLetters.commitThenCut =
      deadLetters.down =
      deadLetters.full =
        false;
  }

  function isAtRest() {
    return weir.channel.usage().events === 0 && deadLetters.alive().length === 0 && !isFatal(weir.flags.facts());
  }

  /** What must hold once everything was healed and had its time. */
  function checkEnd() {
    check();
    same('events in the counting view at rest (I2)', events.counted, events.stored.size);
    const good = [...kinds].filter(([, kind]) => kind === 'good').map(([n]) => n);
    const poison = [...kinds].filter(([, kind]) => kind !== 'good').map(([n]) => n);
    expect([...events.stored.keys()].sort(byNumber), 'every good event is stored (I2)').toEqual(good);
    expect(numbersOf(deadLetters.quarantined()).sort(byNumber), 'every bad event is quarantined (I5)').toEqual(poison);
    expect(weir.channel.usage(), 'nothing is pending (I6)').toEqual({ events: 0, bytes: 0, reservedBytes: 0 });
    expect(isFatal(weir.flags.facts()), 'fatal is clear (I3)').toBe(false);
  }
}

// Not expect(): these run a million times.
function none(what: string, found: readonly unknown[]) {
  if (found.length > 0) throw new Error(`${what}: ${found.join(', ')}`);
}
function same(what: string, found: number, expected: number) {
  if (found !== expected) throw new Error(`${what}: ${found} instead of ${expected}`);
}

const byNumber = (a: number, b: number) => a - b;

/** The store as a process sees it: when its life is over, no answer arrives any more. */
function mortal<Store extends object>(store: Store, life: { readonly isOver: boolean }): Store {
  const never = new Promise<never>(() => {});
  return new Proxy(store, {
    get(target, name) {
      const part: unknown = Reflect.get(target, name);
      if (typeof part !== 'function') return part;
      return async (...given: unknown[]) => {
        if (life.isOver) return never;
        try {
          const answer: unknown = await Reflect.apply(part, target, given);
          return life.isOver ? await never : answer;
        } catch (error) {
          if (life.isOver) return never;
          throw error;
        }
      };
    },
  });
}
