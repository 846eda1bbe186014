/**
 * Runs one service as several processes: keeps every worker's place occupied,
 * has what earlier workers left delivered, answers what only all of them
 * together can know, and ends them together. It takes part in no request
 * without an idempotency key.
 */
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Demo } from '../demo.ts';
import { createIdempotency } from '../http/idempotency.ts';
import { createRateLimit } from '../http/rate-limit.ts';
import type { Log } from '../log.ts';
import { type MetricsPage, addEnded, recoveredIn } from '../metrics.ts';
import type { KeptAnswer } from '../pipeline/ports.ts';
import type { StoreAccess } from '../weir.ts';
import { createClaims } from './claims.ts';
import type { Fork } from './fork.ts';
import type { Answerers } from './link.ts';
import type { AskedByWorker, Assignment, Role, ToldByWorker } from './messages.ts';
import { abandonedWorkers, removePlace } from './places.ts';
import { type Post, type PostEvents, createPost } from './post.ts';
import type { Whole } from './whole.ts';

export type Supervisor = {
  readonly port: number;
  /** The demo project, made by a worker; null where there is to be none. */
  findDemo(): Promise<Demo | null>;
  /** Lets requests without a token belong to the project, in every worker. */
  admitAnonymous(projectId: string): void;
  /** Drains all workers at the same time. `unclean`: those that did not end as they should, so that nobody knows. */
  stop(): Promise<{ readonly lost: number; readonly unclean: number }>;
  /** Lets every worker save what it has and end at once. Synchronous; they end by themselves. */
  leave(): void;
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
};

/** A worker cannot start, for a reason the message gives. */
export class WorkerCannotStart extends Error {
  override readonly name = 'WorkerCannotStart';
}

/** A look takes a worker a millisecond; one that is not there by then is frozen, or as good as. */
const LOOK_WITHIN_MS = 700;
/** Also while nobody asks, so that little of what a worker counted goes with it when it dies. */
const LOOK_EVERY_MS = 5_000;
/** Keys that are claimed or waited for at the same time: as many requests as could be under way. */
const MAX_CLAIMS = 50_000;
/** Directories that are delivered at the same time; each is a process. */
const MAX_DELIVERING = 8;
const AGAIN_MS = 2_000;
const REMEMBER_WITHIN_MS = 30_000;
const DEMO_WITHIN_MS = 24 * 60 * 60_000;
/** What a worker may take beyond its grace; then nothing more is to be expected of it. */
const BEYOND_GRACE_MS = 5_000;

