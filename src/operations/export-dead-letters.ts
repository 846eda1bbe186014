import type { Database } from '../postgres/connection/pool.ts';
import { type OpenedDeadLetter, createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import { partByProject, partId } from '../postgres/dead-letters/payload.ts';
import type { Selection } from '../postgres/dead-letters/selection.ts';
import { headerOf } from './dead-letter-file.ts';
import { type Progress, UNSEEN } from './progress.ts';
import { countSelected } from './selected-dead-letters.ts';

/** One dead letter as it stands in the file. `bytes` is null when its payload is unreadable. */
export type ExportedDeadLetter = { readonly id: string; readonly events: number; readonly bytes: Buffer | null };

/**
 * The selected dead letters in the order of their ids, each row exactly as stored; for a project without other
 * projects' rows. `rowsOnly` omits the descriptions, without which they cannot be imported. Changes nothing. Throws
 * `OperationRefused`, `PostgresFailure`.
 */
export async function* exportDeadLetters(
  db: Database,
  { selection, rowsOnly }: { selection: Selection; rowsOnly: boolean },
  progress: Pick<Progress, 'during'> = UNSEEN,
): AsyncGenerator<ExportedDeadLetter> {
  const queries = createDeadLetterQueries(db);
  await progress.during('Counting', countSelected(db, selection));
  for await (const found of queries.openAll(selection)) {
    const opened = selection.by === 'project' ? ownPart(found, selection.projectId) : found;
    if (opened === null) continue;
    const { letter, rows } = opened;
    const bytes = rows === null || rowsOnly ? rows : Buffer.concat([headerOf(letter, rows), rows]);
    yield { id: letter.id, events: letter.eventCount, bytes };
  }
}

/** The project's rows alone, under the id that a split would give them; null when there are none. */
function ownPart({ letter, rows }: OpenedDeadLetter, projectId: string): OpenedDeadLetter | null {
  if (rows === null || letter.projectIds.length === 1) return { letter, rows };
  const { own } = partByProject(rows, projectId);
  if (own.length === 0) return null;
  const bytes = Buffer.concat(own);
  const part = { id: partId(letter.id, bytes), parentId: letter.id, generation: letter.generation + 1 };
  const size = { eventCount: own.length, rawBytes: bytes.length };
  return { letter: { ...letter, ...part, ...size, projectIds: [projectId] }, rows: bytes };
}
