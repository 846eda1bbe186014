/**
 * Questions that clients ask of ClickHouse. However many come, and whatever
 * they cost, inserts must not feel them: few at once, each with a bound on its
 * time, memory and threads, and none goes on for a client that has left.
 */
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { ClickHouseError } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { createTurns } from '../../runtime/turns.ts';
import { ReadFailure } from '../../pipeline/read-ports.ts';

export type ReadsDeps = {
  readonly client: ClickHouseClient;
  /** Aborts when ClickHouse stops answering: a server that is known to be away is not waited for. */
  readonly downSignal: () => AbortSignal;
  readonly clock: Clock;
};

export type ReadLimits = {
  readonly maxAtOnce: number;
  /** Questions that may wait for their turn. */
  readonly maxWaiting: number;
  /** For a question from its arrival to its answer, the wait for its turn included. */
  readonly timeoutMs: number;
  readonly maxMemoryBytes: number;
  /** Of the server's, for one question. */
  readonly maxThreads: number;
};

/** Rows, and the row of `WITH TOTALS` where the query has it. */
export type Table<Row> = { readonly rows: readonly Row[]; readonly totals: Row | undefined };

export type Reads = {
  /** Asks with parameters (never with a client's text in the query). 64-bit integers come as numbers. Throws `ReadFailure`. */
  ask<Row>(query: string, params: Record<string, unknown>, signal: AbortSignal): Promise<Table<Row>>;
};

/** ClickHouse gives up a little before we do, so that its reason arrives. */
const SHARE_OF_TIMEOUT = 0.9;

/** Error numbers that say what the question cost, not how ClickHouse is. */
const TOO_MUCH = new Set([
  '158', // TOO_MANY_ROWS
  '159', // TIMEOUT_EXCEEDED
  '160', // TOO_SLOW
  '241', // MEMORY_LIMIT_EXCEEDED
  '307', // TOO_MANY_BYTES
]);

export function createReads({ client, downSignal, clock }: ReadsDeps, limits: ReadLimits): Reads {
  const settings: ClickHouseSettings = {
    readonly: '2',
    cancel_http_readonly_queries_on_client_close: 1,
    // The status line waits for the outcome; without it a failed query may begin with 200.
    wait_end_of_query: 1,
    max_execution_time: Math.max(1, Math.floor((limits.timeoutMs * SHARE_OF_TIMEOUT) / 1_000)),
    max_memory_usage: String(limits.maxMemoryBytes),
    max_threads: limits.maxThreads,
    output_format_json_quote_64bit_integers: 0,
  };
  const turns = createTurns(limits);

  return {
    async ask<Row>(query: string, params: Record<string, unknown>, signal: AbortSignal) {
      const answered = new AbortController();
      const late = new AbortController();
      void clock.sleep(limits.timeoutMs, answered.signal).then(() => late.abort());
      const stop = AbortSignal.any([signal, downSignal(), late.signal]);
      try {
        await takeTurn(stop);
        try {
          return await exchange<Row>(query, params, stop);
        } finally {
          turns.pass();
        }
      } finally {
        answered.abort();
      }
    },
  };

  async function exchange<Row>(
    query: string,
    query_params: Record<string, unknown>,
    stop: AbortSignal,
  ): Promise<Table<Row>> {
    try {
      const answer = await client.query({
        query,
        query_params,
        format: 'JSON',
        abort_signal: stop,
        clickhouse_settings: settings,
      });
      const { data, totals } = (await answer.json()) as { data: Row[]; totals?: Row };
      return { rows: data, totals };
    } catch (error) {
      throw failureFrom(error);
    }
  }

  async function takeTurn(stop: AbortSignal): Promise<void> {
    if (stop.aborted) throw new ReadFailure('not asked', { kind: 'unavailable' });
    const turn = await turns.take(stop);
    if (turn === 'full') throw new ReadFailure('too many queries are waiting', { kind: 'busy' });
    if (turn === 'left') throw new ReadFailure('gave up waiting', { kind: 'busy' });
  }
}

function failureFrom(cause: unknown): ReadFailure {
  if (cause instanceof ClickHouseError) {
    const { code } = cause;
    if (TOO_MUCH.has(code))
      return new ReadFailure(`a query exceeded its limits (${code})`, { kind: 'too-much', code, cause });
    return new ReadFailure(`ClickHouse error ${code}`, { kind: 'unavailable', code, cause });
  }
  const given = cause instanceof Error ? (cause as { code?: unknown }).code : undefined;
  const code = typeof given === 'string' ? given : null;
  return new ReadFailure(`no answer from ClickHouse (${code ?? 'cut short'})`, { kind: 'unavailable', code, cause });
}
