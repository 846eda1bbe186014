import type { Database } from '../postgres/connection/pool.ts';
import { type ChangedDeadLetters, createDeadLetterActions } from '../postgres/dead-letters/operator-actions.ts';
import type { Selection } from '../postgres/dead-letters/selection.ts';
import { type DrainPosition, readDrain } from './drain-switch.ts';
import { type Progress, UNSEEN } from './progress.ts';
import { countSelected } from './selected-dead-letters.ts';

export type Replayed = ChangedDeadLetters & {
  /** Selected letters that a drain was already replaying; they were left alone. */
  readonly replaying: number;
  /** While it is paused, nothing happens yet. */
  readonly drain: DrainPosition;
};

/**
 * Makes the selected dead letters due, including quarantined ones, with all their attempts restored. The running Weir
 * replays them. `perSecond` spreads them over time; null makes all due at once. Throws `OperationRefused`,
 * `PostgresFailure`.
 */
export async function replayDeadLetters(
  db: Database,
  { selection, perSecond, actor }: { selection: Selection; perSecond: number | null; actor: string },
  progress: Progress = UNSEEN,
): Promise<Replayed> {
  const { replaying } = await progress.during('Counting', countSelected(db, selection));
  const changed = await createDeadLetterActions(db, { actor }).replay(selection, perSecond, progress.done);
  return { ...changed, replaying: replaying.letters, drain: (await readDrain(db)).position };
}
