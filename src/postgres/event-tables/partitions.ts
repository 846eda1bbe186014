/** Partitions of `analytics.events_raw`, by month of arrival. */
import type { Pool } from 'pg';
import { asTransaction } from '../connection/connection.ts';
import { plainAnswerOf } from '../connection/errors.ts';

/** Makes those of these months (`2026-11`) that are missing. Throws `PostgresFailure`. */
export async function addPartitions(pool: Pool, months: readonly string[]): Promise<void> {
  for (const month of months) {
    await plainAnswerOf(pool.query(asTransaction(`SELECT analytics.add_partition('${month}-01T00:00:00Z')`)));
  }
}
