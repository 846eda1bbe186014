/**
 * Completes the rebuild of the events table in the background, step by step. Of
 * several processes, one takes a step at a time; all of them know the progress.
 */
import type { Pool } from 'pg';
import type { Log } from '../log/log.ts';
import { backoffMs } from '../pipeline/backoff.ts';
import { failureOf } from '../pipeline/outcome.ts';
import { explainMigrationFailure } from './migrate-stores.ts';
import type { EventSchema, RebuildState } from '../pipeline/storage-port.ts';
import { ifUnlocked, keepingLock, withMigrationLock } from '../postgres/migrations/migrate.ts';
import type { Clock } from '../runtime/clock.ts';

/** Another process takes a step, or something has to end first. */
const WAIT_MS = 2_000;
/** A backup may bring an old table back at any time. */
const LOOK_MS = 5 * 60_000;
const RETRY = { firstMs: 1_000, maxMs: 60_000 };
const SAY_MS = 60_000;
const REMIND_MS = 60 * 60_000;

type RebuildDeps = { readonly postgres: Pool; readonly events: EventSchema; readonly clock: Clock };

/**
 * Takes one step at each call, if there is one and no other process takes one (`isFree`). Whoever has seen the rebuild
 * open applies, at its end, the migrations that waited for it, again and again until that succeeds. Throws what the
 * stores throw.
 */
function createSteps({ postgres, events: { rebuild, migrate }, clock }: RebuildDeps, { isPostponed = false } = {}) {
  let isWaitedFor = false;

  return async (): Promise<{ state: RebuildState; isFree: boolean }> => {
    const { state: before, next } = await rebuild.read();
    if (before.kind !== 'done') isWaitedFor = true;
    const isTaking = !isPostponed && next !== 'none';
    const taken = isTaking ? await ifUnlocked(postgres, clock, next, () => rebuild.take(next)) : before;
    const state = taken ?? before;
    if (state.kind === 'done' && isWaitedFor) {
      await withMigrationLock(postgres, clock, (held) => keepingLock(held, clock, migrate));
      isWaitedFor = false;
    }
    return { state, isFree: taken !== null };
  };
}

/** Takes steps until the rebuild is done or blocked. Throws what the stores throw. */
export async function finishRebuild(deps: RebuildDeps, onState: (state: RebuildState) => void): Promise<RebuildState> {
  const takeStep = createSteps(deps);
  for (;;) {
    const { state, isFree } = await takeStep();
    onState(state);
    if (state.kind !== 'running') return state;
    if (!isFree || state.waitsFor !== null) await deps.clock.sleep(WAIT_MS);
  }
}

export type Rebuilding = {
  /** null until the first look. */
  state(): RebuildState | null;
  /** Takes steps until `stop` aborts. */
  run(stop: AbortSignal): Promise<void>;
};

/** `isPostponed`: only `weir migrate --rebuild` takes steps. */
export function createTableRebuild(
  deps: RebuildDeps & { readonly random: () => number; readonly log: Log },
  { isPostponed }: { readonly isPostponed: boolean },
): Rebuilding {
  const { events, clock, random, log } = deps;
  const takeStep = createSteps(deps, { isPostponed });
  let known: RebuildState | null = null;
  let saidAt: number | null = null;
  let failures = 0;

  return { state: () => known, run };

  async function run(stop: AbortSignal) {
    while (!stop.aborted) {
      const startedAt = clock.elapsed();
      let pauseMs = 0;
      const error = await failureOf(
        step().then((isWaiting) => {
          failures = 0;
          // Leaves half of the time to inserts and queries.
          pauseMs = isWaiting ?? clock.elapsed() - startedAt;
        }),
      );
      if (error !== null) {
        failures += 1;
        pauseMs = known?.kind === 'done' ? LOOK_MS : backoffMs(failures, RETRY, random);
        // Where there was nothing left to do, nothing has failed; the store's heartbeat reports the reason.
        if (known?.kind !== 'done')
          log.warn(
            { why: explainMigrationFailure(error, events), attempt: failures },
            'rebuild of the events table failed for now; Weir retries',
          );
      }
      await clock.sleep(pauseMs, stop);
    }
  }

  /** How long to wait before the next step; null when it may follow. */
  async function step(): Promise<number | null> {
    const { state, isFree } = await takeStep();
    say(state);
    known = state;
    if (state.kind !== 'running' || isPostponed) return LOOK_MS;
    return isFree && state.waitsFor === null ? null : WAIT_MS;
  }

  function say(state: RebuildState) {
    const now = clock.elapsed();
    const isNews = known?.kind !== state.kind;
    if (state.kind === 'done') {
      if (known !== null && isNews) log.info({}, 'the events table is rebuilt');
      saidAt = null;
    } else if (isNews || saidAt === null || now - saidAt >= (isRunning(state) ? SAY_MS : REMIND_MS)) {
      saidAt = now;
      if (state.kind === 'blocked') log.warn({ why: state.why }, 'the events table cannot be rebuilt');
      else
        log.info(
          factsOf(state),
          isPostponed ? 'the rebuild of the events table is postponed' : 'rebuilding the events table',
        );
    }
  }

  function isRunning(state: RebuildState) {
    return state.kind === 'running' && !isPostponed;
  }
}

const factsOf = ({ doing, rows, total, waitsFor }: Extract<RebuildState, { kind: 'running' }>) => ({
  doing,
  rows,
  total,
  percent: total === 0 ? 0 : Math.floor((100 * rows) / total),
  ...(waitsFor !== null && { waitsFor }),
});
