import { Readable } from 'node:stream';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Clock } from '../clock.ts';
import { type EventStore, InsertFailure } from '../pipeline/ports.ts';
import { failureFromAnswer, failureFromTransport } from './errors.ts';

/** The columns a row carries; the others have defaults or are computed. Frozen: dead letters hold such rows. */
export const ROW_COLUMNS = [
  'project_id',
  'event_id',
  'event',
  'anonymous_id',
  'user_id',
  'timestamp',
  'session_id',
  'properties',
  'extras',
  'source',
  'received_at',
  'expires_at',
] as const;

/** How rows are read. The same for a dry run, so that it refuses what the insert would refuse. */
export const READ_SETTINGS = {
  date_time_input_format: 'best_effort',
  input_format_json_read_objects_as_strings: 1,
  input_format_defaults_for_omitted_fields: 1,
  // A refused row would be named differently, and rows could land in another order, on every retry.
  input_format_parallel_parsing: 0,
} as const;

/** Answers hold at most one error message. */
const MAX_ANSWER_BYTES = 64 * 1024;

export type InsertOptions = {
  readonly database: string;
  /** Our own deadline; ClickHouse is told to stop a little earlier. */
  readonly timeoutMs: number;
};

/** The event store on ClickHouse: one insert a batch, the batch's id as deduplication token. */
export function createEventStore(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { database, timeoutMs }: InsertOptions,
): Pick<EventStore, 'insert'> {
  const query = `INSERT INTO ${database}.events_raw_v1 (${ROW_COLUMNS.join(', ')}) FORMAT JSONEachRow`;
  const settings = {
    ...READ_SETTINGS,
    async_insert: 0,
    insert_deduplicate: 1,
    deduplicate_blocks_in_dependent_materialized_views: 1,
    // The status line waits for the outcome; without it a failed insert may begin with 200.
    wait_end_of_query: 1,
    max_execution_time: Math.max(1, Math.floor((timeoutMs * 0.9) / 1_000)),
  } as const;

  return { insert };

  async function insert({ id, chunks }: Parameters<EventStore['insert']>[0], signal?: AbortSignal): Promise<void> {
    const answered = new AbortController();
    const late = new AbortController();
    void clock.sleep(timeoutMs, answered.signal).then(() => late.abort());
    const stop = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    // The client ignores a signal that was aborted before the call.
    if (stop.aborted) throw new InsertFailure('not sent', { failureClass: 'unavailable' });
    try {
      const failure = await send({ id, chunks }, stop);
      if (failure) throw failure;
    } finally {
      answered.abort();
    }
  }

  async function send({ id, chunks }: { id: string; chunks: readonly Buffer[] }, stop: AbortSignal) {
    let answer;
    try {
      answer = await client.exec({
        query,
        values: Readable.from(chunks, { objectMode: false }),
        abort_signal: stop,
        ignore_error_response: true,
        clickhouse_settings: { ...settings, insert_deduplication_token: id },
      });
    } catch (error) {
      return failureFromTransport(error);
    }
    const text = await readText(answer.stream, stop);
    const codeHeader = answer.response_headers['x-clickhouse-exception-code'];
    const code = codeHeader === undefined ? null : Number(codeHeader);
    // A 200 can carry an error: what counts is the header.
    if (code === null && answer.http_status_code === 200) return null;
    return failureFromAnswer(answer.http_status_code ?? 0, code, text);
  }
}

/** The answer's text, read to the end so that the connection can be used again, kept up to a bound. */
export async function readText(stream: Readable, stop: AbortSignal): Promise<string> {
  const kept: Buffer[] = [];
  let size = 0;
  const cut = () => stream.destroy();
  stop.addEventListener('abort', cut, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (size < MAX_ANSWER_BYTES) kept.push(chunk);
      size += chunk.length;
    }
  } catch {
    // The verdict is in the headers; a text cut short only makes the explanation shorter.
  } finally {
    stop.removeEventListener('abort', cut);
  }
  return Buffer.concat(kept).toString('utf8').slice(0, MAX_ANSWER_BYTES);
}
