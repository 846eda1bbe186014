/**
 * Runs one service as several processes: keeps every worker's slot occupied, has abandoned directories delivered,
 * answers requests that concern all workers, and ends them together. Of HTTP requests, it takes part only in those with
 * an idempotency key.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Config } from '../config/config.ts';
import { kafkaSettingsOfWorker } from '../config/kafka-settings.ts';
import type { Demo } from '../composition/demo.ts';
import { createIdempotency } from '../http/ingest/idempotency.ts';
import { createRateLimit } from '../http/access/rate-limit.ts';
import { QUERY_SLOTS, createQuerySlots } from '../http/read/query-slots.ts';
import type { Log } from '../log/log.ts';
import { recoveredIn } from '../metrics/pages.ts';
import type { StopOptions } from '../composition/weir.ts';
import type { StoreAccess } from '../composition/storage.ts';
import { createIdempotencyClaims } from './idempotency-claims.ts';
import type { Fork } from './fork.ts';
import type { Answerers } from './ipc-channel.ts';
import type { WorkerRequests, Assignment, WorkerRole, WorkerMessage } from './messages.ts';
import { createAbandonedDeliveries } from './abandoned-deliveries.ts';
import { createSnapshotCollector } from './snapshot-collector.ts';
import type { OpenWatch } from '../watch/messages.ts';
import { createSharedWatch } from './shared-watch.ts';
import { abandonedWorkers } from './worker-directories.ts';
import { type WorkerSlot, type WorkerSlotEvents, createWorkerSlot } from './worker-slot.ts';
import { createQuerySlotKeeper } from './shared-query-slots.ts';

export type Supervisor = {
  readonly port: number;
  /** The demo project, created by a worker; null where none is wanted. */
  findDemo(): Promise<Demo | null>;
  /** Attributes requests without a token to the project, in every worker. */
  admitAnonymous(projectId: string): void;
  /** Drains all workers at the same time. `unclean`: those that did not end as they should, whose losses are unknown. */
  stop(how: StopOptions): Promise<{ readonly lost: number; readonly unclean: number }>;
  /** Tells every worker to save its events and end at once. Synchronous; they end by themselves. */
  leave(): void;
  /** Tells of the events of all workers. */
  readonly openWatch: OpenWatch;
};

export type SupervisorDeps = {
  readonly fork: Fork;
  /** With the port that all workers share. */
  readonly config: Config;
  readonly access: StoreAccess;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Aborted when the service is to end: the start then no longer waits for a worker. */
  readonly signal: AbortSignal;
};

/** A worker cannot start, for the reason in the message. */
export class WorkerCannotStart extends Error {
  override readonly name = 'WorkerCannotStart';
}

/** Also while no page is requested, so that little of what a worker counted is lost when it dies. */
const SNAPSHOT_EVERY_MS = 5_000;
/** Keys claimed or waited for at the same time: as many as there can be concurrent requests. */
const MAX_CLAIMS = 50_000;
const RETRY_MS = 2_000;
const REMEMBER_WITHIN_MS = 30_000;
const DEMO_WITHIN_MS = 24 * 60 * 60_000;
/** How long a worker may take beyond its grace before it is killed. */
const BEYOND_GRACE_MS = 5_000;

