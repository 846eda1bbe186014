/**
 * What becomes of dead letters that somebody made due: the drain of a running Weir sends them, here it is watched. A
 * letter has been tried when it is gone (it landed, or was split), is quarantined once more, or waits again after a try.
 * One that somebody took away meanwhile is waited for no longer either, and counted as what it is.
 */
import type { Database } from '../postgres/connection/pool.ts';
import { readFates } from '../postgres/dead-letters/replay-fates.ts';
import type { Clock } from '../runtime/clock.ts';
import { readDrain } from './drain-switch.ts';

export type FollowedReplay = {
  /** Letters that were tried, are gone and left no refused part. */
  readonly stored: number;
  /** Letters that somebody discarded meanwhile, alone or with their project. */
  readonly discarded: number;
  /** Letters that somebody divided meanwhile; what became of the parts is not looked at. */
  readonly divided: number;
  /** Letters that are quarantined once more, in whole or in part, and the events in those. */
  readonly refused: number;
  readonly refusedEvents: number;
  /** Letters that were tried in vain, and are tried again by themselves. */
  readonly waiting: number;
  /** Letters that nobody tried: why it was no longer waited for. */
  readonly untried: number;
  readonly why: 'all were tried' | 'the drain is paused' | 'nothing was tried for ten minutes';
};

const POLL_MS = 500;
const MAX_POLL_MS = 4_000;
/** Looked at in one statement. */
const CHUNK = 1_000;
const PATIENCE_MS = 10 * 60_000;

/**
 * Waits until all of the letters have been tried since `since` (by Postgres's clock, read before they were made due), or
 * until nothing moves any more. `onStep`: with how many were; throws to stop. Throws `PostgresFailure`.
 */
export async function followReplay(
  { db, clock }: { db: Database; clock: Clock },
  { ids, since }: { ids: readonly string[]; since: string },
  onStep: (tried: number) => void,
): Promise<FollowedReplay> {
  let sum = NONE;
  let tried = 0;
  let movedAt = clock.elapsed();
  let pollMs = POLL_MS;
  for (let at = 0; at < ids.length;) {
    const chunk = ids.slice(at, at + CHUNK);
    const fates = await readFates(db, chunk, since);
    const before = tried;
    tried = at + chunk.length - fates.untried;
    onStep(tried);
    if (fates.untried === 0) {
      sum = together(sum, fates);
      at += chunk.length;
      continue;
    }
    if (tried > before) [movedAt, pollMs] = [clock.elapsed(), POLL_MS];
    const why = (await readDrain(db)).position === 'paused' ? 'the drain is paused' : idleReason();
    if (why !== null) return { ...together(sum, fates), untried: ids.length - tried, why };
    await clock.sleep(pollMs);
    pollMs = Math.min(pollMs * 2, MAX_POLL_MS);
  }
  return { ...sum, untried: 0, why: 'all were tried' };

  function idleReason() {
    return clock.elapsed() - movedAt > PATIENCE_MS ? ('nothing was tried for ten minutes' as const) : null;
  }
}

type Settled = Omit<FollowedReplay, 'untried' | 'why'>;

const NONE: Settled = { stored: 0, discarded: 0, divided: 0, refused: 0, refusedEvents: 0, waiting: 0 };

const together = (a: Settled, b: Settled): Settled => ({
  stored: a.stored + b.stored,
  discarded: a.discarded + b.discarded,
  divided: a.divided + b.divided,
  refused: a.refused + b.refused,
  refusedEvents: a.refusedEvents + b.refusedEvents,
  waiting: a.waiting + b.waiting,
});
