/**
 * Changes how long the events of a project are kept: for events to come, and for stored ones. Every step may be
 * repeated; after a crash, or for events that were still on their way, the same call does the rest.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import { MutationFailed } from '../clickhouse/operations/mutation.ts';
import {
  type RetentionRewriteProgress,
  type RetentionState,
  type RewrittenRetention,
  measureRetentionState,
  rewriteRetention,
} from '../clickhouse/operations/retention-rewrite.ts';
import { createRetention } from '../postgres/accounts/retention.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import type { Clock } from '../runtime/clock.ts';
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

/** What `changeStoredRetention` would do. Throws what ClickHouse's driver throws. */
export const measureStoredRetention = (
  clickhouse: ClickHouseClient,
  { projectId, retentionSeconds }: Wanted,
): Promise<RetentionState> => measureRetentionState(clickhouse, projectId, retentionSeconds);

/**
 * As `changeRetention`, and gives the stored events the expiry they would get under it. Throws `OperationRefused`, also
 * when another retention is set in the meantime, `PostgresFailure`, and what ClickHouse's driver throws.
 */
export async function changeStoredRetention(
  { db, clickhouse, clock }: { db: Database; clickhouse: ClickHouseClient; clock: Clock },
  { projectId, retentionSeconds, actor, confirm = async () => {}, onBegin = () => {} }: StoredRequest,
  onProgress: (progress: RetentionRewriteProgress) => void = () => {},
): Promise<ChangedRetention> {
  const retention = createRetention(db, { actor });
  const state = await measureRetentionState(clickhouse, projectId, retentionSeconds);
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
  const rewritten = await rewriteRetention(
    { client: clickhouse, clock },
    { projectId, retentionSeconds, confirmWanted },
    onProgress,
  ).catch((error: unknown) => {
    if (!(error instanceof MutationFailed)) throw error;
    throw new OperationRefused('store', `${error.message}.`, { cause: error });
  });
  const { letters } = totalOf(await createDeadLetterQueries(db).count({ by: 'project', projectId }));
  return { isChanged, rewritten, letters };
}
