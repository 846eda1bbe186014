import { sql } from '../connection/drizzle.ts';
import * as v from 'valibot';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { settings } from '../connection/schema.ts';

/** The switches that operators set for all processes at once. */
const Positions = v.object({
  intake: v.fallback(v.picklist(['open', 'disabled']), 'open'),
  drain: v.fallback(v.picklist(['running', 'paused']), 'running'),
});
export type Positions = v.InferOutput<typeof Positions>;

/** The switches, kept in Postgres so that they outlive restarts. Throws `PostgresFailure`. */
export type Switches = {
  /** Their positions; a switch that was never moved is `open` or `running`. */
  read(): Promise<Positions>;
  set<Name extends keyof Positions>(name: Name, position: Positions[Name]): Promise<void>;
};

export function createSwitches(db: Database): Switches {
  return {
    async read() {
      const rows = await answerOf(db.select({ key: settings.key, value: settings.value }).from(settings));
      return v.parse(Positions, Object.fromEntries(rows.map(({ key, value }) => [key, value])));
    },
    async set(name, position) {
      await answerOf(
        db
          .insert(settings)
          .values({ key: name, value: position })
          .onConflictDoUpdate({ target: settings.key, set: { value: position, updatedAt: sql`now()` } }),
      );
    },
  };
}
