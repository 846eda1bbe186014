/** An operator's selection of letters, and the state of a letter, as conditions on `failed_events`. */
import type { SQL } from 'drizzle-orm';
import { and, eq, inArray, sql } from '../connection/drizzle.ts';
import { failedEvents } from '../connection/schema.ts';

/**
 * Which letters an operator selects. `asOf`: an instant of Postgres's clock; those that came later, or were quarantined
 * later where these are selected, do not match.
 */
export type Selection = Chosen & { readonly asOf?: string };

type Chosen =
  | { readonly by: 'ids'; readonly ids: readonly string[] }
  | { readonly by: 'group'; readonly group: string }
  /** Every letter that holds a row of the project, and perhaps rows of others. */
  | { readonly by: 'project'; readonly projectId: string }
  | { readonly by: 'quarantined' }
  | { readonly by: 'all' };

/** `replaying`: a drain holds its lease, and no other process may touch it. */
export type DeadLetterState = 'waiting' | 'replaying' | 'quarantined';

/** A lease that has not run out. One that has may be taken over, and its letter is ambiguous then. */
export const isLeased: SQL<boolean> = sql<boolean>`(${failedEvents.quarantinedAt} is null and ${failedEvents.leaseToken} is not null and ${failedEvents.visibleAt} > now())`;

export const state: SQL<DeadLetterState> = sql<DeadLetterState>`case when ${failedEvents.quarantinedAt} is not null then 'quarantined' when ${isLeased} then 'replaying' else 'waiting' end`;

export function matches(selection: Selection): SQL | undefined {
  const { asOf } = selection;
  if (asOf === undefined) return chosen(selection);
  const came = selection.by === 'quarantined' ? failedEvents.quarantinedAt : failedEvents.createdAt;
  return and(chosen(selection), sql`${came} <= ${asOf}::timestamptz`);
}

function chosen(selection: Chosen): SQL | undefined {
  switch (selection.by) {
    case 'ids':
      return inArray(failedEvents.id, [...selection.ids]);
    case 'group':
      return eq(failedEvents.errorFingerprint, selection.group);
    case 'project':
      // In the form that the index of projects answers.
      return sql`${failedEvents.projectIds} @> array[${selection.projectId}::uuid]`;
    case 'quarantined':
      return sql`${failedEvents.quarantinedAt} is not null`;
    case 'all':
      return undefined;
  }
}
