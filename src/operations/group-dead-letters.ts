import type { Database } from '../postgres/connection/pool.ts';
import { type Group, readGroups } from '../postgres/dead-letters/dead-letter-statistics.ts';
import { type Overview, readOverview } from '../postgres/dead-letters/letter-overview.ts';
import { unquoted } from './hidden-values.ts';

/** The causes of dead letters, largest group first, in words that quote no event. Throws `PostgresFailure`. */
export async function groupDeadLetters(db: Database): Promise<Group[]> {
  const groups = await readGroups(db);
  return groups.map((group) => ({ ...group, lastError: unquoted(group.lastError) }));
}

/** The same with statistics, for people who wait for a page: estimated where there are many. Throws `PostgresFailure`. */
export async function overviewDeadLetters(db: Database): Promise<Overview> {
  const { groups, stats } = await readOverview(db);
  return { groups: groups.map((group) => ({ ...group, lastError: unquoted(group.lastError) })), stats };
}
