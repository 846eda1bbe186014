import { sql } from './drizzle.ts';
import { answerOf } from './errors.ts';
import type { Database } from './pool.ts';

/** Now, by Postgres's clock, as exact as its columns. Throws `PostgresFailure`. */
export async function readNow(db: Database): Promise<string> {
  const { rows } = await answerOf(db.execute<{ now: string }>(sql`select now()::timestamptz(3)::text as now`));
  return rows[0]!.now;
}
