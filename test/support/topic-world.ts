/**
 * A small world of processes around one topic: some that take events in and relay them, some that flush, all of which
 * can be killed or frozen at any moment, and an account of every accepted event, checked by number.
 */
import { expect } from 'vitest';
import type { Envelope, ProjectId } from '../../src/event/event.ts';
import { regroup } from '../../src/journal/regroup.ts';
import { createLog } from '../../src/log/log.ts';
import { type Batch, type BatchId, freezeBatch } from '../../src/pipeline/batch.ts';
import { createChannel } from '../../src/pipeline/channel.ts';
import { createFlags } from '../../src/pipeline/flags.ts';
import { createFlusher } from '../../src/pipeline/flusher.ts';
import { createIsolate } from '../../src/pipeline/isolate.ts';
import { journaledChannel } from '../../src/pipeline/journaled-channel.ts';
import { createLedger } from '../../src/pipeline/ledger.ts';
import type { Journal } from '../../src/pipeline/ports.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { timedUuidOf } from '../../src/event/uuid.ts';
import type { CutLimits } from '../../src/topic/frame.ts';
import { createPartitionTurns } from '../../src/topic/partition-turns.ts';
import { createRelay } from '../../src/topic/relay.ts';
import type { Tenure } from '../../src/topic/topic-port.ts';
import { serialWriter } from '../../src/topic/serial-writer.ts';
import { createTopicChannel } from '../../src/topic/topic-channel.ts';
import { createManualClock, type ManualClock } from './clock.ts';
import { OTHER_PROJECT, PROJECT } from './factory.ts';
import {
  type DeadLettersFake,
  type EventStoreFake,
  createDeadLettersFake,
  createEventStoreFake,
  numbersOf,
} from './fakes.ts';
import { createFakeTopic, type FakeTopic, type Life } from './fake-topic.ts';
import { createDrainParts, createStoreWatch, type Settings } from './pipeline.ts';
import { type Kind, type RowSpec, envelopeOfRows, rowOf } from './rows.ts';

const PROJECTS = [PROJECT, OTHER_PROJECT];
const log = createLog('silent');

export type TopicWorldSettings = {
  readonly partitionCount?: number;
  /** Inserts that the event store remembers. */
  readonly window?: number;
  readonly cut?: CutLimits;
  readonly maxBytes?: number;
  readonly settings?: Settings;
};

export type TopicWorld = ReturnType<typeof createTopicWorld>;

/** What pipeline and drain take for half of what the event store remembers. */
const HALF_WINDOW = 5_000;

