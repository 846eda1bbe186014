import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import type { ClickHouseClient } from '@clickhouse/client';
import { KEY_HEADER } from './key.ts';
import { type OnForeignAnswer, onlyClickHouse } from './verified-answers.ts';

/**
 * The ClickHouse client of one process. Connects on first use, never retries, accepts only verified answers of
 * ClickHouse, and writes no log, because the server's texts quote event data.
 */
export function createClickHouse({
  url,
  database,
  username,
  password,
  key = null,
  maxConnections = 4,
  requestTimeoutMs = 60_000,
  onForeignAnswer = () => {},
}: {
  url: string;
  database: string;
  username?: string;
  password?: string;
  /** The key that an embedded ClickHouse expects; null for any other server. */
  key?: string | null;
  maxConnections?: number;
  /** Ends a request that has been idle for this long; it is no deadline for the whole request. */
  requestTimeoutMs?: number;
  /** Called with every answer that did not come from ClickHouse. */
  onForeignAnswer?: OnForeignAnswer;
}): ClickHouseClient {
  const { origin, pathname } = new URL(url);
  const client = createClient({
    // The driver would take a path in the URL for the database.
    url: origin,
    ...(pathname === '/' ? {} : { pathname }),
    database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(key === null ? {} : { http_headers: { [KEY_HEADER]: key } }),
    application: 'weir',
    max_open_connections: maxConnections,
    request_timeout: requestTimeoutMs,
    // Servers keep an idle connection for 10 s by default (3 s before 23.11). Using one that they just closed is an
    // ambiguous failure, so the client closes first.
    keep_alive: { enabled: true, idle_socket_ttl: 2500 },
    // Off: batches travel inside one data centre, and gzip costs more CPU than the insert itself.
    compression: { request: false, response: false },
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: {
      // 64-bit integers as text: a number in JavaScript is exact only to 2^53.
      output_format_json_quote_64bit_integers: 1,
    },
  });
  return onlyClickHouse(client, onForeignAnswer);
}
