/** Keeps one worker's slot occupied: starts a process, and another whenever it ends, until the slot is given up. */
import type { Clock } from '../runtime/clock.ts';
import type { WorkerHealth } from '../http/health/health-snapshot.ts';
import type { Log } from '../log/log.ts';
import type { StopOptions } from '../composition/weir.ts';
import type { Snapshot } from '../composition/pages.ts';
import type { Exit, Fork, WorkerProcess } from './fork.ts';
import { type Answerers, type IpcChannel, createIpcChannel } from './ipc-channel.ts';
import type { SupervisorRequests, WorkerRequests, Assignment, SupervisorMessage, WorkerMessage } from './messages.ts';
import { createRestarts } from './restarts.ts';
import type { WorkerMember } from './aggregated-pages.ts';

/** How the slot was given up. `wasClean`: the last process ended in order, with everything safe. */
export type WorkerSlotEnd = { readonly wasClean: boolean };

export type WorkerSlot = {
  /** Keeps the slot occupied until `stop`, or until everything is delivered. */
  run(): Promise<WorkerSlotEnd>;
  member(): WorkerMember;
  /** Requests a new snapshot from the process, unless one is pending. Returns after `withinMs` at the latest. */
  refresh(withinMs: number): Promise<void>;
  ask: IpcChannel<SupervisorRequests, SupervisorMessage>['ask'];
  tell(message: SupervisorMessage): void;
  /** Lets the process drain and starts no other. */
  stop(how: StopOptions): void;
  kill(): void;
};

export type WorkerSlotDeps = {
  readonly fork: Fork;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly assignment: () => Assignment;
  readonly answerers: Answerers<WorkerRequests>;
  readonly events: WorkerSlotEvents;
};

export type WorkerSlotEvents = {
  readonly onMessage: (message: WorkerMessage) => void;
  /** The process has sent its first snapshot, which replaces its predecessor's. */
  readonly onReplaced: (last: Snapshot, next: Snapshot) => void;
  readonly onEnded: () => void;
  /** Whether to replace a process that ended before it ran. */
  readonly mayTryAgain: (exit: Exit & { readonly reason: string | null }) => boolean;
};

type Running = {
  readonly child: WorkerProcess;
  readonly channel: IpcChannel<SupervisorRequests, SupervisorMessage>;
  hasRun: boolean;
  isDelivered: boolean;
  /** Why it cannot start, in its own words. */
  reason: string | null;
  /** The snapshot that was requested and has not arrived. */
  pendingSnapshot: Promise<void> | null;
  isSilent: boolean;
};

/** A process replies as soon as it can; only its end settles the request earlier. */
const NEVER_LATE_MS = 24 * 60 * 60_000;

/**
 * Signals that Ctrl-C and service managers send to every process. A worker that has not run yet may die of one; it
 * holds no events.
 */
const TO_ALL: ReadonlySet<string | null> = new Set(['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM']);

export function createWorkerSlot(deps: WorkerSlotDeps): WorkerSlot {
  const { fork, clock, log, events, answerers } = deps;
  const { worker, role } = deps.assignment();
  const restarts = createRestarts(deps.random);
  const stopping = new AbortController();
  let running: Running | null = null;
  let snapshot: { readonly of: Running; readonly seen: Snapshot } | null = null;

  return {
    run,
    member,
    refresh,
    ask: async (...question) => running && running.channel.ask(...question),
    tell: (message) => running?.channel.tell(message),
    stop(how) {
      stopping.abort();
      running?.channel.tell({ kind: 'stop', ...how });
    },
    kill: () => running?.child.kill(),
  };

  async function run(): Promise<WorkerSlotEnd> {
    for (;;) {
      const startedAt = clock.elapsed();
      const { exit, last } = await occupyOnce();
      const wasClean = exit.code === 0 || (!last.hasRun && TO_ALL.has(exit.signal));
      const isOver = stopping.signal.aborted || last.isDelivered;
      if (isOver && !wasClean) {
        log.error({ worker, pid: last.child.pid, ...exit, reason: last.reason }, 'worker did not stop cleanly');
      }
      if (isOver) return { wasClean };
      if (!last.hasRun && !events.mayTryAgain({ ...exit, reason: last.reason })) return { wasClean };

      const { delayMs, inARow, isTrouble } = restarts.ended(clock.elapsed() - startedAt);
      const fields = { worker, pid: last.child.pid, ...exit, reason: last.reason, delayMs, inARow };
      if (isTrouble) log.error({ ...fields }, 'worker keeps ending; restarting it after longer and longer delays');
      else log.warn({ ...fields }, 'worker ended; restarting it');
      await clock.sleep(delayMs, stopping.signal);
      if (stopping.signal.aborted) return { wasClean: true };
    }
  }

  async function occupyOnce(): Promise<{ exit: Exit; last: Running }> {
    const child = fork((message) => now.channel.receive(message));
    const channel = createIpcChannel<SupervisorRequests, SupervisorMessage, WorkerRequests, WorkerMessage>({
      send: child.send,
      clock,
      answerers,
      onMessage: (message) => receive(now, message),
      onFailure: (error, about) => log.error({ err: error, worker, about }, 'request from a worker failed'),
    });
    const now: Running = {
      child,
      channel,
      hasRun: false,
      isDelivered: false,
      reason: null,
      pendingSnapshot: null,
      isSilent: false,
    };
    running = now;
    channel.tell({ kind: 'start', ...deps.assignment() });
    if (stopping.signal.aborted) channel.tell({ kind: 'stop', isAnnounced: false });
    const exit = await child.exited;
    running = null;
    channel.close();
    events.onEnded();
    return { exit, last: now };
  }

  function receive(from: Running, message: WorkerMessage) {
    if (message.kind === 'running') from.hasRun = true;
    if (message.kind === 'cannot start') from.reason = message.message;
    if (message.kind === 'delivered') {
      from.isDelivered = true;
      remember(from, message.snapshot);
    }
    events.onMessage(message);
  }

  async function refresh(withinMs: number): Promise<void> {
    const now = running;
    if (now === null || !now.hasRun) return;
    const isLate = now.pendingSnapshot !== null;
    now.pendingSnapshot ??= now.channel.ask('snapshot', null, NEVER_LATE_MS).then((seen) => {
      now.pendingSnapshot = null;
      if (now.isSilent && seen !== null) log.info({ worker, pid: now.child.pid }, 'worker answers again');
      now.isSilent = false;
      if (seen !== null) remember(now, seen);
    });
    if (isLate) return;
    const inTime = new AbortController();
    const late = clock.sleep(withinMs, inTime.signal).then(() => {
      now.isSilent = now.pendingSnapshot !== null;
      if (now.isSilent) log.warn({ worker, pid: now.child.pid }, 'worker does not answer');
    });
    await Promise.race([now.pendingSnapshot, late]);
    inTime.abort('answered');
  }

  function remember(from: Running, seen: Snapshot) {
    if (snapshot !== null && snapshot.of !== from) events.onReplaced(snapshot.seen, seen);
    snapshot = { of: from, seen };
  }

  function member(): WorkerMember {
    return { worker, pid: running?.child.pid ?? null, state: state(), snapshot: snapshot?.seen ?? null };
  }

  function state(): WorkerHealth['state'] {
    if (running === null) return 'missing';
    if (!running.hasRun) return 'starting';
    if (running.isSilent) return 'silent';
    return role === 'serve' ? 'listening' : 'delivering';
  }
}
