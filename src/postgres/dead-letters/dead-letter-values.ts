/** What the pipeline writes into the columns of a dead letter. */
import type { SQL } from 'drizzle-orm';
import { fingerprintOf } from '../../pipeline/outcome.ts';
import { partIdOf } from '../../pipeline/batch.ts';
import type { DeadLetterPart } from '../../pipeline/dead-letter-port.ts';
import type { InsertFailure } from '../../pipeline/ports.ts';
import { sql } from '../connection/drizzle.ts';
import { compressRows, projectsIn } from './payload.ts';

/** The drain's name in the audit. */
export const DRAIN = 'drain';
const MAX_ERROR_CHARACTERS = 2_000;

export function describeFailure(failure: InsertFailure) {
  return {
    errorClass: failure.failureClass,
    errorCode: failure.code,
    errorFingerprint: fingerprintOf(failure),
    lastError: failure.message.slice(0, MAX_ERROR_CHARACTERS),
  };
}

export const quarantinedNow = (reason: string) => ({ quarantinedAt: sql`now()`, quarantineReason: reason });

/** An instant by the clock of Postgres. */
export const inMs = (ms: number): SQL => sql`now() + ${ms} * interval '1 millisecond'`;

export type PartDeadLetter = Awaited<ReturnType<typeof partOf>>;

/** Rows that leave a batch or a letter, as letters of their own. */
export const deadLettersOfParts = (parentId: string, parts: readonly DeadLetterPart[]): Promise<PartDeadLetter[]> =>
  Promise.all(parts.map((part, place) => partOf(parentId, part, twinsBefore(parts, place))));

/** The parts as the audit records them. */
export const describeParts = (letters: readonly PartDeadLetter[]) =>
  letters.map(({ values, part }) => ({ id: values.id, events: values.eventCount, bad: part.isQuarantined }));

/**
 * A part as a letter. Its id follows from parent and rows, so that a split repeated after a crash makes the same
 * letters.
 */
async function partOf(parentId: string, part: DeadLetterPart, twins: number) {
  const rows = Buffer.concat(part.rows);
  const values = {
    id: partIdOf(parentId, rows, twins),
    payload: await compressRows(rows),
    rawBytes: rows.length,
    eventCount: part.rows.length,
    projectIds: projectsIn(part.rows),
  };
  return { values, rows, part };
}

/** How many parts before this one have the same bytes, as when a client sent one event twice. */
function twinsBefore(parts: readonly DeadLetterPart[], place: number): number {
  const own = parts[place]!.rows;
  return parts
    .slice(0, place)
    .filter(({ rows }) => rows.length === own.length && rows.every((row, index) => row.equals(own[index]!))).length;
}
