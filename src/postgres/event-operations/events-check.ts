import type { Pool } from 'pg';
import { plainAnswerOf } from '../connection/errors.ts';
import { missingReader } from '../reading/reader-role.ts';

export type EventsCheck = {
  /** The statement that lets this user make partitions, which only the owner of the table may; null when it may. */
  readonly missingOwnership: string | null;
  /** What an administrator has to run so that projects can be queried; null when nothing. */
  readonly missingReader: string | null;
};

/** Facts about the tables of events for the command line. Throws `PostgresFailure`. */
export async function checkEvents(pool: Pool): Promise<EventsCheck> {
  const { rows } = await plainAnswerOf(
    pool.query<{ missing: string | null }>(
      `SELECT CASE WHEN NOT pg_has_role(relowner, 'USAGE')
         THEN format('GRANT %I TO %I', pg_get_userbyid(relowner), current_user) END AS missing
       FROM pg_class WHERE oid = 'analytics.events_raw'::regclass`,
    ),
  );
  const missingOwnership = rows[0]?.missing ?? null;
  return {
    missingOwnership,
    missingReader: missingOwnership === null ? await plainAnswerOf(missingReader(pool)) : null,
  };
}
