import { and, eq, isNull } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import { NO_DEAD_LETTER } from '../connection/schema.ts';
import type { Database } from '../connection/pool.ts';
import { projectAuditEntry } from '../connection/project-audit.ts';
import { failedEventsAudit, projects } from '../connection/schema.ts';

/** Changes the retention of a project with an entry in the audit. Throws `PostgresFailure`. */
export function createRetention(db: Database, { actor }: { actor: string }) {
  return { change, recordRewrite };

  /** For future events. False when nothing had to change, or the project is gone. */
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
          .values({ failedEventId: NO_DEAD_LETTER, action: 'retention', actor, eventCount: 0, detail });
        return true;
      }),
    );
  }

  /** Records that stored events are about to get another expiry, which this many of them have already passed. */
  async function recordRewrite(
    projectId: string,
    { differing, expiring, to }: { differing: number; expiring: number; to: number | null },
  ): Promise<void> {
    await answerOf(
      db
        .insert(failedEventsAudit)
        .values(
          projectAuditEntry({ action: 'restamp', actor, projectId, events: differing, detail: { expiring, to } }),
        ),
    );
  }
}
