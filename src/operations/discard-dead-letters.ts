import type { Database } from '../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import type { CountByState } from '../postgres/dead-letters/dead-letter-statistics.ts';
import { type DiscardedDeadLetters, createDeadLetterActions } from '../postgres/dead-letters/operator-actions.ts';
import type { Selection } from '../postgres/dead-letters/selection.ts';
import { readNow } from '../postgres/connection/now.ts';
import { type Progress, UNSEEN } from './progress.ts';
import { OperationRefused } from './refused.ts';
import { countSelected, totalOf } from './selected-dead-letters.ts';

/** `left`: selected letters that remain because a drain was replaying them. Those that came later are not meant. */
export type Discarded = { readonly removed: DiscardedDeadLetters; readonly left: number };

type DiscardRequest = {
  readonly selection: Selection;
  /** The reason, for the audit. */
  readonly reason: string;
  readonly actor: string;
  /**
   * When the person who wants it was told what it touches, by Postgres's clock; what came later is left. By default now.
   */
  readonly asOf?: string;
  /** Called with what would be discarded, unless that is nothing; throws to prevent it. */
  readonly confirm?: (count: CountByState) => Promise<void>;
};

/**
 * Deletes the selected dead letters for good; for a project exactly its events. Throws `OperationRefused`,
 * `PostgresFailure`.
 */
export async function discardDeadLetters(
  db: Database,
  { selection: wanted, reason: text, actor, asOf, confirm = async () => {} }: DiscardRequest,
  progress: Progress = UNSEEN,
): Promise<Discarded> {
  const reason = checkedReason(text);
  const selection = { ...wanted, asOf: asOf ?? (await readNow(db)) };
  const queries = createDeadLetterQueries(db);
  const count = await progress.during('Counting', countSelected(db, selection));
  if (totalOf(count).letters > 0) await confirm(count);
  const removed = await createDeadLetterActions(db, { actor }).discard(selection, reason, progress.done);
  const rest = await progress.during('Counting the remaining letters', queries.count(selection));
  return { removed, left: totalOf(rest).letters - removed.unreadable.length };
}

/** Trimmed. */
function checkedReason(text: string): string {
  const reason = text.trim();
  if (reason === '') throw new OperationRefused('invalid', '--reason is empty. Give a reason: the audit keeps it.');
  return reason;
}
