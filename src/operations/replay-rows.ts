import type { Database } from '../postgres/connection/pool.ts';
import { replayRows as replayRowsIn } from '../postgres/dead-letters/partial-replay.ts';
import { OperationRefused, type RefusalReason } from './refused.ts';
import type { RowChoice } from './row-choice.ts';

const WHY_NOT: Record<string, readonly [RefusalReason, (id: string) => string]> = {
  absent: [
    'not-found',
    (id) => `There is no dead letter ${id}. \`weir dlq audit --letter ${id}\` says what happened to it.`,
  ],
  replaying: ['conflict', (id) => `The letter ${id} is being replayed at this moment: try again in a minute.`],
  unreadable: ['damaged', (id) => `The payload of ${id} is damaged: its rows cannot be read.`],
  unmatched: ['not-found', (id) => `The letter ${id} has no such rows: \`weir dlq show ${id}\` numbers them.`],
};

export type ReplayedRows = {
  readonly deadLetterId: string;
  readonly events: number;
  /** Events that stay behind. */
  readonly left: number;
  /** The dead letter of their own in which they are; null when all are due. */
  readonly leftId: string | null;
};

/** Makes some events of one dead letter due, in a letter of their own. Throws `OperationRefused`, `PostgresFailure`. */
export async function replayRows(
  db: Database,
  { id, isMeant, actor }: { id: string; isMeant: RowChoice; actor: string },
): Promise<ReplayedRows> {
  const outcome = await replayRowsIn(db, { id, actor, isMeant });
  if (outcome.kind !== 'due') {
    const [reason, describe] = WHY_NOT[outcome.kind]!;
    throw new OperationRefused(reason, `${describe(id)} Nothing was changed.`);
  }
  const { deadLetterId, events, left, leftId } = outcome;
  return { deadLetterId, events, left, leftId };
}
