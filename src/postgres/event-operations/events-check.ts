import type { Pool } from 'pg';
import { plainAnswerOf } from '../connection/errors.ts';

/**
 * The statement that lets this user look after the tables of events, which only their owner may; null when it may, or
 * there are none. Throws `PostgresFailure`.
 */
export async function missingOwnership(pool: Pool): Promise<string | null> {
  const { rows } = await plainAnswerOf(
    pool.query<{ missing: string }>(
      `SELECT format('GRANT %I TO %I', pg_get_userbyid(relowner), current_user) AS missing
       FROM pg_class WHERE oid = to_regclass('analytics.events_raw') AND NOT pg_has_role(relowner, 'USAGE')`,
    ),
  );
  return rows[0]?.missing ?? null;
}
