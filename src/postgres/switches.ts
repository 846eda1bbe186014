import { sql } from './drizzle.ts';
import * as v from 'valibot';
import { answerOf } from './errors.ts';
import type { Database } from './pool.ts';
import { settings } from './schema.ts';

/** What operators switch for all processes at once. */
const Positions = v.object({
  intake: v.fallback(v.picklist(['open', 'disabled']), 'open'),
  drain: v.fallback(v.picklist(['running', 'paused']), 'running'),
});
export type Positions = v.InferOutput<typeof Positions>;

/** The switches, kept in Postgres so that they outlive restarts. Throws `PostgresFailure`. */
export type Switches = {
  /** Where they stand; what was never switched stands at `open` and `running`. */
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
