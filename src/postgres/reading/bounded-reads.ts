/**
 * Questions that Weir asks of Postgres for clients. However many come, and whatever they cost, inserts must not feel
 * them: few at once, each with a bound on its time and memory, and none goes on for a client that has left.
 */
import type { Client, Pool, PoolClient } from 'pg';
import { ReadFailure } from '../../pipeline/read-ports.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createTurns } from '../../runtime/turns.ts';
import { cancelStatement } from '../connection/cancel.ts';
import { postgresFailureOf } from '../connection/errors.ts';

type Deps = {
  readonly pool: Pool;
  /** Aborts when Postgres stops answering: a server that is known to be away is not waited for. */
  readonly downSignal: () => AbortSignal;
  readonly clock: Clock;
};

export type ReadLimits = {
  readonly maxAtOnce: number;
  /** Questions that may wait for their turn. */
  readonly maxWaiting: number;
  /** For a question from its arrival to its answer, the wait for its turn included. */
  readonly timeoutMs: number;
  /** For one sort or hash table. */
  readonly workMemMb: number;
};

/** Rows of one statement. Throws the driver's error. */
export type Ask = <Row extends object>(query: string, params: readonly unknown[]) => Promise<readonly Row[]>;

export type Reads = {
  /** What `work` asks is answered from one moment. Throws `ReadFailure`. */
  within<T>(signal: AbortSignal, work: (ask: Ask) => Promise<T>): Promise<T>;
};

/** Postgres gives up a little before we do, so that its reason arrives. */
const SHARE_OF_TIMEOUT = 0.9;

/** SQLSTATEs that say what the question cost, not how Postgres is. */
const TOO_MUCH = /^(57014|53200|53400|54)/;

export function createReads({ pool, downSignal, clock }: Deps, limits: ReadLimits): Reads {
  const turns = createTurns(limits);
  const opening = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = ${Math.floor(limits.timeoutMs * SHARE_OF_TIMEOUT)};
    SET LOCAL idle_in_transaction_session_timeout = ${limits.timeoutMs};
    SET LOCAL work_mem = '${limits.workMemMb}MB'; SET LOCAL jit = off; SET LOCAL TimeZone = 'UTC';
    SET LOCAL max_parallel_workers_per_gather = 2`;

  return {
    async within(signal, work) {
      const answered = new AbortController();
      const late = new AbortController();
      void clock.sleep(limits.timeoutMs, answered.signal).then(() => late.abort());
      const stop = AbortSignal.any([signal, downSignal(), late.signal]);
      try {
        if (stop.aborted) throw new ReadFailure('not asked', { kind: 'unavailable' });
        const turn = await turns.take(stop);
        if (turn !== 'taken') throw new ReadFailure(`no turn (${turn})`, { kind: 'busy' });
        try {
          return await inTransaction(work, stop);
        } finally {
          turns.pass();
        }
      } finally {
        answered.abort();
      }
    },
  };

  async function inTransaction<T>(work: (ask: Ask) => Promise<T>, stop: AbortSignal): Promise<T> {
    let client: PoolClient | null = null;
    const finished = new AbortController();
    try {
      client = await pool.connect();
      const connection = client as unknown as Client & { connection: { stream: { destroy(): void } } };
      const leave = () => {
        // The server hears of it by itself, too, but only when it next sends something.
        void cancelStatement(connection, clock);
        connection.connection.stream.destroy();
      };
      stop.addEventListener('abort', leave, { signal: finished.signal });
      if (stop.aborted) leave();
      await client.query(opening);
      const asking = client;
      const result = await work(async <Row extends object>(query: string, params: readonly unknown[]) => {
        const { rows } = await asking.query<Row>(query, [...params]);
        return rows;
      });
      await client.query('ROLLBACK');
      client.release();
      return result;
    } catch (error) {
      client?.release(true);
      throw failureFrom(error);
    } finally {
      finished.abort();
    }
  }
}

function failureFrom(thrown: unknown): ReadFailure {
  const failure = postgresFailureOf(thrown);
  const { code } = failure;
  if (code !== null && TOO_MUCH.test(code))
    return new ReadFailure(`a query exceeded its limits (${code})`, { kind: 'too-much', code, cause: thrown });
  return new ReadFailure(failure.message, { kind: 'unavailable', code, cause: thrown });
}
