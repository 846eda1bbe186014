import { and, eq, inArray, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { settings } from '../connection/schema.ts';

/** Which processes run, by the names they gave themselves. Throws `PostgresFailure`. */
export type Presence = {
  /** Registers the process as running. Repeat it regularly. */
  register(name: string): Promise<void>;
  /** The process has ended, and sends nothing more. */
  leave(name: string): Promise<void>;
  /** Removes the entries of killed processes. */
  forgetOld(): Promise<void>;
  /** Whether any of them was registered recently, by the clock of Postgres. */
  areRunning(names: readonly string[]): Promise<boolean>;
};

/** How often a process registers. */
export const PRESENCE_MS = 3_000;
/** A process that was silent for this long has ended, or cannot be distinguished from one that has. */
const GONE_AFTER_S = 15;
const keyOf = (name: string) => `process ${name}`;

export function createPresence(db: Database): Presence {
  return {
    async register(name) {
      const now = { value: {}, updatedAt: sql`now()` };
      await answerOf(
        db
          .insert(settings)
          .values({ key: keyOf(name), ...now })
          .onConflictDoUpdate({ target: settings.key, set: now }),
      );
    },
    async leave(name) {
      await answerOf(db.delete(settings).where(eq(settings.key, keyOf(name))));
    },
    async forgetOld() {
      const isOld = sql`${settings.updatedAt} < now() - interval '1 hour'`;
      await answerOf(db.delete(settings).where(and(sql`${settings.key} like ${keyOf('%')}`, isOld)));
    },
    async areRunning(names) {
      const recent = sql`${settings.updatedAt} > now() - ${GONE_AFTER_S} * interval '1 second'`;
      const [found] = await answerOf(
        db
          .select({ key: settings.key })
          .from(settings)
          .where(and(inArray(settings.key, names.map(keyOf)), recent))
          .limit(1),
      );
      return found !== undefined;
    },
  };
}
