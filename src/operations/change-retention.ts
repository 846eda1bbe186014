/**
 * Changes how long the events of a project are kept: for events to come, and for stored ones. Every step may be
 * repeated; after a crash, or for events that were still on their way, the same call does the rest.
 */
import {
  type EventOperations,
  type RetentionRewriteProgress,
  type RetentionState,
  type RewrittenRetention,
  StoreGaveUp,
} from '../pipeline/operator-port.ts';
import { createRetention } from '../postgres/accounts/retention.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import { findProject } from './find-project.ts';
import { OperationRefused } from './refused.ts';
import { showRetention } from './retention-text.ts';
import { totalOf } from './selected-dead-letters.ts';

/** Seconds from arrival; null keeps the events. */
type Wanted = { readonly projectId: string; readonly retentionSeconds: number | null };

/**
 * For events that arrive from a minute from now at the latest. False when nothing had to change. Throws
 * `PostgresFailure`.
 */
export const changeRetention = (
  db: Database,
  { projectId, retentionSeconds, actor }: Wanted & { actor: string },
): Promise<boolean> => createRetention(db, { actor }).change(projectId, retentionSeconds);

type StoredRequest = Wanted & {
  readonly actor: string;
  /** Called when events are old enough to be deleted at once; throws to leave everything unchanged. */
  readonly confirm?: (state: RetentionState) => Promise<void>;
  /** Called just before the first change. */
  readonly onBegin?: () => void;
};

export type ChangedRetention = {
  /** Whether the project had another retention before. */
  readonly isChanged: boolean;
  readonly rewritten: RewrittenRetention;
  /** Dead letters that hold events of the project; those keep their expiry. */
  readonly letters: number;
};

/**
 * As `changeRetention`, and gives the stored events the expiry they would get under it. Throws `OperationRefused`, also
 * when another retention is set in the meantime, `PostgresFailure`, and what the store's driver throws.
 */
export async function changeStoredRetention(
  { db, events }: { db: Database; events: EventOperations },
  { projectId, retentionSeconds, actor, confirm = async () => {}, onBegin = () => {} }: StoredRequest,
  onProgress: (progress: RetentionRewriteProgress) => void = () => {},
): Promise<ChangedRetention> {
  const retention = createRetention(db, { actor });
  const state = await events.measureRetention(projectId, retentionSeconds);
  if (state.expiring > 0) await confirm(state);
  onBegin();
  const isChanged = await retention.change(projectId, retentionSeconds);
  if (state.differing > 0) await retention.recordRewrite(projectId, { ...state, to: retentionSeconds });
  const confirmWanted = async () => {
    const now = (await findProject(db, projectId)).retentionSeconds;
    if (now === retentionSeconds) return;
    throw new OperationRefused(
      'conflict',
      `Another command set the retention to ${showRetention(now)} meanwhile; this one stopped.`,
    );
  };
  const rewrite = { projectId, retentionSeconds, confirmWanted };
  const rewritten = await events.rewriteRetention(rewrite, onProgress).catch((error: unknown) => {
    if (!(error instanceof StoreGaveUp)) throw error;
    throw new OperationRefused('store', `${error.message}.`, { cause: error });
  });
  const { letters } = totalOf(await createDeadLetterQueries(db).count({ by: 'project', projectId }));
  return { isChanged, rewritten, letters };
}
