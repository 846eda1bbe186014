/** Looks for kept rejected events by what was sent: no more of them is kept than can be read through. */
import { and, desc, eq, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { rejectedEvents } from '../connection/schema.ts';

/** An event without its bytes. */
export type FoundRejection = {
  readonly id: string;
  readonly projectId: string;
  readonly door: string;
  readonly kind: string;
  readonly reason: string;
  readonly receivedAt: Date;
};

const MAX_FOUND = 20;

/**
 * The newest ones. `texts`: one of them stands in the event; null: whatever stands in it. `receivedAt`: of its request,
 * in epoch ms. Throws `PostgresFailure`.
 */
export function searchRejected(
  db: Database,
  {
    projectId,
    texts,
    receivedAt,
  }: {
    readonly projectId: string | null;
    readonly texts: readonly string[] | null;
    readonly receivedAt: number | null;
  },
): Promise<FoundRejection[]> {
  const holds = (texts ?? []).map((text) => sql`position(${Buffer.from(text)}::bytea in ${rejectedEvents.bytes}) > 0`);
  const found = db
    .select({
      id: rejectedEvents.id,
      projectId: rejectedEvents.projectId,
      door: rejectedEvents.door,
      kind: rejectedEvents.kind,
      reason: rejectedEvents.reason,
      receivedAt: rejectedEvents.receivedAt,
    })
    .from(rejectedEvents)
    .where(
      and(
        projectId === null ? undefined : eq(rejectedEvents.projectId, projectId),
        receivedAt === null ? undefined : eq(rejectedEvents.receivedAt, new Date(receivedAt)),
        holds.length === 0 ? undefined : sql`(${sql.join(holds, sql` or `)})`,
      ),
    )
    .orderBy(desc(rejectedEvents.id))
    .limit(MAX_FOUND);
  return answerOf(found);
}
