import { drizzle, sql } from './drizzle.ts';
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import { type ClientBase, Pool } from 'pg';
import type { Log } from '../../log/log.ts';
import { BoundedClient, connectionConfig, transactionLimits } from './connection.ts';

export type Database = NodePgDatabase;
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0];

/**
 * The pool of one process and drizzle on top. Connects on first use. A query fails within five seconds when Postgres
 * does not answer, even when it is stopped or unplugged rather than down; the server is told to end it too.
 * `statementMs` allows more, for counting millions of rows.
 */
export function createPostgres(
  { url, maxConnections, statementMs }: { url: string; maxConnections: number; statementMs?: number },
  log: Log,
): { pool: Pool; db: Database } {
  const pool = new Pool({
    ...connectionConfig({ url, ...(statementMs && { statementMs }) }),
    // The driver's types declare no arguments for it.
    Client: BoundedClient as unknown as new () => ClientBase,
    max: maxConnections,
    idleTimeoutMillis: 30_000,
  });
  // Without a listener, an idle connection that breaks would end the process.
  pool.on('error', (err) => {
    // The end of a pool does not wait until the server has heard of it: stopped soon after, the server cuts what is open.
    if (!pool.ending) log.warn({ err }, 'idle postgres connection lost');
  });
  // The same for one that breaks in use, between two statements; the next statement on it then fails.
  pool.on('connect', (client) => client.on('error', (err) => log.debug({ err }, 'postgres connection lost')));
  return { pool, db: Object.assign(drizzle(pool), { transaction: transactionOn(pool, statementMs) }) };
}

/**
 * Like drizzle's own, with time limits on the server, so that this process releases what it holds even if it freezes,
 * and with the isolation that `BEGIN` of `connection.ts` explains, unless the caller states another.
 * In addition, drizzle's own never releases a connection whose `BEGIN` failed: after a few of those the pool is empty
 * for good. A connection on which anything failed is closed, so that the server undoes what is left of the transaction.
 */
function transactionOn(pool: Pool, statementMs?: number): Database['transaction'] {
  return async (work, config) => {
    const connection = await pool.connect();
    let hasFailed = true;
    try {
      const result = await drizzle(connection).transaction(
        async (tx) => {
          await tx.execute(sql.raw(transactionLimits({ ...(statementMs && { statementMs }) })));
          return work(tx);
        },
        { isolationLevel: 'read committed', ...config },
      );
      hasFailed = false;
      return result;
    } finally {
      connection.release(hasFailed);
    }
  };
}
