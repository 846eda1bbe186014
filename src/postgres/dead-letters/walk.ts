/**
 * Walks through selected letters, however many: their ids are read many at a time, because finding them may mean
 * reading the table, and handed out in steps, because the work on them should hold locks and memory only briefly.
 */
import { uuids } from '../connection/uuids.ts';
import type { SQL } from 'drizzle-orm';
import { and, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { failedEvents } from '../connection/schema.ts';

export type StepLimits = {
  readonly letters: number;
  /** Of rows before compression; a larger letter is a step by itself. */
  readonly bytes: number;
};

/** Ids in memory at a time, about two megabytes of them. */
const PAGE = 20_000;

/**
 * Yields the ids of the matching letters in order, each letter once and a step at a time. A letter may be gone, or no
 * longer match, when its step is yielded. Throws `PostgresFailure`.
 */
export async function* walkDeadLetters(
  db: Database,
  matching: SQL | undefined,
  { letters, bytes }: StepLimits,
  pageSize = PAGE,
): AsyncGenerator<readonly string[]> {
  for (let after: string | null = null; ;) {
    const page: { id: string; bytes: number }[] = await answerOf(
      db
        .select({ id: failedEvents.id, bytes: failedEvents.rawBytes })
        .from(failedEvents)
        .where(and(matching, after === null ? undefined : sql`${failedEvents.id} > ${after}`))
        .orderBy(failedEvents.id)
        .limit(pageSize),
    );
    let step: string[] = [];
    let size = 0;
    for (const letter of page) {
      if (step.length === letters || (step.length > 0 && size + letter.bytes > bytes)) {
        yield step;
        [step, size] = [[], 0];
      }
      step.push(letter.id);
      size += letter.bytes;
    }
    if (step.length > 0) yield step;
    if (page.length < pageSize) return;
    after = page.at(-1)!.id;
  }
}

/** The condition for the letters of a step; combine it with the condition by which they were found. */
export const hasIdIn = (ids: readonly string[]): SQL => sql`${failedEvents.id} = any(${uuids(ids)})`;
