import { and, eq, isNull } from './drizzle.ts';
import { answerOf } from './errors.ts';
import { NO_LETTER } from './letter-desk.ts';
import type { Database } from './pool.ts';
import { failedEventsAudit, projects } from './schema.ts';

const MAX_INT4 = 2_147_483_647;

/** The retention of a project as an operator changes it: with an entry in the audit. Throws `PostgresFailure`. */
export function createRetention(db: Database, { actor }: { actor: string }) {
  return { change, noteRestamp };

  /** For events that are still to come. False when it was so already, or the project is gone. */
  function change(projectId: string, retentionSeconds: number | null): Promise<boolean> {
    return answerOf(
      db.transaction(async (tx) => {
        const isAlive = and(eq(projects.id, projectId), isNull(projects.deletedAt));
        const [before] = await tx
          .select({ retentionSeconds: projects.retentionSeconds })
          .from(projects)
          .where(isAlive)
          .for('update');
        if (!before || before.retentionSeconds === retentionSeconds) return false;
        await tx.update(projects).set({ retentionSeconds }).where(isAlive);
        const detail = { projects: [projectId], from: before.retentionSeconds, to: retentionSeconds };
        await tx
          .insert(failedEventsAudit)
          .values({ failedEventId: NO_LETTER, action: 'retention', actor, eventCount: 0, detail });
        return true;
      }),
    );
  }

  /** Notes that stored events are about to get another expiry, under which so many of them are over. */
  async function noteRestamp(
    projectId: string,
    { differing, expiring, to }: { differing: number; expiring: number; to: number | null },
  ): Promise<void> {
    await answerOf(
      db.insert(failedEventsAudit).values({
        failedEventId: NO_LETTER,
        action: 'restamp',
        actor,
        eventCount: Math.min(differing, MAX_INT4),
        detail: { projects: [projectId], events: differing, expiring, to },
      }),
    );
  }
}