export function createTopicWorld(random: () => number, given: TopicWorldSettings = {}) {
  const clock = createManualClock();
  const window = given.window ?? 10_000;
  const events = createEventStoreFake({ clock, window });
  const countInserts = events.countInserts.bind(events);
  events.countInserts = async (ageMs, signal) => ((await countInserts(ageMs, signal)) * HALF_WINDOW * 2) / window;
  const deadLetters = createDeadLettersFake({ clock });
  const topic = createFakeTopic({ clock, random }, given);
  const cut = given.cut ?? { maxEvents: 10, maxBytes: 10_000, maxWaitMs: 2_000 };
  const kinds = new Map<number, Kind>();
  const counts = { ingestKills: 0, flushKills: 0, freezes: 0, repeats: 0 };
  let made = 0;

  const shared = { clock, random, events, deadLetters, topic, cut, counts, newUuid };
  return {
    ...shared,
    kinds,
    ingest: createIngestNode(shared, kinds),
    flush: (maxBytes?: number) => startFlush(maxBytes),
    checkStores,
    checkEnd,
    heal,
  };

  function newUuid() {
    return timedUuidOf(clock.now(), `${made++}`);
  }

  function startFlush(maxBytes = given.maxBytes ?? 1_000_000) {
    return createFlushNode(shared, { ...given.settings, maxBytes });
  }

  /** What must hold at every instant. */
  function checkStores() {
    none(
      'events stored twice',
      [...events.stored].flatMap(([n, count]) => (count > 1 ? [n] : [])),
    );
    none(
      'events that nobody sent',
      [...events.stored.keys()].filter((n) => !kinds.has(n)),
    );
    none('ids with two byte strings', [...events.changedIds, ...deadLetters.changedIds]);
    none(
      'good events in quarantine',
      numbersOf(deadLetters.quarantined()).filter((n) => kinds.get(n) === 'good'),
    );
    if (topic.mostAtOnce > 1) throw new Error('two appends to one partition at once');
  }

  function heal() {
    Object.assign(events, { down: false, hangs: false, failWith: null, minRows: 0, drifted: false, resets: 0 });
    events.failsByChance = () => false;
    events.commitThenCut = deadLetters.commitThenCut = deadLetters.down = deadLetters.full = false;
    Object.assign(topic, { down: false, refuse: null, losesCommit: () => false, delaysCommit: () => 0 });
  }

  /** What must hold once everything was healed and had its time. */
  function checkEnd() {
    checkStores();
    const good = [...kinds].filter(([, kind]) => kind === 'good').map(([n]) => n);
    const poison = [...kinds].filter(([, kind]) => kind !== 'good').map(([n]) => n);
    expect([...events.stored.keys()].sort(byNumber), 'every good event is stored').toEqual(good);
    const quarantined = [...new Set(numbersOf(deadLetters.quarantined()))];
    expect(quarantined.sort(byNumber), 'every bad event is quarantined').toEqual(poison);
    expect(deadLetters.alive(), 'no letter is left').toEqual([]);
    expect(
      topic.partitions.map((_, partition) => topic.lagOf(partition)),
      'all of the topic has settled',
    ).toEqual(topic.partitions.map(() => 0));
  }
}

type Shared = {
  readonly clock: ManualClock;
  readonly random: () => number;
  readonly events: EventStoreFake;
  readonly deadLetters: DeadLettersFake;
  readonly topic: FakeTopic;
  readonly cut: CutLimits;
  readonly counts: { ingestKills: number; flushKills: number; freezes: number; repeats: number };
  readonly newUuid: () => string;
};

/** A node with a disk of its own. */
function createIngestNode({ clock, random, topic, cut, counts, newUuid }: Shared, kinds: Map<number, Kind>) {
  const disk = createDisk(clock, random);
  let offered = 0;
  let running = start();

  return {
    get now() {
      return running;
    },
    offer,
    kill,
    isAtRest: () => running.channel.usage().events === 0,
    checkLedger() {
      const { ledger, channel } = running;
      same('the ledger closes', ledger.replicated + channel.usage().events, ledger.accepted);
    },
  };

  function start() {
    const life: Life = { isOver: false };
    const turns = createPartitionTurns({ newUuid });
    const ledger = createLedger();
    const inMemory = createChannel(
      { clock, newBatchId: turns.newFrameId },
      { maxEvents: 200, maxBytes: 200_000, projectShare: 0.9 },
      { maxEvents: 8, maxBytes: 8_000, maxWaitMs: 0 },
    );
    const journal = disk.open(life);
    const channel = journaledChannel({ channel: inMemory, journal, clock, log });
    const adopt = (batch: Batch) => {
      ledger.accepted += batch.eventCount;
      counts.repeats++;
      channel.adopt(batch, () => {});
    };
    for (const batch of disk.batches()) adopt({ ...batch, mayHaveLanded: true });
    for (const batch of regroup(disk.loose())) adopt(batch);
    const writer = topic.writer(life);
    const relay = createRelay({ channel, writer, turns, ledger, clock, random, log }, { cut });
    const done = relay.run();
    return { life, channel, journal, ledger, relay, done };
  }

  /** Takes events in as a request: they count as accepted when they are on disk. */
  function offer(kindsOf: readonly Kind[], rowOptions: Partial<RowSpec> = {}) {
    const { channel, journal, ledger } = running;
    const projectId: ProjectId = PROJECTS[Math.floor(random() * PROJECTS.length)]!;
    const receivedAt = clock.now();
    const rows = kindsOf.map((kind) => ({ ...rowOptions, n: offered++, kind, projectId, receivedAt }));
    const envelope = envelopeOfRows(rows.map(rowOf), projectId);
    const place = channel.hold(envelope, channel.reserve());
    if (typeof place === 'string') return place;
    const { sequence } = journal.append(envelope);
    ledger.accepted += envelope.eventCount;
    place.queue(sequence);
    for (const { n, kind } of rows) kinds.set(n, kind);
    return 'queued';
  }

  /** As `kill -9`: what was on its way may arrive, and what was settled last may not be on disk as settled. */
  function kill() {
    counts.ingestKills++;
    running.life.isOver = true;
    running.relay.giveUp();
    disk.forgetSome();
    running = start();
  }
}

