import { drizzle } from './drizzle.ts';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { Pool } from 'pg';
import type { Log } from '../log.ts';

export type Database = NodePgDatabase;

/**
 * The pool of one process and drizzle on top. Connects when first asked. A
 * query fails within five seconds when Postgres does not answer, also when it
 * is stopped or unplugged rather than down.
 */
export function createPostgres(
  { url, maxConnections }: { url: string; maxConnections: number },
  log: Log,
): { pool: Pool; db: Database } {
  const pool = new Pool({
    connectionString: url,
    max: maxConnections,
    application_name: 'weir',
    keepAlive: true,
    connectionTimeoutMillis: 3000,
    idleTimeoutMillis: 30_000,
    // Postgres gives up first, so that a slow answer ends in its error and not in a dead connection.
    statement_timeout: 4000,
    // Ours, for a server that no longer runs its own timers.
    query_timeout: 4500,
    idle_in_transaction_session_timeout: 5000,
  });
  // Without a listener, an idle connection that breaks would end the process.
  pool.on('error', (err) => log.warn({ err }, 'idle postgres connection lost'));
  // The same for one that breaks in use, between two statements; the next statement on it then fails.
  pool.on('connect', (client) => client.on('error', (err) => log.debug({ err }, 'postgres connection lost')));
  return { pool, db: Object.assign(drizzle(pool), { transaction: transactionOn(pool) }) };
}

/**
 * As drizzle's own, which never gives back a connection whose `BEGIN` failed:
 * a few of those, and the pool is empty for good. A connection on which anything
 * failed is closed, so that the server undoes what is left of the transaction.
 */
function transactionOn(pool: Pool): Database['transaction'] {
  return async (work, config) => {
    const connection = await pool.connect();
    let hasFailed = true;
    try {
      const result = await drizzle(connection).transaction(work, config);
      hasFailed = false;
      return result;
    } finally {
      connection.release(hasFailed);
    }
  };
}
