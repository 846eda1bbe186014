/** Puts exported letters back, several in one transaction. */
import { sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import { auditDeadLetters } from './audit.ts';
import { afterAmbiguity } from './ambiguity-window.ts';
import type { DeadLetterEntry } from './dead-letter-queries.ts';
import { compressRows } from './payload.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { uuids } from '../connection/uuids.ts';
import { failedEvents } from '../connection/schema.ts';

/** A letter on its way back into the table. */
export type ImportedDeadLetter = { readonly letter: DeadLetterEntry; readonly rows: Buffer };
/** `present`: it exists; `divided`: its rows are in letters split off it, or it is a part of an existing letter. */
export type ImportOutcome = 'restored' | 'present' | 'divided' | 'deleted project';

/** Returns the outcome of each, all in one transaction: not many more than a few hundred. Throws `PostgresFailure`. */
export function importDeadLetters(
  db: Database,
  { actor }: { actor: string },
  returned: readonly ImportedDeadLetter[],
): Promise<ImportOutcome[]> {
  return answerOf(
    db.transaction(async (tx) => {
      const outcomes = await judge(tx, returned);
      const meant = returned.filter((_, place) => outcomes[place] === 'restored');
      const written = await insertDeadLetters(tx, meant);
      const restored = meant.filter(({ letter }) => written.has(letter.id)).map(({ letter }) => letter);
      await auditDeadLetters(
        tx,
        { action: 'import', actor, detail: {} },
        restored.map(({ id, eventCount, projectIds }) => ({ id, eventCount, projectIds })),
      );
      // Another process may have added one since the check.
      return outcomes.map((outcome, place) =>
        outcome === 'restored' && !written.has(returned[place]!.letter.id) ? 'present' : outcome,
      );
    }),
  );
}

/** The possible outcome of each, assuming those before it succeed. */
async function judge(tx: Transaction, returned: readonly ImportedDeadLetter[]): Promise<ImportOutcome[]> {
  const ids = returned.map(({ letter }) => letter.id);
  const parents = returned.flatMap(({ letter }) => letter.parentId ?? []);
  const { rows: kin } = await tx.execute<{ id: string; parent_id: string | null }>(
    sql`select id, parent_id from failed_events where id = any(${uuids([...ids, ...parents])}) or parent_id = any(${uuids(ids)})`,
  );
  const projectIds = [...new Set(returned.flatMap(({ letter }) => letter.projectIds))];
  const { rows: deleted } = await tx.execute<{ id: string }>(
    sql`select id from projects where id = any(${uuids(projectIds)}) and deleted_at is not null`,
  );
  const [isThere, isDivided] = [new Set(kin.map(({ id }) => id)), new Set(kin.map((letter) => letter.parent_id))];
  const isDeleted = new Set(deleted.map(({ id }) => id));
  return returned.map(({ letter: { id, parentId, projectIds } }): ImportOutcome => {
    if (isThere.has(id)) return 'present';
    if (isDivided.has(id) || (parentId !== null && isThere.has(parentId))) return 'divided';
    if (projectIds.some((projectId) => isDeleted.has(projectId))) return 'deleted project';
    isThere.add(id);
    isDivided.add(parentId);
    return 'restored';
  });
}

/** Returns the ids of those that did not exist. */
async function insertDeadLetters(
  tx: Transaction,
  returned: readonly ImportedDeadLetter[],
): Promise<ReadonlySet<string>> {
  if (returned.length === 0) return new Set();
  const ids = returned.map(({ letter }) => letter.id);
  const { rows: splits } = await tx.execute<{ id: string }>(
    sql`select distinct failed_event_id as id from failed_events_audit where failed_event_id = any(${uuids(ids)}) and action = 'split'`,
  );
  const wasSplit = new Set(splits.map(({ id }) => id));
  const values = [];
  // One after the other: each compression takes a megabyte while it lasts.
  for (const { letter, rows } of returned) {
    values.push({ ...valuesOf(letter, wasSplit.has(letter.id)), payload: await compressRows(rows) });
  }
  const written = await tx.insert(failedEvents).values(values).onConflictDoNothing().returning({ id: failedEvents.id });
  return new Set(written.map(({ id }) => id));
}

function valuesOf(letter: DeadLetterEntry, wasSplit: boolean) {
  const { state: _, group, visibleAt: __, ...kept } = letter;
  const wasToBeAsked = letter.ambiguous && letter.lastAttemptAt === null;
  const lastAttemptAt = letter.lastAttemptAt ?? letter.createdAt;
  return {
    ...kept,
    projectIds: [...letter.projectIds],
    errorFingerprint: group,
    // It may have landed since it was exported.
    ambiguous: true,
    // Its rows may have landed under ids that its own says nothing about.
    lastAttemptAt: wasSplit || wasToBeAsked ? null : lastAttemptAt,
    visibleAt: letter.parentId === null ? sql`now()` : afterAmbiguity(lastAttemptAt),
  };
}
