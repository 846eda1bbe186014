/**
 * Whether work makes progress: when a batch last landed and what was refused since, the outcomes of passes over the
 * dead letters, and whether the oldest letter ever leaves. Flusher and drain report what happened; no store is queried.
 * Durations are measured on the monotonic clock.
 */
import type { Clock } from '../runtime/clock.ts';
import type { DeadLetterDepth } from './flags.ts';
import type { InsertObservation } from './insert-attempt.ts';
import type { FailureClass } from './ports.ts';

/** An event in time: epoch ms, for a person, and how long ago that was. */
export type Moment = { readonly at: number; readonly agoMs: number };

/** Tries to insert since a batch last landed. */
export type RefusedInserts = {
  readonly tries: number;
  readonly first: Moment;
  readonly last: Moment;
  /** The code of the last one. */
  readonly failureClass: FailureClass;
  readonly code: number | null;
};

/** Passes over the dead letters that failed since one last succeeded. */
export type FailingPasses = {
  readonly passes: number;
  readonly first: Moment;
  /** The code of the last failure, when it had one. */
  readonly code: string | null;
};

/** Who paused the drain, and when; null where that is not known. */
export type DrainPause = { readonly since: number | null; readonly by: string | null };

/** What is known at one moment. A plain value: workers send theirs to each other. */
export type Progress = {
  /** The last batch that landed; null when none has since the start. */
  readonly landed: Moment | null;
  readonly refused: RefusedInserts | null;
  /** The last pass that succeeded. */
  readonly passed: Moment | null;
  readonly failingPasses: FailingPasses | null;
  /** How long the same letter has been the oldest that is replayed; null when there is none. */
  readonly oldestDeadLetterForMs: number | null;
  readonly pause: DrainPause | null;
};

export type ProgressWatch = {
  read(): Progress;
  /** Written with the outcome of every insert that was sent. */
  tried(observation: Pick<InsertObservation, 'failure'>): void;
  /** Written by the drain after every pass: null, or the error that ended it. */
  passEnded(error: Error | null): void;
  /** Written by the drain with every measurement. */
  measured(depth: Pick<DeadLetterDepth, 'oldestAt'>): void;
  /** Written with every reading of the switches; null when the drain runs. */
  paused(pause: DrainPause | null): void;
};

type Mark = { readonly at: number; readonly elapsed: number };

export function createProgress({ clock }: { clock: Pick<Clock, 'now' | 'elapsed'> }): ProgressWatch {
  let landed: Mark | null = null;
  let refused: (Omit<RefusedInserts, 'first' | 'last'> & { first: Mark; last: Mark }) | null = null;
  let passed: Mark | null = null;
  let failing: (Omit<FailingPasses, 'first'> & { first: Mark }) | null = null;
  let oldest: { readonly createdAt: number; readonly seen: Mark } | null = null;
  let pause: DrainPause | null = null;

  return {
    read: () => ({
      landed: landed && momentOf(landed),
      refused: refused && { ...refused, first: momentOf(refused.first), last: momentOf(refused.last) },
      passed: passed && momentOf(passed),
      failingPasses: failing && { ...failing, first: momentOf(failing.first) },
      oldestDeadLetterForMs: oldest && clock.elapsed() - oldest.seen.elapsed,
      pause,
    }),
    tried({ failure }) {
      const last = mark();
      if (failure === null) {
        landed = last;
        refused = null;
        return;
      }
      const { failureClass, code } = failure;
      refused = { tries: (refused?.tries ?? 0) + 1, first: refused?.first ?? last, last, failureClass, code };
    },
    passEnded(error) {
      const now = mark();
      if (error === null) {
        passed = now;
        failing = null;
      } else failing = { passes: (failing?.passes ?? 0) + 1, first: failing?.first ?? now, code: codeOf(error) };
    },
    measured({ oldestAt }) {
      if (oldestAt === null) oldest = null;
      else if (oldestAt !== oldest?.createdAt) oldest = { createdAt: oldestAt, seen: mark() };
    },
    paused(next) {
      pause = next;
    },
  };

  function mark(): Mark {
    return { at: clock.now(), elapsed: clock.elapsed() };
  }

  function momentOf({ at, elapsed }: Mark): Moment {
    return { at, agoMs: clock.elapsed() - elapsed };
  }
}

function codeOf(error: Error): string | null {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : null;
}
