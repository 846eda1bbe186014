/** The queries that Postgres works on, and how they are stopped. */
import type { Client } from 'pg';
import type { Clock } from '../../runtime/clock.ts';
import { cancelStatement } from '../connection/cancel.ts';

export type RunningQuery = {
  /** Its statement has ended. Resolves to whether its connection may run others: a request to cancel might hit them. */
  statementEnded(): Promise<boolean>;
  /** Its transaction has, too. */
  ended(): void;
};

export type RunningQueries = {
  /** From now on Postgres may work on it. */
  began(queryId: string, client: Client): RunningQuery;
  /** Resolves when Postgres no longer works on it. */
  stop(queryId: string): Promise<void>;
};

/** A request to cancel may come before the statement does; it is repeated. */
const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 2_000;
/** A server that has stopped running its own timers is no longer asked. Its connection is closed. */
const GIVE_UP_MS = 15_000;

type Running = {
  readonly client: Client;
  readonly over: AbortController;
  hasStatement: boolean;
  /** The requests to cancel it, the first to the last. */
  cancelling: Promise<void> | null;
};

export function createRunningQueries({ clock, stopping }: { clock: Clock; stopping: AbortSignal }): RunningQueries {
  const running = new Map<string, Running>();
  return { began, stop };

  function began(queryId: string, client: Client): RunningQuery {
    const query: Running = { client, over: new AbortController(), hasStatement: true, cancelling: null };
    running.set(queryId, query);
    return {
      async statementEnded() {
        query.hasStatement = false;
        await query.cancelling;
        return query.cancelling === null;
      },
      ended() {
        running.delete(queryId);
        query.over.abort();
      },
    };
  }

  async function stop(queryId: string): Promise<void> {
    const startedAt = clock.elapsed();
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)) {
      const query = running.get(queryId);
      if (query === undefined) return;
      if (stopping.aborted || clock.elapsed() - startedAt > GIVE_UP_MS) return cut(query.client);
      if (query.hasStatement) await (query.cancelling = cancelStatement(query.client, clock));
      await clock.sleep(waitMs, AbortSignal.any([query.over.signal, stopping]));
    }
  }
}

/** The statement then fails here; the server notices when it next sends something, or by its time limit. */
export function cut(client: Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
