/**
 * What takes longer than an answer may: it runs on, whoever looks, and is listed for everybody. Few run at a time, and
 * the last hundred are remembered for as long as the process lives. A job is stopped between two of its steps, each of
 * which is whole by itself.
 */
import type { Log } from '../../log/log.ts';
import { OperationRefused } from '../../operations/refused.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Job } from './answers.ts';
import { explainError } from './store-errors.ts';

export type JobKind = Job['kind'];

/** What a job's work is given. */
export type JobContext = {
  /** Aborts when somebody stops the job. */
  readonly signal: AbortSignal;
  /** Call it after each step. Throws once the job is stopped: let it through, so that no further step begins. */
  report(step: string, done: number, total?: number | null): void;
};

export type Work = (context: JobContext) => Promise<unknown>;

export type Jobs = {
  /** Throws `OperationRefused` where too many run already. */
  start(job: { readonly kind: JobKind; readonly by: string }, work: Work): Job;
  /** Newest first. */
  list(): Job[];
  get(id: string): Job | null;
  /** Null when there is no such job; one that has ended stays as it ended. */
  stop(id: string): Job | null;
  /** Stops all; resolves when none runs any more. */
  close(): Promise<void>;
};

export type JobLimits = { readonly atOnce: number; readonly remembered: number };
export const JOB_LIMITS: JobLimits = { atOnce: 4, remembered: 100 };

/** Thrown through the work of a job that somebody has stopped. */
class Stopped extends Error {
  override readonly name = 'Stopped';
}

type Entry = { job: Job; readonly stopping: AbortController; readonly ended: Promise<void> };

export function createJobs(
  { clock, newId, log }: { clock: Clock; newId: () => string; log: Log },
  { atOnce, remembered }: JobLimits = JOB_LIMITS,
): Jobs {
  /** In the order in which they began. */
  const entries = new Map<string, Entry>();
  const running = () => [...entries.values()].filter(({ job }) => job.state === 'running');

  return { start, list: () => [...entries.values()].map(({ job }) => job).toReversed(), get, stop, close };

  function start({ kind, by }: { kind: JobKind; by: string }, work: Work): Job {
    if (running().length >= atOnce) {
      throw new OperationRefused(
        'conflict',
        `${atOnce} jobs are running already: wait for one of them to end, or stop one (GET /jobs lists them).`,
      );
    }
    const id = newId();
    const stopping = new AbortController();
    const begun = Promise.withResolvers<void>();
    const entry: Entry = {
      job: {
        id,
        kind,
        by,
        startedAt: new Date(clock.now()).toISOString(),
        endedAt: null,
        state: 'running',
        progress: { step: 'starting', done: 0, total: null },
        result: null,
        error: null,
      },
      stopping,
      ended: begun.promise.then(() => run(entry, work)),
    };
    entries.set(id, entry);
    forgetOldest();
    begun.resolve();
    return entry.job;
  }

  async function run(entry: Entry, work: Work): Promise<void> {
    const { signal } = entry.stopping;
    const report: JobContext['report'] = (step, done, total = null) => {
      entry.job = { ...entry.job, progress: { step, done, total } };
      if (signal.aborted) throw new Stopped();
    };
    try {
      const result = await work({ signal, report });
      end(entry, { state: 'done', result: result ?? null });
    } catch (error) {
      if (error instanceof Stopped) return end(entry, { state: 'stopped' });
      end(entry, { state: 'failed', error: wordsFor(error, entry.job) });
    }
  }

  function end(entry: Entry, outcome: Pick<Job, 'state'> & Partial<Pick<Job, 'result' | 'error'>>): void {
    entry.job = { ...entry.job, ...outcome, endedAt: new Date(clock.now()).toISOString() };
    const { id, kind, by, state } = entry.job;
    log.info({ job: id, kind, by, state }, 'job of the console ended');
  }

  function wordsFor(error: unknown, { id, kind }: Job): string {
    const explained = explainError(error);
    if (explained !== null) return explained;
    log.error({ err: error, job: id, kind }, 'job of the console failed');
    return 'an internal error; see the log of the console for the reason';
  }

  function forgetOldest(): void {
    for (const [id, { job }] of entries) {
      if (entries.size <= remembered) return;
      if (job.state !== 'running') entries.delete(id);
    }
  }

  function get(id: string): Job | null {
    return entries.get(id)?.job ?? null;
  }

  function stop(id: string): Job | null {
    entries.get(id)?.stopping.abort();
    return get(id);
  }

  async function close(): Promise<void> {
    for (const { stopping } of entries.values()) stopping.abort();
    await Promise.all([...entries.values()].map(({ ended }) => ended));
  }
}
