/**
 * Transactions on connections that work behind a pooler, with a deadline for the whole, and an end as soon as nobody
 * waits. Whatever fails, the connection is closed: the server undoes what is left.
 */
import type { Client, Pool, PoolClient, QueryResult } from 'pg';
import { InsertFailure } from '../../pipeline/ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { cancelStatement } from '../connection/cancel.ts';
import { BEGIN, transactionLimits } from '../connection/connection.ts';
import { insertFailureOf, type Stage } from './insert-failures.ts';

/** Runs one statement. Throws the driver's error. */
export type Run = <Row extends object>(text: string, values?: unknown[]) => Promise<QueryResult<Row>>;

export type Transactions = {
  /** `work`, and then COMMIT. Throws `InsertFailure`; what `work` throws of its own is passed on. */
  commit<T>(work: (run: Run) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** `work`, and nothing of it stays. */
  rollBack<T>(work: (run: Run) => Promise<T>, signal?: AbortSignal): Promise<T>;
};

type Deps = { readonly pool: Pool; readonly clock: Clock };

/** Statements end by their own limit before that. */
const NET_MS = 2_000;

/**
 * `settings` hold for the transaction, as `SET LOCAL` statements; sent with BEGIN, in one message. Errors after the
 * deadline, or after `signal`, are those of a connection that broke, but not to be tried again at once.
 */
export function createTransactions(
  { pool, clock }: Deps,
  { timeoutMs, settings }: { readonly timeoutMs: number; readonly settings: string },
): Transactions {
  const begin = `${BEGIN}; ${transactionLimits({ statementMs: timeoutMs })}; ${settings}`;

  return {
    commit: (work, signal) => perform(work, 'COMMIT', signal),
    rollBack: (work, signal) => perform(work, 'ROLLBACK', signal),
  };

  async function perform<T>(
    work: (run: Run) => Promise<T>,
    end: 'COMMIT' | 'ROLLBACK',
    signal: AbortSignal | undefined,
  ): Promise<T> {
    if (signal?.aborted) throw cancelled();
    let stage: Stage = 'connecting';
    let connection: PoolClient | null = null;
    const finished = new AbortController();
    try {
      connection = await pool.connect();
      stage = 'sending';
      breakOff(connection, finished.signal, signal);
      const run = queryOn(connection);
      await run(begin);
      const result = await work(run);
      if (end === 'COMMIT') stage = 'committing';
      const { command } = await run(end);
      // A transaction that had failed answers ROLLBACK.
      if (command !== end) throw new Error(`Postgres answered ${command}`);
      connection.release();
      return result;
    } catch (error) {
      connection?.release(true);
      throw insertFailureOf(error, stage);
    } finally {
      finished.abort();
    }
  }

  /** Ends the transaction, here and in the server, when `signal` aborts, or when it takes too long. */
  function breakOff(connection: PoolClient, finished: AbortSignal, signal: AbortSignal | undefined): void {
    const stop = () => {
      const client = connection as unknown as Client & { connection: { stream: { destroy(error: Error): void } } };
      void cancelStatement(client, clock);
      // With an error of its own: a connection that merely ended is worth another try at once.
      client.connection.stream.destroy(new Error('cut: nobody waits for the answer'));
    };
    signal?.addEventListener('abort', stop, { signal: finished });
    if (signal?.aborted) return stop();
    void clock.sleep(timeoutMs + NET_MS, finished).then(() => {
      if (!finished.aborted) stop();
    });
  }
}

const queryOn =
  (connection: PoolClient): Run =>
  (text, values) =>
    values === undefined ? connection.query(text) : connection.query(text, values);

const cancelled = () => new InsertFailure('cancelled before anything was sent', { failureClass: 'unavailable' });
