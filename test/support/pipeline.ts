/** A whole pipeline on fakes and a manual clock. */
import type { ProjectId } from '../../src/event/event.ts';
import { createLog } from '../../src/log/log.ts';
import type { Batch } from '../../src/pipeline/batch.ts';
import { createBreaker } from '../../src/pipeline/breaker.ts';
import { createChannel } from '../../src/pipeline/channel.ts';
import type { BatchLimits, ChannelLimits, Destination } from '../../src/pipeline/channel-port.ts';
import { createDrain, type DrainLimits } from '../../src/pipeline/drain.ts';
import { createFlags } from '../../src/pipeline/flags.ts';
import { createFlusher } from '../../src/pipeline/flusher.ts';
import { createHeartbeat } from '../../src/pipeline/heartbeat.ts';
import { createIsolate } from '../../src/pipeline/isolate.ts';
import { createLedger } from '../../src/pipeline/ledger.ts';
import type { DeadLetterStore, LockedDeadLetters } from '../../src/pipeline/dead-letter-port.ts';
import type { EventStore } from '../../src/pipeline/ports.ts';
import type { ReplayPolicy } from '../../src/pipeline/replay-attempts.ts';
import { createReplayer } from '../../src/pipeline/replay.ts';
import { createManualClock, type ManualClock } from './clock.ts';
import { PROJECT } from './factory.ts';
import { createDeadLettersFake, createEventStoreFake, type DeadLettersFake, type EventStoreFake } from './fakes.ts';
import { batchIdAt, batchIdOf, envelopeOfRows, goodRows, rowOf, type RowSpec } from './rows.ts';

export const LEASE_MS = 90_000;
export const POLICY: ReplayPolicy = {
  maxAttempts: 20,
  maxAgeMs: 24 * 3_600_000,
  quarantine: 'healthy',
  leaseMs: LEASE_MS,
};

/** What outlives a process. */
export type World = {
  readonly clock: ManualClock;
  readonly events: EventStoreFake;
  readonly deadLetters: DeadLettersFake;
};

export type Settings = {
  readonly channel?: Partial<ChannelLimits>;
  readonly batch?: Partial<BatchLimits>;
  readonly maxInFlight?: number;
  readonly policy?: Partial<ReplayPolicy>;
  readonly drain?: Partial<DrainLimits>;
  readonly random?: () => number;
  readonly newBatchId?: () => Batch['id'];
};

export function createWorld(): World {
  const clock = createManualClock();
  return { clock, events: createEventStoreFake({ clock }), deadLetters: createDeadLettersFake({ clock }) };
}

/** Batch ids in order of creation; every world counts on its own. */
/** With a clock, ids tell when they were created, as in production. */
export function countingBatchIds(clock?: ManualClock): () => Batch['id'] {
  let made = 0;
  return () => (clock ? batchIdAt(clock.now(), ++made) : batchIdOf(++made));
}

/** One drainer, as in a process of its own: with its own breaker, or the flusher's. */
export function createDrainParts(
  {
    clock,
    events,
    deadLetters,
    locked,
  }: { clock: ManualClock; events: EventStore; deadLetters: DeadLetterStore; locked: LockedDeadLetters },
  shared: Pick<ReturnType<typeof createStoreWatch>, 'breaker' | 'heartbeat'> & {
    flags: Pick<ReturnType<typeof createFlags>, 'measured'>;
    ledger: ReturnType<typeof createLedger>;
    isFreshBusy: () => boolean;
    isPaused?: () => boolean;
    usage?: (projectId: string, count: number) => void;
  },
  { policy, drain, random = () => 0.5 }: Settings,
) {
  const log = createLog('silent');
  const replayerOn = (store: DeadLetterStore) =>
    createReplayer(
      {
        events,
        deadLetters: store,
        isolate: createIsolate({ events, clock }),
        clock,
        random,
        log,
        usage: () => {},
        onInsert: () => {},
        ...shared,
      },
      { ...POLICY, ...policy },
    );
  const replayer = replayerOn(deadLetters);
  const parts = createDrain(
    {
      deadLetters,
      replayer,
      locked: { ...locked, replayer: replayerOn({ ...deadLetters, ...locked.store }) },
      clock,
      random,
      log,
      isPaused: () => false,
      onPass: () => {},
      ...shared,
    },
    { intervalMs: 2_000, maxRows: 10, maxInFlight: 4, leaseMs: LEASE_MS, ...drain },
  );
  return { replayer, drain: parts };
}

