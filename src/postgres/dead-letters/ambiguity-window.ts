import type { SQL } from 'drizzle-orm';
import { sql } from '../connection/drizzle.ts';

/**
 * How long a part of an ambiguous letter waits after the last try: longer than a drain sends one again without asking
 * ClickHouse first (five minutes).
 */
export const AMBIGUITY_MINUTES = 6;

/** When such a part is due. */
export const afterAmbiguity = (lastAttemptAt: Date): SQL =>
  sql`greatest(now(), ${lastAttemptAt.toISOString()}::timestamptz + ${AMBIGUITY_MINUTES} * interval '1 minute')`;