/** A journal's files: what survives a process. */
function createDisk(clock: Clock, random: () => number) {
  const envelopes = new Map<number, Envelope>();
  const batches = new Map<BatchId, readonly number[]>();
  let settled: { id: BatchId; sequences: readonly number[]; envelopes: Envelope[]; at: number }[] = [];
  let sequence = 0;
  return { open, batches: cutBatches, loose, forgetSome };

  function open(life: Life): Journal {
    return {
      isFull: () => false,
      append(envelope) {
        envelopes.set(++sequence, envelope);
        return { sequence, written: Promise.resolve() };
      },
      async cut(id, sequences) {
        const isEarly = random() < 0.5;
        const write = () => void (life.isOver || batches.set(id, sequences));
        if (isEarly) write();
        await clock.sleep(Math.floor(random() * 10));
        write();
        // A dead process goes no further.
        if (life.isOver) await new Promise(() => {});
      },
      settle(id) {
        const sequences = batches.get(id);
        if (life.isOver || sequences === undefined) return;
        settled.push({ id, sequences, envelopes: sequences.map((at) => envelopes.get(at)!), at: clock.elapsed() });
        batches.delete(id);
        for (const at of sequences) envelopes.delete(at);
      },
    };
  }

  function forgetSome() {
    const recent = settled.filter(({ at }) => clock.elapsed() - at < 1_000).slice(-3);
    const from = Math.floor(random() * (recent.length + 1));
    for (const lost of recent.slice(from)) {
      batches.set(lost.id, lost.sequences);
      for (const [place, at] of lost.sequences.entries()) envelopes.set(at, lost.envelopes[place]!);
    }
    settled = [];
  }

  function cutBatches(): Batch[] {
    return [...batches].map(([id, sequences]) => ({
      ...freezeBatch(
        id,
        sequences.map((at) => envelopes.get(at)!),
      ),
      sequences,
    }));
  }

  function loose() {
    const inBatches = new Set([...batches.values()].flat());
    return [...envelopes].flatMap(([at, envelope]) => (inBatches.has(at) ? [] : { sequence: at, envelope }));
  }
}