/** Resolves when the workers listen, or when `signal` aborts. Throws `WorkerCannotStart`; then none of them is left. */
export async function startSupervisor(deps: SupervisorDeps): Promise<Supervisor> {
  const { config, clock, log } = deps;
  const numbers = Array.from({ length: config.workers }, (_, index) => index + 1);
  const abandoned = abandonedWorkers(config.dataDir, config.workers);
  const stopping = new AbortController();
  const claims = createIdempotencyClaims(
    { idempotency: createIdempotency({ clock }), unread: [...numbers, ...abandoned] },
    { maxOpen: MAX_CLAIMS },
  );
  const rateLimit = config.rateLimit && createRateLimit(config.rateLimit);
  const querySlots = createQuerySlotKeeper(createQuerySlots({ clock }, QUERY_SLOTS));
  let anonymousProject: string | null = null;
  let lost = 0;
  const started = Promise.withResolvers<void>();
  let hasStarted = false;
  const slots = numbers.map((worker) => createSlot(worker, 'serve', {}));
  const deliveries = createAbandonedDeliveries({
    createSlot: (worker, events) => createSlot(worker, 'deliver', events),
    onMessage: receive,
    onUnreadable: (worker) => claims.restore(worker, [], true),
    remember: async (keys) => (await slots[0]!.ask('remember', keys, REMEMBER_WITHIN_MS)) !== null,
    countEnded: (...counts) => snapshots.countEnded(...counts),
    dataDir: config.dataDir,
    stopping: stopping.signal,
    clock,
    log,
  });
  const allSlots = () => [...slots, ...deliveries.slots()];
  const watch = createSharedWatch(allSlots);
  const snapshots = createSnapshotCollector(allSlots);

  const ends = slots.map((slot) => slot.run());
  deps.signal.addEventListener('abort', () => started.resolve(), { once: true });
  if (deps.signal.aborted) started.resolve();
  const delivered = deliveries.run(abandoned);
  try {
    await started.promise;
  } catch (error) {
    await stopAll({ isAnnounced: false });
    throw error;
  }
  const collecting = collectRegularly();
  return { port: config.port, findDemo, admitAnonymous, stop, leave, openWatch: watch.open };

  function createSlot(worker: number, role: WorkerRole, events: Partial<WorkerSlotEvents>): WorkerSlot {
    const answerers: Answerers<WorkerRequests> = {
      snapshots: () => snapshots.collect(),
      claim: (request) => claims.claim(worker, request),
      querySlot: (request) => querySlots.take(worker, request),
      rate: async (projectId) => ({ refusal: (await rateLimit?.(projectId)) ?? null }),
    };
    return createWorkerSlot({
      ...deps,
      assignment: () => assignmentOf(worker, role),
      answerers,
      events: {
        onMessage: (message) => receive(worker, message),
        onReplaced: (last, next) => snapshots.countEnded(last.metrics, recoveredIn(next.metrics)),
        onEnded() {
          claims.died(worker);
          querySlots.died(worker);
        },
        mayTryAgain,
        ...events,
      },
    });

    /** A worker that cannot run ends the service while it starts, but not once it runs. */
    function mayTryAgain({ signal, error, reason }: Parameters<WorkerSlotEvents['mayTryAgain']>[0]): boolean {
      if (hasStarted) return true;
      if (signal !== null) {
        noteProgress();
        return true;
      }
      const why = reason ?? error ?? `worker ${worker} ended before it listened; see its log for the reason`;
      started.reject(new WorkerCannotStart(why));
      return false;
    }
  }

  function assignmentOf(worker: number, role: WorkerRole): Assignment {
    const { access, version } = deps;
    // Regardless of the current setting: an abandoned journal holds events.
    const journal = { ...config.journal, mode: role === 'deliver' ? 'on' : config.journal.mode };
    const kafka = config.kafka && config.workers > 1 ? kafkaSettingsOfWorker(config.kafka, worker) : config.kafka;
    return { worker, role, config: { ...config, journal, kafka }, access, version, anonymousProject };
  }

  function receive(worker: number, message: WorkerMessage) {
    switch (message.kind) {
      case 'running':
        return noteProgress();
      case 'keys':
        return claims.restore(worker, message.keys, message.isAll);
      case 'release':
        return claims.release(worker, message.claim, message.answer);
      case 'leave query slot':
        return querySlots.leave(worker, message.slot);
      case 'watched':
        return watch.receive(worker, message.report);
      case 'stopped':
        lost += message.lost;
        return;
      case 'cannot start':
      case 'delivered':
      // The slot has already handled these.
    }
  }

  /** The service has started when every worker has, or was killed meanwhile: a killed one is restarted. */
  function noteProgress() {
    const states = new Set(slots.map((slot) => slot.member().state));
    if (!states.has('listening') || states.has('starting')) return;
    hasStarted = true;
    started.resolve();
  }

  async function collectRegularly() {
    while (!stopping.signal.aborted) {
      await snapshots.collect();
      await clock.sleep(SNAPSHOT_EVERY_MS, stopping.signal);
    }
  }

  async function findDemo(): Promise<Demo | null> {
    // A worker may die while it creates the demo; the next one finds what it began.
    while (!stopping.signal.aborted) {
      const found = await slots[0]!.ask('demo', null, DEMO_WITHIN_MS);
      if (found !== null) return found.demo;
      await clock.sleep(RETRY_MS, stopping.signal);
    }
    return null;
  }

  function admitAnonymous(projectId: string) {
    anonymousProject = projectId;
    for (const slot of slots) slot.tell({ kind: 'admit', projectId });
  }

  async function stop(how: StopOptions) {
    const unclean = await stopAll(how);
    await collecting;
    return { lost, unclean };
  }

  /** Returns how many of the workers did not stop cleanly. */
  async function stopAll(how: StopOptions): Promise<number> {
    stopping.abort();
    for (const slot of allSlots()) slot.stop(how);
    const done = new AbortController();
    const delayMs = how.isAnnounced ? config.drainDelayMs : 0;
    const killing = clock.sleep(delayMs + config.shutdownGraceMs + BEYOND_GRACE_MS, done.signal).then(() => {
      if (done.signal.aborted) return;
      log.error({ graceMs: config.shutdownGraceMs }, 'workers did not stop in time; killing them');
      for (const slot of allSlots()) slot.kill();
    });
    const [results] = await Promise.all([Promise.all(ends), delivered]);
    done.abort('ended');
    await killing;
    return results.filter(({ wasClean }) => !wasClean).length;
  }

  function leave() {
    for (const slot of allSlots()) slot.tell({ kind: 'leave' });
  }
}
