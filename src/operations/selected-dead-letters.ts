/** What all actions on dead letters share: counting the selection, and checking that everything named exists. */
import type { Database } from '../postgres/connection/pool.ts';
import { type DeadLetterQueries, createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import type { CountByState } from '../postgres/dead-letters/dead-letter-statistics.ts';
import type { Selection } from '../postgres/dead-letters/selection.ts';
import { findKnownProject } from './find-project.ts';
import { OperationRefused } from './refused.ts';

/** The default number of letters that a dry run tries: about half a minute. */
export const SAMPLE_SIZE = 200;
/** The most ids that a message names. */
const IDS_NAMED = 5;

/**
 * Counts the selected dead letters. Refuses an id, a group or a project that does not exist, but not a project without
 * any, and not letters that were imported for a project which nobody has made here. Throws `OperationRefused`,
 * `PostgresFailure`.
 */
export async function countSelected(db: Database, selection: Selection): Promise<CountByState> {
  const queries = createDeadLetterQueries(db);
  if (selection.by === 'ids') await requireAll(queries, selection.ids);
  const count = await queries.count(selection);
  if (totalOf(count).letters > 0) return count;
  if (selection.by === 'project') await findKnownProject(db, selection.projectId);
  if (selection.by === 'group') {
    throw new OperationRefused(
      'not-found',
      `No dead letter is in the group ${selection.group}. See \`weir dlq groups\`.`,
    );
  }
  return count;
}

async function requireAll(queries: DeadLetterQueries, ids: readonly string[]): Promise<void> {
  const existing = await queries.existing(ids);
  const missing = ids.filter((id) => !existing.has(id));
  if (missing.length === 0) return;
  const more = missing.length > IDS_NAMED ? ` and ${missing.length - IDS_NAMED} more` : '';
  throw new OperationRefused(
    'not-found',
    `There is no dead letter ${missing.slice(0, IDS_NAMED).join(', ')}${more}: it landed, was split or was discarded; \`weir dlq audit --letter ID\` says what happened to each. Nothing was changed.`,
  );
}

export function totalOf({ waiting, replaying, quarantined }: CountByState) {
  return {
    letters: waiting.letters + replaying.letters + quarantined.letters,
    events: waiting.events + replaying.events + quarantined.events,
  };
}
