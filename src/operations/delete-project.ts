/**
 * Deleting a project first ends its tokens, so that nothing new arrives, and then removes what is kept of it: dead
 * letters, then events. Every step may be repeated; after a crash, or for events that were still on their way, the same
 * call removes the rest.
 */
import { type ErasedTable, type EraseProgress, type EventOperations, StoreGaveUp } from '../pipeline/operator-port.ts';
import { createProjects } from '../postgres/accounts/projects.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import {
  type DeadLetterActions,
  type DiscardedDeadLetters,
  createDeadLetterActions,
} from '../postgres/dead-letters/operator-actions.ts';
import { removeRejectedOf } from '../postgres/rejected-events/rejected-actions.ts';
import type { Clock } from '../runtime/clock.ts';
import { OperationRefused } from './refused.ts';

/** A drain's lease on a letter ends within an insert and a half. */
const WAIT_FOR_LEASES_MS = 120_000;
const POLL_MS = 1_000;
const REASON = 'project deleted';

/** `left`: dead letters that a drain is still replaying. */
export type EmptiedDeadLetters = { readonly removed: DiscardedDeadLetters; readonly left: number };
export type DeletedProject = {
  readonly letters: EmptiedDeadLetters;
  /** Kept events that had been rejected. */
  readonly rejected: number;
  readonly tables: readonly ErasedTable[];
};

export type DeletionProgress = {
  tokensRevoked(): void;
  deadLettersDiscarded(letters: number): void;
  /** A drain is replaying this many letters of the project, which have to be waited for. */
  waitingFor(letters: number): void;
  erasing(progress: EraseProgress): void;
};

const UNSEEN: DeletionProgress = { tokensRevoked() {}, deadLettersDiscarded() {}, waitingFor() {}, erasing() {} };

type Stores = { readonly db: Database; readonly events: EventOperations; readonly clock: Clock };

/**
 * Ends the project and its tokens; its events and dead letters stay. False when there never was such a project. Throws
 * `PostgresFailure`.
 */
export const closeProject = (db: Database, id: string, { actor }: { actor: string }): Promise<boolean> =>
  createProjects(db, { actor }).delete(id);

/**
 * Deletes the project with all its events and dead letters; those of other projects are never touched. Whatever the
 * result lists as left needs another call. Throws `OperationRefused`, `PostgresFailure`, and what the store's driver
 * throws.
 */
export async function deleteProject(
  { db, events, clock }: Stores,
  { id, actor }: { id: string; actor: string },
  progress: DeletionProgress = UNSEEN,
): Promise<DeletedProject> {
  await closeProject(db, id, { actor });
  progress.tokensRevoked();
  const actions = createDeadLetterActions(db, { actor });
  // First: a replay turns them into dead letters.
  const rejected = await removeRejectedOf(db, id);
  const letters = await emptyDeadLetters({ db, actions, clock }, id, progress);
  // Recorded before the deletion: the ledger can only be balanced with what is written down.
  const landed = await events.countLanded(id);
  if (landed > 0) await actions.recordErasure(id, landed);
  try {
    return { letters, rejected, tables: await events.eraseProject(id, progress.erasing) };
  } catch (error) {
    if (!(error instanceof StoreGaveUp)) throw error;
    throw new OperationRefused('store', `${error.message}.`, { cause: error });
  }
}

/**
 * Discards until nothing is left of the project, or only letters that have been replayed for longer than a lease lasts.
 */
async function emptyDeadLetters(
  { db, actions, clock }: { db: Database; actions: DeadLetterActions; clock: Clock },
  projectId: string,
  progress: DeletionProgress,
): Promise<EmptiedDeadLetters> {
  const queries = createDeadLetterQueries(db);
  const selection = { by: 'project', projectId } as const;
  const deadline = clock.elapsed() + WAIT_FOR_LEASES_MS;
  let removed: DiscardedDeadLetters = { letters: 0, events: 0, shared: 0, doubtful: 0, unreadable: [] };
  for (;;) {
    const step = await actions.discard(selection, REASON, ({ letters }) => progress.deadLettersDiscarded(letters));
    removed = {
      letters: removed.letters + step.letters,
      events: removed.events + step.events,
      shared: removed.shared + step.shared,
      doubtful: removed.doubtful + step.doubtful,
      unreadable: step.unreadable,
    };
    const { replaying } = await queries.count(selection);
    if (replaying.letters === 0 || clock.elapsed() > deadline) return { removed, left: replaying.letters };
    progress.waitingFor(replaying.letters);
    await clock.sleep(POLL_MS);
  }
}
