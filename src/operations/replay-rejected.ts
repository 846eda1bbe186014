import type { Database } from '../postgres/connection/pool.ts';
import {
  type DecodeRejected,
  replayStep,
  type TriedEvent,
  type TriedStep,
  tryStep,
} from '../postgres/rejected-events/rejected-actions.ts';
import {
  countRejected,
  type RejectedSelection,
  type RejectedWalk,
} from '../postgres/rejected-events/rejected-queries.ts';
import { OperationRefused } from './refused.ts';

export type ReplayedRejected = {
  /** Events that are accepted today: moved to the dead letters, or, of a trial, that would be. */
  readonly accepted: number;
  /** Events that are rejected today as well, by the reason against them. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Events of the selection that were not looked at: another command had them, or their project is deleted. */
  readonly passedOver: number;
};

type ReplayRequest = {
  readonly selection: RejectedSelection;
  readonly decode: DecodeRejected;
  readonly actor: string;
  /** Only say what would happen. */
  readonly isTrial: boolean;
};

/** Reasons that are told apart; there are few, but for what a damaged event is rejected for. */
const MAX_REASONS = 50;
const OTHERS = 'others';

/**
 * Decodes the selected rejected events as they would be decoded today, and moves those that are accepted to the dead
 * letters, from where a running Weir stores them. May be repeated: what was moved is no longer selected. `onStep`: with
 * how many were looked at. Throws `OperationRefused`, `PostgresFailure`.
 */
export async function replayRejected(
  db: Database,
  { selection, decode, actor, isTrial }: ReplayRequest,
  onStep: (done: number) => void = () => {},
): Promise<ReplayedRejected> {
  const selected = await countSelectedRejected(db, selection);
  const rejected: Record<string, number> = {};
  let accepted = 0;
  let done = 0;
  for (let after: string | null = null; ;) {
    const walk: RejectedWalk = { selection, after };
    const { tried, last }: TriedStep = isTrial
      ? await tryStep(db, walk, decode)
      : await replayStep(db, walk, { decode, actor });
    for (const one of tried) {
      if (Buffer.isBuffer(one.outcome)) accepted += 1;
      else count(rejected, one);
    }
    done += tried.length;
    onStep(done);
    if (last === null) break;
    after = last;
  }
  return { accepted, rejected, passedOver: Math.max(0, selected - done) };
}

function count(rejected: Record<string, number>, { outcome }: TriedEvent): void {
  const { reason } = outcome as { reason: string };
  const name = Object.hasOwn(rejected, reason) || Object.keys(rejected).length < MAX_REASONS ? reason : OTHERS;
  rejected[name] = (rejected[name] ?? 0) + 1;
}

/** Counts the selected events. Refuses ids that do not exist. Throws `OperationRefused`, `PostgresFailure`. */
export async function countSelectedRejected(db: Database, selection: RejectedSelection): Promise<number> {
  const count = await countRejected(db, selection);
  const { ids } = selection;
  if (ids === undefined || count === ids.length) return count;
  const missing = ids.length - count;
  const some = missing === 1 ? 'one of these events' : `${missing} of these events`;
  throw new OperationRefused(
    'not-found',
    `Weir has not kept ${some}, or no longer: it was replayed, expired, or made room for newer ones. Nothing was changed. \`weir rejected ls\` lists what is kept.`,
  );
}
