/** Looks for rows inside dead letters, the newest letters first, as far as a person can wait for. */
import { and, desc, inArray, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents } from '../connection/schema.ts';
import { readRows } from './payload.ts';
import { type DeadLetterState, state } from './selection.ts';

/** A letter that holds what was looked for. */
export type LetterWithRows = {
  readonly id: string;
  readonly state: DeadLetterState;
  readonly group: string;
  readonly errorClass: string;
  readonly lastError: string;
  readonly createdAt: Date;
  readonly rows: Buffer;
};

export type LetterSearch = {
  readonly letters: readonly LetterWithRows[];
  /** Whether there were more letters than could be looked into. */
  readonly isCutShort: boolean;
};

const MAX_LETTERS = 1_000;
const MAX_BYTES = 128 * 1024 * 1024;
const MAX_FOUND = 20;
/** In memory at a time, of rows. */
const STEP_BYTES = 8 * 1024 * 1024;

/** Letters with rows for which `holds` is true. Throws `PostgresFailure`. */
export async function searchLetters(
  db: Database,
  { projectId, holds }: { readonly projectId: string | null; readonly holds: (rows: Buffer) => boolean },
): Promise<LetterSearch> {
  const ofProject = projectId === null ? undefined : sql`${projectId}::uuid = any(${failedEvents.projectIds})`;
  const newest = await answerOf(
    db
      .select({ id: failedEvents.id, bytes: failedEvents.rawBytes })
      .from(failedEvents)
      .where(ofProject)
      // Ids begin with the time, and have an index.
      .orderBy(desc(failedEvents.id))
      .limit(MAX_LETTERS + 1),
  );
  const letters: LetterWithRows[] = [];
  let read = 0;
  let next = 0;
  while (next < Math.min(newest.length, MAX_LETTERS) && read < MAX_BYTES && letters.length < MAX_FOUND) {
    const step: string[] = [];
    let bytes = 0;
    while (next < newest.length && (step.length === 0 || bytes + newest[next]!.bytes <= STEP_BYTES)) {
      bytes += newest[next]!.bytes;
      step.push(newest[next]!.id);
      next += 1;
    }
    read += bytes;
    letters.push(...(await lettersAmong(db, step, holds)));
  }
  return { letters: letters.slice(0, MAX_FOUND), isCutShort: next < newest.length };
}

async function lettersAmong(db: Database, ids: readonly string[], holds: (rows: Buffer) => boolean) {
  const found = await answerOf(
    db
      .select({
        id: failedEvents.id,
        state,
        group: failedEvents.errorFingerprint,
        errorClass: failedEvents.errorClass,
        lastError: failedEvents.lastError,
        createdAt: failedEvents.createdAt,
        payload: failedEvents.payload,
      })
      .from(failedEvents)
      .where(and(inArray(failedEvents.id, [...ids]))),
  );
  const opened = await Promise.all(
    found.map(async ({ payload, ...letter }) => ({ ...letter, rows: await readRows(payload) })),
  );
  return opened.filter((letter): letter is LetterWithRows => letter.rows !== null && holds(letter.rows));
}
