import type { ClickHouseClient } from '@clickhouse/client';

/**
 * Resolves when something answers at ClickHouse's address, whatever it says: a
 * proxy that does not know `/ping` must not look like an outage. Throws when
 * nothing does.
 */
export async function isAnswering(client: ClickHouseClient, signal: AbortSignal): Promise<void> {
  const result = await client.ping({ select: false, abort_signal: signal });
  if (result.success) return;
  const { code } = result.error as NodeJS.ErrnoException;
  // An HTTP answer, even an error, has no system error code; a ClickHouse error has a number.
  if (code === undefined || /^\d+$/.test(code)) if (!signal.aborted) return;
  throw result.error;
}