/** Resolves when the workers listen. Throws `WorkerCannotStart`; then none of them is left. */
export async function startSupervisor(deps: SupervisorDeps): Promise<Supervisor> {
  const { config, clock, log } = deps;
  const numbers = Array.from({ length: config.workers }, (_, index) => index + 1);
  const abandoned = abandonedWorkers(config.dataDir, config.workers);
  const stopping = new AbortController();
  const claims = createClaims(
    { idempotency: createIdempotency({ clock }), unread: [...numbers, ...abandoned] },
    { maxOpen: MAX_CLAIMS },
  );
  const rateLimit = config.rateLimit && createRateLimit(config.rateLimit);
  let anonymousProject: string | null = null;
  /** What processes counted whose successors speak for themselves. */
  let ended: Promise<MetricsPage> = Promise.resolve([]);
  let lost = 0;
  const started = Promise.withResolvers<void>();
  let hasStarted = false;
  const delivering = new Set<Post>();
  const posts = numbers.map((worker) => postOf(worker, 'serve', {}));
  const all = () => [...posts, ...delivering];
  const whole = oneAtATime(async (): Promise<Whole> => {
    await Promise.all(all().map((post) => post.refresh(LOOK_WITHIN_MS)));
    for (;;) {
      const known = ended;
      const counted = await known;
      // In one step with what the members say: nobody is counted twice, or not at all.
      if (known === ended) return { members: all().map((post) => post.member()), ended: counted };
    }
  });

  const ends = posts.map((post) => post.run());
  const toDeliver = [...abandoned];
  const lanes = abandoned.slice(0, MAX_DELIVERING).map(async () => {
    for (let next = toDeliver.shift(); next !== undefined; next = toDeliver.shift()) await deliver(next);
  });
  try {
    await started.promise;
  } catch (error) {
    await stopAll();
    throw error;
  }
  const watching = watch();
  return { port: config.port, findDemo, admitAnonymous, stop, leave };

  function postOf(worker: number, role: Role, events: Partial<PostEvents>): Post {
    const answerers: Answerers<AskedByWorker> = {
      whole: () => whole(),
      claim: (request) => claims.claim(worker, request),
      rate: async (projectId) => ({ refusal: (await rateLimit?.(projectId)) ?? null }),
    };
    return createPost({
      ...deps,
      assignment: () => assignmentOf(worker, role),
      answerers,
      events: {
        onTold: (message) => hear(worker, message),
        onReplaced: (last, next) => countEnded(last.metrics, recoveredIn(next.metrics)),
        onEnded: () => claims.died(worker),
        mayTryAgain,
        ...events,
      },
    });

    /** A service that never ran has no use for a worker that cannot run; one that runs does not end for it. */
    function mayTryAgain({ signal, reason }: { signal: string | null; reason: string | null }): boolean {
      if (hasStarted) return true;
      if (signal !== null) {
        noteProgress();
        return true;
      }
      const why = reason ?? `worker ${worker} ended before it listened; what it logged says why`;
      started.reject(new WorkerCannotStart(why));
      return false;
    }
  }

  function assignmentOf(worker: number, role: Role): Assignment {
    const { access, version } = deps;
    // Whatever is configured now: a journal that was left holds events.
    const journal = { ...config.journal, mode: role === 'deliver' ? 'on' : config.journal.mode };
    return { worker, role, config: { ...config, journal }, access, version, anonymousProject };
  }

  function hear(worker: number, message: ToldByWorker) {
    switch (message.kind) {
      case 'running':
        return noteProgress();
      case 'keys':
        return claims.restore(worker, message.keys, message.isAll);
      case 'release':
        return claims.release(worker, message.claim, message.answer);
      case 'stopped':
        lost += message.lost;
        return;
      case 'cannot start':
      case 'delivered':
      // The post has heard it.
    }
  }

  /** The service has started when every worker has, or was killed over it: such a one comes again. */
  function noteProgress() {
    const states = new Set(posts.map((post) => post.member().state));
    if (!states.has('listening') || states.has('starting')) return;
    hasStarted = true;
    started.resolve();
  }

  /** Brings home what a worker has left that is no more. Gives up only when the service ends. */
  async function deliver(worker: number): Promise<void> {
    const keys: KeptAnswer[] = [];
    while (!stopping.signal.aborted) {
      keys.length = 0;
      const post = postOf(worker, 'deliver', {
        onTold(message) {
          if (message.kind === 'keys') keys.push(...message.keys);
          hear(worker, message);
        },
        mayTryAgain({ reason }) {
          // What cannot be read holds no key that could be waited for.
          if (reason !== null) claims.restore(worker, [], true);
          return true;
        },
      });
      delivering.add(post);
      await post.run();
      delivering.delete(post);
      const { look } = post.member();
      if (look !== null) countEnded(look.metrics, 0);
      if (stopping.signal.aborted) return;
      if (await handOver(worker, keys)) return;
      await clock.sleep(AGAIN_MS, stopping.signal);
    }
  }

  /** A key outlives the events it came with: another journal keeps it before this one goes. */
  async function handOver(worker: number, keys: readonly KeptAnswer[]): Promise<boolean> {
    if (keys.length > 0 && (await posts[0]!.ask('remember', keys, REMEMBER_WITHIN_MS)) === null) {
      log.warn({ worker, keys: keys.length }, 'idempotency keys could not be handed on; trying again');
      return false;
    }
    const keptAs = removePlace(config.dataDir, worker);
    log.info({ worker }, 'what the worker had left is delivered');
    if (keptAs !== null) log.warn({ worker, dir: keptAs }, 'directory of a worker holds unreadable files and is kept');
    return true;
  }

  async function watch() {
    while (!stopping.signal.aborted) {
      await whole();
      await clock.sleep(LOOK_EVERY_MS, stopping.signal);
    }
  }

  function countEnded(page: MetricsPage, recovered: number) {
    ended = ended.then((before) => addEnded(before, page, recovered));
  }

  async function findDemo(): Promise<Demo | null> {
    // A worker may die over it; the next one finds what it began.
    while (!stopping.signal.aborted) {
      const found = await posts[0]!.ask('demo', null, DEMO_WITHIN_MS);
      if (found !== null) return found.demo;
      await clock.sleep(AGAIN_MS, stopping.signal);
    }
    return null;
  }

  function admitAnonymous(projectId: string) {
    anonymousProject = projectId;
    for (const post of posts) post.tell({ kind: 'admit', projectId });
  }

  async function stop() {
    const unclean = await stopAll();
    await watching;
    return { lost, unclean };
  }

  /** How many of the workers did not end in order. */
  async function stopAll(): Promise<number> {
    stopping.abort();
    for (const post of all()) post.stop();
    const done = new AbortController();
    const killing = clock.sleep(config.shutdownGraceMs + BEYOND_GRACE_MS, done.signal).then(() => {
      if (done.signal.aborted) return;
      log.error({ graceMs: config.shutdownGraceMs }, 'workers did not end in time and are killed');
      for (const post of all()) post.kill();
    });
    const [results] = await Promise.all([Promise.all(ends), Promise.all(lanes)]);
    done.abort('ended');
    await killing;
    return results.filter(({ wasClean }) => !wasClean).length;
  }

  function leave() {
    for (const post of all()) post.tell({ kind: 'leave' });
  }
}

/** Runs `work` for whoever asks, always begun after the question, however many ask at the same time. */
function oneAtATime<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  let next: Promise<T> | null = null;
  return () => {
    if (running === null) return begin();
    next ??= running.then(begin, begin);
    return next;
  };

  function begin(): Promise<T> {
    next = null;
    running = work().finally(() => {
      running = null;
    });
    return running;
  }
}
