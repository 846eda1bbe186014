import type { ClickHouseClient } from '@clickhouse/client';
import { NotClickHouse, readAnswer } from './verified-answers.ts';

/**
 * Whether ClickHouse answers, with whatever outcome; false when something else does. Any web server would answer
 * `/ping`, so this sends a query, whose id ClickHouse repeats. Throws when nothing answers.
 */
export async function isAnswering(client: ClickHouseClient, signal: AbortSignal): Promise<boolean> {
  try {
    const answered = await client.exec({
      query: 'SELECT 1',
      abort_signal: signal,
      ignore_error_response: true,
      // Sent every second: these queries would crowd the query log.
      clickhouse_settings: { log_queries: 0 },
    });
    await readAnswer(answered, signal);
    return true;
  } catch (error) {
    if (error instanceof NotClickHouse) return false;
    throw error;
  }
}