/** Breaker and heartbeat, wired as in `weir.ts`. */
export function createStoreWatch(clock: ManualClock, answers: () => Promise<void>, random: () => number) {
  const changes: string[] = [];
  const breaker = createBreaker({ clock, random, onChange: ({ kind }) => changes.push(kind) });
  const heartbeat = createHeartbeat({
    clock,
    ask: () => answers().then(() => true),
    onChange: (isUp) => {
      if (isUp) breaker.allowProbe();
    },
    onDown: () => breaker.trip('unavailable'),
  });
  return { breaker, heartbeat, changes };
}

/** Builds everything and starts nothing. */
export function createPipeline(world: World, settings: Settings = {}) {
  const { clock, events, deadLetters } = world;
  const random = settings.random ?? (() => 0.5);
  const limits: ChannelLimits = { maxEvents: 100, maxBytes: 100_000, projectShare: 0.5, ...settings.channel };
  const channel = createChannel({ clock, newBatchId: settings.newBatchId ?? countingBatchIds() }, limits, {
    maxEvents: 10,
    maxBytes: 10_000,
    maxWaitMs: 2_000,
    ...settings.batch,
  });
  const flags = createFlags({ intake: 'open' }, () => {});
  const ledger = createLedger();
  const watch = createStoreWatch(clock, events.answers, random);
  const used = new Map<string, number>();
  const usage = (projectId: string, count: number) => used.set(projectId, (used.get(projectId) ?? 0) + count);
  const log = createLog('silent');
  const flusher = createFlusher(
    {
      channel,
      events,
      deadLetters,
      isolate: createIsolate({ events, clock }),
      ...watch,
      flags,
      ledger,
      clock,
      random,
      log,
      usage,
      onInsert: () => {},
      onStored: () => {},
    },
    { maxInFlight: settings.maxInFlight ?? 4, batchEvents: settings.batch?.maxEvents ?? 10 },
  );
  const draining = { isPaused: false };
  const { replayer, drain } = createDrainParts(
    { ...world, locked: deadLetters.lockedBy() },
    { ...watch, flags, ledger, usage, isFreshBusy: flusher.isBusy, isPaused: () => draining.isPaused },
    settings,
  );
  const destinations: Destination[] = [];

  return {
    ...world,
    ...watch,
    channel,
    limits,
    flags,
    ledger,
    flusher,
    replayer,
    drain,
    draining,
    destinations,
    used,
    log,
    offer,
  };

  /** Offers rows of one project as one request. */
  function offer(
    rows: readonly RowSpec[],
    projectId: ProjectId = PROJECT,
    onSettled: (destination: Destination) => void = () => {},
  ) {
    const envelope = envelopeOfRows(
      rows.map((spec) => rowOf({ ...spec, projectId })),
      projectId,
    );
    const answer = channel.offer(envelope, channel.reserve(), (destination) => {
      destinations.push(destination);
      onSettled(destination);
    });
    if (answer === 'queued') ledger.accepted += rows.length;
    return answer;
  }
}

/** The same with a running flusher, heartbeat, and drain unless told otherwise. */
export function startPipeline(settings: Settings & { isDraining?: boolean } = {}) {
  const parts = createPipeline(createWorld(), settings);
  const stop = new AbortController();
  const flusherDone = parts.flusher.run();
  void parts.heartbeat.run(stop.signal);
  if (settings.isDraining) void parts.drain.run(stop.signal);
  let next = 0;
  return {
    ...parts,
    flusherDone,
    stop: () => stop.abort(),
    /** Offers `count` good rows that were never offered before. */
    offerGood(count: number, projectId?: ProjectId) {
      const rows = goodRows(count, next);
      next += count;
      return parts.offer(rows, projectId);
    },
  };
}