/** A process that flushes. */
function createFlushNode(
  { clock: worldClock, random, events, deadLetters, topic, counts }: Shared,
  { maxBytes, ...settings }: Settings & { maxBytes: number },
) {
  const life: Life = { isOver: false };
  const gate = createGate();
  const clock = gatedClock(worldClock, gate);
  const stop = new AbortController();
  const mine = <T extends object>(store: T) => gated(store, life, gate);
  const writer = serialWriter(mine(topic.writer(life)));
  const reader = topic.reader(life);
  const channel = createTopicChannel(
    {
      reader: {
        run: (holder, signal) =>
          reader.run({ taken: (tenure) => gate.pass(() => holder.taken(gatedTenure(tenure))) }, signal),
      },
      writer,
      clock,
      log,
    },
    { maxBytes },
  );
  const ledger = createLedger();
  const flags = createFlags({ intake: 'open' }, () => {});
  const store = mine(events);
  const watch = createStoreWatch(clock as ManualClock, store.answers, random);
  const parts = { clock: clock as ManualClock, events: store, deadLetters: mine(deadLetters) };
  const locked = deadLetters.lockedBy(life);
  const flusher = createFlusher(
    {
      ...parts,
      ...watch,
      channel,
      isolate: createIsolate({ events: store, clock }),
      flags,
      ledger,
      random,
      log,
      usage: () => {},
      onInsert: () => {},
      onStored: () => {},
    },
    { maxInFlight: settings.maxInFlight ?? 4, batchEvents: 10 },
  );
  const { drain } = createDrainParts(
    { ...parts, locked: { ...mine(locked), store: mine(locked.store) } },
    { ...watch, flags, ledger, isFreshBusy: flusher.isBusy },
    { random, ...settings },
  );
  const running = channel.run(stop.signal);
  const flusherDone = flusher.run();
  void watch.heartbeat.run(stop.signal);
  void drain.run(stop.signal);

  return { life, channel, flusher, ledger, flags, breaker: watch.breaker, kill, end, freeze, thaw, checkLedger };

  function gatedTenure(tenure: Tenure): Tenure {
    return {
      ...tenure,
      read: gate.answers(life, tenure.read),
      offsetAt: gate.answers(life, tenure.offsetAt),
      commit: gate.answers(life, tenure.commit),
    };
  }

  function kill() {
    counts.flushKills++;
    life.isOver = true;
    stop.abort();
  }

  /** As SIGTERM does. */
  async function end() {
    channel.close();
    flusher.stopInserting();
    await flusherDone;
    stop.abort();
    await running;
    life.isOver = true;
  }

  function freeze() {
    counts.freezes++;
    gate.close();
  }

  function thaw() {
    gate.open();
  }

  function checkLedger() {
    const { taken, stored, deadLettered, handedOver } = ledger;
    same('the ledger closes', stored + deadLettered + handedOver + channel.usage().events, taken);
    same('nothing of the topic is unhomed', flags.facts().unhomed, 0);
    const held = channel.lag().reduce((sum, { bytes }) => sum + bytes, 0);
    if (held > maxBytes + 30_000) throw new Error(`${held} bytes are held`);
  }
}

type Gate = ReturnType<typeof createGate>;

/** What a frozen process would do waits until it goes on. */
function createGate() {
  let opened = Promise.resolve();
  let letThrough: (() => void) | null = null;
  const gate = {
    close() {
      if (letThrough !== null) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      opened = promise;
      letThrough = resolve;
    },
    open() {
      letThrough?.();
      letThrough = null;
      opened = Promise.resolve();
    },
    isClosed: () => letThrough !== null,
    wait: () => opened,
    pass(work: () => void) {
      if (letThrough === null) work();
      else void opened.then(work);
    },
    /** A call whose answer reaches the process only while it lives and runs. */
    answers:
      <Given extends unknown[], Answer>(life: Life, call: (...given: Given) => Promise<Answer>) =>
      async (...given: Given): Promise<Answer> => {
        if (life.isOver) return new Promise(() => {});
        try {
          return await call(...given);
        } finally {
          if (letThrough !== null) await opened;
          if (life.isOver) await new Promise(() => {});
        }
      },
  };
  return gate;
}

function gatedClock(clock: Clock, gate: Gate): Clock {
  return {
    now: clock.now,
    elapsed: clock.elapsed,
    turn: clock.turn,
    async sleep(ms, signal) {
      await clock.sleep(ms, signal);
      if (gate.isClosed()) await gate.wait();
    },
  };
}

function gated<T extends object>(store: T, life: Life, gate: Gate): T {
  return new Proxy(store, {
    get(target, name) {
      const part: unknown = Reflect.get(target, name);
      if (typeof part !== 'function') return part;
      const call = gate.answers(life, async (...given: unknown[]) => Reflect.apply(part, target, given) as unknown);
      return ['maxRecordBytes', 'isUp', 'trouble'].includes(String(name)) ? part : call;
    },
  });
}

// Not expect(): these run a million times.
function none(what: string, found: readonly unknown[]) {
  if (found.length > 0) throw new Error(`${what}: ${found.join(', ')}`);
}
function same(what: string, found: number, expected: number) {
  if (found !== expected) throw new Error(`${what}: ${found} instead of ${expected}`);
}

const byNumber = (a: number, b: number) => a - b;
