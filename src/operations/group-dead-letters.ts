import type { Database } from '../postgres/connection/pool.ts';
import { type Group, readGroups } from '../postgres/dead-letters/dead-letter-statistics.ts';
import { unquoted } from './hidden-values.ts';

/** The causes of dead letters, largest group first, in words that quote no event. Throws `PostgresFailure`. */
export async function groupDeadLetters(db: Database): Promise<Group[]> {
  const groups = await readGroups(db);
  return groups.map((group) => ({ ...group, lastError: unquoted(group.lastError) }));
}
