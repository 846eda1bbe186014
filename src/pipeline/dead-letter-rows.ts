import { idsOf, splitRows } from '../event/rows.ts';
import type { DeadLetter, DeadLetterPart } from './dead-letter-port.ts';

export const rowsOf = ({ chunks }: DeadLetter): Buffer[] => splitRows(Buffer.concat(chunks));

/** Rows as a letter of their own that is tried again. */
export const retriedPart = (rows: readonly Buffer[]): DeadLetterPart => ({ rows, failure: null, isQuarantined: false });

/** How many of the letter's events belong to each project. */
export function countByProject(letter: DeadLetter): Map<string, number> {
  const [projectId, ...others] = letter.projectIds;
  // Nearly every letter has one project; looking into five thousand rows would block everything else for milliseconds.
  if (projectId !== undefined && others.length === 0) return new Map([[projectId, letter.eventCount]]);
  const counts = new Map<string, number>();
  for (const row of rowsOf(letter)) {
    const projectId = idsOf(row)?.projectId;
    if (projectId !== undefined) counts.set(projectId, (counts.get(projectId) ?? 0) + 1);
  }
  return counts;
}
