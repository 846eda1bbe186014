/**
 * How the event store speaks with ClickHouse: under settings that make rows mean
 * the same to every request, within a deadline, with every failure as an
 * `InsertFailure`.
 */
import { Readable } from 'node:stream';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../../runtime/clock.ts';
import { keepMemory } from '../../runtime/freed-memory.ts';
import { InsertFailure } from '../../pipeline/ports.ts';
import { failureFromAnswer, failureFromForeignAnswer, failureFromTransport } from '../connection/errors.ts';
import { NotClickHouse, readAnswer, readSelected } from '../connection/verified-answers.ts';
import { type ExternalTable, externalData } from './external-rows.ts';
import { inLargeChunks } from './request-chunks.ts';

/** A reason of our own: without one, every abort creates an error with a stack. */
const ANSWERED = 'answered';
/** A line a row; far more rows than a batch may have. */
const MAX_SELECTED_BYTES = 16 * 1024 * 1024;

export function createRequests(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { timeoutMs }: { timeoutMs: number },
) {
  const readSettings = {
    date_time_input_format: 'best_effort',
    input_format_json_read_objects_as_strings: 1,
    input_format_defaults_for_omitted_fields: 1,
    // Rows are then counted from the start of the batch, and land in its order.
    input_format_parallel_parsing: 0,
    async_insert: 0,
    // The status line waits for the outcome; without it a failed insert may begin with 200.
    wait_end_of_query: 1,
    max_execution_time: Math.max(1, Math.floor((timeoutMs * 0.9) / 1_000)),
  } as const;

  return { ask, send, select };

  /** Rows of a query. Throws `InsertFailure`; nothing has changed then. */
  async function ask<Row>(
    query: string,
    query_params: Record<string, unknown>,
    signal?: AbortSignal,
    settings: ClickHouseSettings = {},
  ): Promise<Row[]> {
    try {
      // The client ignores a signal that was aborted before the call.
      signal?.throwIfAborted();
      const answer = await client.query({
        query,
        query_params,
        // Ends with a brace: rows that were cut off must not read as rows that are not there.
        format: 'JSON',
        use_multipart_params: true,
        ...(signal && { abort_signal: signal }),
        clickhouse_settings: { max_execution_time: readSettings.max_execution_time, ...settings },
      });
      const { data } = await answer.json<Row>();
      return data;
    } catch (error) {
      const why = error instanceof NotClickHouse ? `: ${error.message}` : '';
      const isSize = error instanceof NotClickHouse && failureFromForeignAnswer(error).failureClass === 'too_large';
      const failureClass = isSize ? 'too_large' : 'unavailable';
      throw new InsertFailure(`ClickHouse could not be asked${why}`, { failureClass, cause: error });
    }
  }

  /** Stores or reads rows, and says under which id. The verdict is in the answer's headers. */
  async function send(
    query: string,
    chunks: readonly Buffer[],
    signal: AbortSignal | undefined,
    settings: ClickHouseSettings,
    withinMs: number,
  ): Promise<string> {
    return withinDeadline(signal, withinMs, async (stop) => {
      const outcome = await exchange(query, chunks, stop, { ...readSettings, ...settings });
      if (!(outcome instanceof InsertFailure)) return outcome;
      // Whoever answers for ClickHouse may do so before all rows have arrived.
      keepMemory(chunks);
      throw outcome;
    });
  }

  /** The tab-separated lines of a query over tables that are sent along. */
  async function select(query: string, tables: readonly ExternalTable[], signal: AbortSignal | undefined) {
    const { body, headers, settings } = externalData(tables);
    return withinDeadline(signal, timeoutMs, async (stop) => {
      const answer = await execute(
        {
          query,
          values: body(),
          http_headers: headers,
          clickhouse_settings: { ...readSettings, ...settings },
        },
        stop,
      );
      if (answer instanceof InsertFailure) throw answer;
      const text = await readSelected(answer, MAX_SELECTED_BYTES, stop);
      if (typeof text !== 'string')
        throw failureFromAnswer(text) ?? new InsertFailure('no verdict', { failureClass: 'ambiguous' });
      return text.split('\n').filter((line) => line !== '');
    });
  }

  /** Runs `work` with our own deadline as its signal. */
  async function withinDeadline<T>(
    signal: AbortSignal | undefined,
    withinMs: number,
    work: (stop: AbortSignal) => Promise<T>,
  ) {
    const answered = new AbortController();
    const late = new AbortController();
    void clock.sleep(withinMs, answered.signal).then(() => late.abort());
    const stop = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    // The client ignores a signal that was aborted before the call.
    if (stop.aborted) throw new InsertFailure('not sent', { failureClass: 'unavailable' });
    try {
      return await work(stop);
    } finally {
      answered.abort(ANSWERED);
    }
  }

  async function exchange(query: string, chunks: readonly Buffer[], stop: AbortSignal, settings: ClickHouseSettings) {
    const values = Readable.from(inLargeChunks(chunks), { objectMode: false });
    const answer = await execute({ query, values, clickhouse_settings: settings }, stop);
    if (answer instanceof InsertFailure) return answer;
    return failureFromAnswer(await readAnswer(answer, stop)) ?? answer.query_id;
  }

  async function execute(request: Parameters<ClickHouseClient['exec']>[0], stop: AbortSignal) {
    try {
      return await client.exec({ ...request, abort_signal: stop, ignore_error_response: true });
    } catch (error) {
      return error instanceof NotClickHouse ? failureFromForeignAnswer(error) : failureFromTransport(error);
    }
  }
}
