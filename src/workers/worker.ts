/** One worker of several: a Weir with a directory of its own, and what only all workers know asked of the supervisor. */
import type { Clock } from '../clock.ts';
import { type Demo, demoBeside } from '../demo.ts';
import { CannotListen } from '../http/server.ts';
import { JournalLocked } from '../journal/lock.ts';
import type { Log } from '../log.ts';
import type { Residue } from '../pipeline/shutdown.ts';
import { JournalUnusable } from '../safekeeping.ts';
import { type Look, type Pages, type Weir, startWeir } from '../weir.ts';
import type { Link } from './link.ts';
import type { AskedByWorker, Assignment, ToldByWorker } from './messages.ts';
import { claimPlace, placeOf } from './places.ts';
import { createSharedIdempotency, createSharedRateLimit } from './shared-limits.ts';
import { type Whole, healthOf, metricsOf } from './whole.ts';

export type Worker = Pick<Weir, 'look' | 'remember' | 'admitAnonymous' | 'saveNow'> & {
  findDemo(): Promise<Demo | null>;
  stop(): Promise<Residue>;
  /** Of one that delivers: resolves when nothing is left. Of others never. */
  readonly delivered: Promise<void>;
};

type ToSupervisor = Link<AskedByWorker, ToldByWorker>;

/** Longer than the supervisor waits for a frozen worker, short enough for whoever reads the page. */
const WHOLE_WITHIN_MS = 900;
const DELIVERED_CHECK_MS = 100;

/** Resolves when it runs, which the supervisor is told. Throws what `isExplained` knows when it cannot. */
export async function startWorker({
  assignment: { worker, role, config, access, version, anonymousProject },
  supervisor,
  clock,
  log,
}: {
  assignment: Assignment;
  supervisor: ToSupervisor;
  clock: Clock;
  log: Log;
}): Promise<Worker> {
  const release = claimPlace(config.dataDir, worker);
  const stopping = new AbortController();
  const idempotency = createSharedIdempotency(supervisor);
  const rateLimit = config.rateLimit && createSharedRateLimit(supervisor, config.rateLimit);
  const dirs = placeOf(config.dataDir, worker);
  const pagesWith = (own: () => Promise<Look>) => pagesOf(supervisor, own);
  const among = { workers: config.workers, dirs, listens: role === 'serve', idempotency, rateLimit, pagesWith };
  const weir = await startWeir({ config, access, version, clock, log, among });
  if (anonymousProject !== null) weir.admitAnonymous(anonymousProject);
  idempotency.report();
  supervisor.tell({ kind: 'running' });
  const { look, remember, admitAnonymous, saveNow } = weir;
  return {
    look,
    remember,
    admitAnonymous,
    saveNow,
    findDemo: () => demoBeside(config, weir),
    async stop() {
      stopping.abort();
      const residue = await weir.stop();
      release();
      return residue;
    },
    delivered: role === 'deliver' ? untilDelivered() : new Promise(() => {}),
  };

  async function untilDelivered() {
    while (!weir.isDelivered()) {
      await clock.sleep(DELIVERED_CHECK_MS, stopping.signal);
      if (stopping.signal.aborted) return;
    }
    supervisor.tell({ kind: 'delivered', look: await look() });
  }
}

/** Whether the message alone says why a worker cannot start, and what to do. */
export function isExplained(error: unknown): error is Error {
  return error instanceof CannotListen || error instanceof JournalUnusable || error instanceof JournalLocked;
}

/** Everything together, as far as the supervisor knows it; without an answer from there, what is known without it. */
function pagesOf(supervisor: ToSupervisor, own: () => Promise<Look>): Pages {
  let last: Whole = { members: [], ended: [] };
  return {
    async health() {
      const whole = await ask();
      if (whole !== null) return healthOf(whole, await own());
      const { vitals } = await own();
      return { vitals, reasons: ['the supervisor of the workers does not answer'], workers: [] };
    },
    // Rather the numbers of a moment ago than the sum of fewer workers: counters must not fall.
    metrics: async () => metricsOf((await ask()) ?? last, await own()),
  };

  async function ask(): Promise<Whole | null> {
    const whole = await supervisor.ask('whole', null, WHOLE_WITHIN_MS);
    last = whole ?? last;
    return whole;
  }
}
