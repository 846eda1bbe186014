/**
 * One of several workers: a Weir with its own directory, which asks the supervisor for everything that concerns all
 * workers.
 */
import type { Clock } from '../runtime/clock.ts';
import { type Demo, provideDemo } from '../composition/demo.ts';
import { CannotListen } from '../http/listener/server.ts';
import { sharedAbove } from '../http/answers/shared-answer.ts';
import { JournalLocked } from '../journal/lock.ts';
import type { Log } from '../log/log.ts';
import type { Leftovers } from '../pipeline/shutdown.ts';
import { JournalUnusable } from '../composition/durability.ts';
import { type StopOptions, type Weir, startWeir } from '../composition/weir.ts';
import { type Snapshot, type Pages } from '../composition/pages.ts';
import type { IpcChannel } from './ipc-channel.ts';
import type { WorkerRequests, Assignment, WorkerMessage } from './messages.ts';
import type { PendingAnswer, PendingQuestion, StreamOrder } from '../watch/messages.ts';
import { claimWorkerDirectory, workerDirectoryOf } from './worker-directories.ts';
import { createSharedIdempotency, createSharedRateLimit } from './shared-limits.ts';
import { createViewer } from './shared-watch.ts';
import { createSharedQuerySlots } from './shared-query-slots.ts';
import { type WorkerSnapshots, healthOf, metricsOf } from './aggregated-pages.ts';

export type Worker = Pick<Weir, 'snapshot' | 'remember' | 'admitAnonymous' | 'saveNow'> & {
  /** What the console wants to be told from now on; null: nothing. */
  watch(streams: readonly StreamOrder[] | null): Promise<void>;
  findPending(question: PendingQuestion): Promise<PendingAnswer>;
  findDemo(): Promise<Demo | null>;
  stop(how: StopOptions): Promise<Leftovers>;
  /** For a worker that delivers: resolves when nothing is left. Never for others. */
  readonly delivered: Promise<void>;
};

type ToSupervisor = IpcChannel<WorkerRequests, WorkerMessage>;

/** Longer than the supervisor waits for a frozen worker, and short enough for the reader of the page. */
const SNAPSHOTS_WITHIN_MS = 900;
/** Every reply about all workers needs a snapshot of each. */
const SNAPSHOTS_PER_SECOND = 20;
const DELIVERED_CHECK_MS = 100;

/**
 * Resolves when the worker runs, and tells the supervisor. When it cannot, throws an error that `isExplained` accepts.
 */
export async function startWorker({
  assignment: { worker, role, config, access, version, anonymousProject },
  supervisor,
  abandoned,
  clock,
  log,
}: {
  assignment: Assignment;
  supervisor: ToSupervisor;
  /** Aborts when the supervisor is gone; the start is then abandoned, unless it is past that. */
  abandoned: AbortSignal;
  clock: Clock;
  log: Log;
}): Promise<Worker> {
  const release = claimWorkerDirectory(config.dataDir, worker);
  const stopping = new AbortController();
  const idempotency = createSharedIdempotency(supervisor);
  const rateLimit = config.rateLimit && createSharedRateLimit(supervisor, config.rateLimit);
  const dirs = workerDirectoryOf(config.dataDir, worker);
  const pagesWith = (own: () => Promise<Snapshot>) => pagesOf(supervisor, own, clock);
  const querySlots = createSharedQuerySlots(supervisor);
  const listens = role === 'serve';
  const workerContext = {
    workers: config.workers,
    dirs,
    listens,
    abandoned,
    idempotency,
    rateLimit,
    querySlots,
    pagesWith,
  };
  const weir = await startWeir({ config, access, version, clock, log, workerContext });
  if (anonymousProject !== null) weir.admitAnonymous(anonymousProject);
  idempotency.report();
  supervisor.tell({ kind: 'running' });
  const { snapshot, remember, admitAnonymous, saveNow } = weir;
  const watch = createViewer(weir.openWatch, (report) => supervisor.tell({ kind: 'watched', report }));
  return {
    watch: watch.order,
    findPending: watch.find,
    snapshot,
    remember,
    admitAnonymous,
    saveNow,
    findDemo: () => provideDemo(config, weir),
    async stop(how) {
      stopping.abort();
      const leftovers = await weir.stop(how);
      release();
      return leftovers;
    },
    delivered: role === 'deliver' ? untilDelivered() : new Promise(() => {}),
  };

  async function untilDelivered() {
    while (!weir.isDelivered()) {
      await clock.sleep(DELIVERED_CHECK_MS, stopping.signal);
      if (stopping.signal.aborted) return;
    }
    supervisor.tell({ kind: 'delivered', snapshot: await snapshot() });
  }
}

/** Whether the message alone says why a worker cannot start, and what to do. */
export function isExplained(error: unknown): error is Error {
  return error instanceof CannotListen || error instanceof JournalUnusable || error instanceof JournalLocked;
}

/** The pages of all workers, as the supervisor knows them; without its reply, those of this worker alone. */
function pagesOf(supervisor: ToSupervisor, own: () => Promise<Snapshot>, clock: Clock): Pages {
  let last: WorkerSnapshots = { members: [], ended: [] };
  return {
    health: sharedAbove(SNAPSHOTS_PER_SECOND, clock, async () => {
      const snapshots = await ask();
      if (snapshots !== null) return healthOf(snapshots, await own());
      const { healthSnapshot } = await own();
      return { healthSnapshot, reasons: ['the supervisor of the workers does not answer'], workers: [] };
    }),
    // The numbers of a moment ago rather than the sum of fewer workers: counters must not fall.
    metrics: async () => metricsOf((await ask()) ?? last, await own()),
  };

  async function ask(): Promise<WorkerSnapshots | null> {
    const snapshots = await supervisor.ask('snapshots', null, SNAPSHOTS_WITHIN_MS);
    last = snapshots ?? last;
    return snapshots;
  }
}
