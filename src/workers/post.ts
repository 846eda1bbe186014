/**
 * One worker's place, occupied: a process, and another one whenever it ends,
 * until the post is given up.
 */
import type { Clock } from '../clock.ts';
import type { WorkerHealth } from '../http/health.ts';
import type { Log } from '../log.ts';
import type { Look } from '../weir.ts';
import type { Exit, Fork, WorkerProcess } from './fork.ts';
import { type Answerers, type Link, createLink } from './link.ts';
import type { AskedBySupervisor, AskedByWorker, Assignment, ToldBySupervisor, ToldByWorker } from './messages.ts';
import { createRestarts } from './restarts.ts';
import type { Member } from './whole.ts';

/** How the post was given up. `wasClean`: the last process ended as it was told to, with everything safe. */
export type PostEnd = { readonly wasClean: boolean };

export type Post = {
  /** Keeps the place occupied until `stop`, or until everything is delivered. */
  run(): Promise<PostEnd>;
  member(): Member;
  /** Asks the process for a new look, unless it still owes one. Returns after `withinMs` at the latest. */
  refresh(withinMs: number): Promise<void>;
  ask: Link<AskedBySupervisor, ToldBySupervisor>['ask'];
  tell(message: ToldBySupervisor): void;
  /** Lets the process drain and sends no other. */
  stop(): void;
  kill(): void;
};

export type PostDeps = {
  readonly fork: Fork;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly assignment: () => Assignment;
  readonly answerers: Answerers<AskedByWorker>;
  readonly events: PostEvents;
};

export type PostEvents = {
  readonly onTold: (message: ToldByWorker) => void;
  /** A process speaks for itself that another one was before. */
  readonly onReplaced: (last: Look, next: Look) => void;
  readonly onEnded: () => void;
  /** Whether a process that ended before it ran shall be replaced. */
  readonly mayTryAgain: (exit: Exit & { readonly reason: string | null }) => boolean;
};

type Running = {
  readonly child: WorkerProcess;
  readonly link: Link<AskedBySupervisor, ToldBySupervisor>;
  hasRun: boolean;
  isDelivered: boolean;
  /** Why it cannot start, as it said. */
  reason: string | null;
  /** The look it owes. */
  owed: Promise<void> | null;
  isSilent: boolean;
};

/** A question that is answered whenever the process is able to; what ends it earlier is the process's own end. */
const NEVER_LATE_MS = 24 * 60 * 60_000;

export function createPost(deps: PostDeps): Post {
  const { fork, clock, log, events, answerers } = deps;
  const { worker, role } = deps.assignment();
  const restarts = createRestarts(deps.random);
  const stopping = new AbortController();
  let running: Running | null = null;
  let look: { readonly of: Running; readonly seen: Look } | null = null;

  return {
    run,
    member,
    refresh,
    ask: async (...question) => running && running.link.ask(...question),
    tell: (message) => running?.link.tell(message),
    stop() {
      stopping.abort();
      running?.link.tell({ kind: 'stop' });
    },
    kill: () => running?.child.kill(),
  };

  async function run(): Promise<PostEnd> {
    for (;;) {
      const startedAt = clock.elapsed();
      const { exit, last } = await occupyOnce();
      const wasClean = exit.code === 0;
      if (stopping.signal.aborted || last.isDelivered) return { wasClean };
      if (!last.hasRun && !events.mayTryAgain({ ...exit, reason: last.reason })) return { wasClean };

      const { delayMs, inARow, isTrouble } = restarts.ended(clock.elapsed() - startedAt);
      const fields = { worker, pid: last.child.pid, ...exit, reason: last.reason, delayMs, inARow };
      if (isTrouble) log.error({ ...fields }, 'worker ends again and again; it is started again later and later');
      else log.warn({ ...fields }, 'worker ended; it is started again');
      await clock.sleep(delayMs, stopping.signal);
      if (stopping.signal.aborted) return { wasClean: true };
    }
  }

  async function occupyOnce(): Promise<{ exit: Exit; last: Running }> {
    const child = fork((message) => now.link.receive(message));
    const link = createLink<AskedBySupervisor, ToldBySupervisor, AskedByWorker, ToldByWorker>({
      send: child.send,
      clock,
      answerers,
      onTold: (message) => hear(now, message),
      onFailure: (error, about) => log.error({ err: error, worker, about }, 'question of a worker failed'),
    });
    const now: Running = {
      child,
      link,
      hasRun: false,
      isDelivered: false,
      reason: null,
      owed: null,
      isSilent: false,
    };
    running = now;
    link.tell({ kind: 'start', ...deps.assignment() });
    if (stopping.signal.aborted) link.tell({ kind: 'stop' });
    const exit = await child.exited;
    running = null;
    link.close();
    events.onEnded();
    return { exit, last: now };
  }

  function hear(from: Running, message: ToldByWorker) {
    if (message.kind === 'running') from.hasRun = true;
    if (message.kind === 'cannot start') from.reason = message.message;
    if (message.kind === 'delivered') {
      from.isDelivered = true;
      remember(from, message.look);
    }
    events.onTold(message);
  }

  async function refresh(withinMs: number): Promise<void> {
    const now = running;
    if (now === null || !now.hasRun) return;
    const isLate = now.owed !== null;
    now.owed ??= now.link.ask('look', null, NEVER_LATE_MS).then((seen) => {
      now.owed = null;
      if (now.isSilent && seen !== null) log.info({ worker, pid: now.child.pid }, 'worker answers again');
      now.isSilent = false;
      if (seen !== null) remember(now, seen);
    });
    if (isLate) return;
    const inTime = new AbortController();
    const late = clock.sleep(withinMs, inTime.signal).then(() => {
      now.isSilent = now.owed !== null;
      if (now.isSilent) log.warn({ worker, pid: now.child.pid }, 'worker does not answer');
    });
    await Promise.race([now.owed, late]);
    inTime.abort('answered');
  }

  function remember(from: Running, seen: Look) {
    if (look !== null && look.of !== from) events.onReplaced(look.seen, seen);
    look = { of: from, seen };
  }

  function member(): Member {
    return { worker, pid: running?.child.pid ?? null, state: state(), look: look?.seen ?? null };
  }

  function state(): WorkerHealth['state'] {
    if (running === null) return 'missing';
    if (!running.hasRun) return 'starting';
    if (running.isSilent) return 'silent';
    return role === 'serve' ? 'listening' : 'delivering';
  }
}
