import type { Database } from '../postgres/connection/pool.ts';
import type { ImportOutcome, ImportedDeadLetter } from '../postgres/dead-letters/import.ts';
import { createDeadLetterActions } from '../postgres/dead-letters/operator-actions.ts';
import { BadDeadLetterFile, readDeadLetterFile } from './dead-letter-file.ts';
import { type Progress, UNSEEN } from './progress.ts';

/** The limits of one transaction. */
const STEP_DEAD_LETTERS = 200;
const STEP_BYTES = 8 * 1024 * 1024;

export type Imported = {
  readonly restored: number;
  /** Events of the restored letters. */
  readonly events: number;
  /** Letters that were already present, and stay unchanged. */
  readonly present: number;
  /** Letters whose rows are in another one: split off from it, or into it. */
  readonly divided: number;
  /** Letters that hold events of a deleted project. */
  readonly deletedProject: number;
  /** What is wrong with the file; the letters before that place are imported. Null when it was read to its end. */
  readonly stoppedBy: BadDeadLetterFile | null;
};

/**
 * Puts exported dead letters back, with their ids and bytes. May be repeated. Throws `PostgresFailure`, and what
 * `source` throws.
 */
export async function importDeadLetters(
  db: Database,
  { source, actor }: { source: AsyncIterable<Uint8Array>; actor: string },
  progress: Progress = UNSEEN,
): Promise<Imported> {
  const actions = createDeadLetterActions(db, { actor });
  const count: Record<ImportOutcome, number> = { restored: 0, present: 0, divided: 0, 'deleted project': 0 };
  let events = 0;
  let stoppedBy: BadDeadLetterFile | null = null;
  try {
    for await (const letters of inSteps(readDeadLetterFile(source))) {
      for (const [place, outcome] of (await actions.import(letters)).entries()) {
        count[outcome]++;
        if (outcome === 'restored') events += letters[place]!.letter.eventCount;
      }
      progress.done({ letters: count.restored + count.present });
    }
  } catch (error) {
    if (!(error instanceof BadDeadLetterFile)) throw error;
    stoppedBy = error;
  }
  const { restored, present, divided, 'deleted project': deletedProject } = count;
  return { restored, events, present, divided, deletedProject, stoppedBy };
}

/** The letters in groups; those before a damaged one come before its error. */
async function* inSteps(letters: AsyncIterable<ImportedDeadLetter>): AsyncGenerator<readonly ImportedDeadLetter[]> {
  let step: ImportedDeadLetter[] = [];
  let size = 0;
  try {
    for await (const returned of letters) {
      step.push(returned);
      size += returned.rows.length;
      if (step.length < STEP_DEAD_LETTERS && size < STEP_BYTES) continue;
      yield step;
      [step, size] = [[], 0];
    }
  } catch (error) {
    if (step.length > 0) yield step;
    throw error;
  }
  if (step.length > 0) yield step;
}
