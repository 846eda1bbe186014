import { desc, eq, inArray } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import { NO_DEAD_LETTER } from '../connection/schema.ts';
import type { Database } from '../connection/pool.ts';
import { failedEventsAudit, settings } from '../connection/schema.ts';
import { createSwitches, type Positions } from './switches.ts';

/** The position of a switch; `since` and `by` are null when it was never moved. */
export type SwitchPosition<Name extends keyof Positions> = {
  readonly position: Positions[Name];
  readonly since: Date | null;
  readonly by: string | null;
};

/** The switches as operators see and move them, with the time and the person. Throws `PostgresFailure`. */
export function createSwitchboard(db: Database) {
  return { read, move };

  async function read<Name extends keyof Positions>(name: Name): Promise<SwitchPosition<Name>> {
    const positions = await createSwitches(db).read();
    const [setting] = await answerOf(
      db.select({ since: settings.updatedAt }).from(settings).where(eq(settings.key, name)),
    );
    const [last] = await answerOf(
      db
        .select({ by: failedEventsAudit.actor })
        .from(failedEventsAudit)
        .where(inArray(failedEventsAudit.action, ACTIONS[name]))
        .orderBy(desc(failedEventsAudit.id))
        .limit(1),
    );
    return { position: positions[name], since: setting?.since ?? null, by: last?.by ?? null };
  }

  /** False when it was already there. */
  function move<Name extends keyof Positions>(name: Name, position: Positions[Name], actor: string): Promise<boolean> {
    return answerOf(
      db.transaction(async (tx) => {
        const switches = createSwitches(tx);
        if ((await switches.read())[name] === position) return false;
        await switches.set(name, position);
        await tx
          .insert(failedEventsAudit)
          .values({ failedEventId: NO_DEAD_LETTER, action: `${name} ${position}`, actor, eventCount: 0 });
        return true;
      }),
    );
  }
}

const ACTIONS = { intake: ['intake open', 'intake disabled'], drain: ['drain running', 'drain paused'] };
