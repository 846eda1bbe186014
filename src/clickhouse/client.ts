import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import type { ClickHouseClient } from '@clickhouse/client';

/**
 * The client of one process. Connects when first asked; never retries; speaks
 * into no log, since the server's texts quote event data.
 */
export function createClickHouse({
  url,
  database,
  username,
  password,
  maxConnections = 4,
  requestTimeoutMs = 60_000,
}: {
  url: string;
  database: string;
  username?: string;
  password?: string;
  maxConnections?: number;
  /** Ends a request that was idle for so long; not a deadline for the whole. */
  requestTimeoutMs?: number;
}): ClickHouseClient {
  return createClient({
    url,
    database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    application: 'weir',
    max_open_connections: maxConnections,
    request_timeout: requestTimeoutMs,
    // Servers keep an idle connection for 10 s by default (3 s before 23.11). Using one they just closed is an
    // ambiguous failure, so ours goes first.
    keep_alive: { enabled: true, idle_socket_ttl: 2500 },
    // Off: batches travel inside one data centre, and gzip costs more CPU than the insert itself.
    compression: { request: false, response: false },
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: {
      // 64-bit integers as text: a number in JavaScript is exact only to 2^53.
      output_format_json_quote_64bit_integers: 1,
    },
  });
}
