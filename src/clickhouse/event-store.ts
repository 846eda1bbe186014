import { Readable } from 'node:stream';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Clock } from '../clock.ts';
import { idsOf } from '../event/rows.ts';
import { type EventStore, InsertFailure, type Insertable } from '../pipeline/ports.ts';
import { failureFromAnswer, failureFromTransport } from './errors.ts';

/** The columns a row carries; the others have defaults or are computed. Frozen: dead letters hold such rows. */
const ROW_COLUMNS = [
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

/** Answers hold at most one error message. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** How long the table's columns are taken for granted by dry runs. */
const STRUCTURE_MS = 5_000;
/** Ids in one question: 39 bytes each, of the 128 kB that ClickHouse takes in one form field. */
const MAX_ASKED = 2_000;

/** Whoever asks counts time by another clock than ClickHouse's. */
const CLOCK_MARGIN_MS = 60_000;

export type InsertOptions = {
  readonly database: string;
  /** Our own deadline; ClickHouse is told to stop a little earlier. */
  readonly timeoutMs: number;
};

/** The event store on ClickHouse: one insert a batch, the batch's id as deduplication token. */
export function createEventStore(
  { client, clock }: { client: ClickHouseClient; clock: Clock },
  { database, timeoutMs }: InsertOptions,
): EventStore {
  const table = `${database}.events_raw_v1`;
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
  let knownStructure: { text: string; at: number } | null = null;

  return { insert, dryRun, findStored, countInserts };

  async function insert({ id, chunks }: Insertable, signal?: AbortSignal): Promise<void> {
    try {
      await send(`INSERT INTO ${table} (${ROW_COLUMNS.join(', ')}) FORMAT JSONEachRow`, chunks, signal, {
        insert_deduplicate: 1,
        deduplicate_blocks_in_dependent_materialized_views: 1,
        insert_deduplication_token: id,
      });
    } catch (error) {
      // The columns may have changed: the dry runs that look for the reason must see them as they are now.
      knownStructure = null;
      throw error;
    }
  }

  async function dryRun(rows: readonly Buffer[], signal?: AbortSignal): Promise<void> {
    const structure = (await structureOf()).replaceAll(/[\\']/g, String.raw`\$&`);
    await send(`INSERT INTO FUNCTION null('${structure}') FORMAT JSONEachRow`, rows, signal, {});
  }

  /** The types that rows are read into, as the table has them now. */
  async function structureOf(): Promise<string> {
    if (knownStructure && clock.elapsed() - knownStructure.at < STRUCTURE_MS) return knownStructure.text;
    const columns = await ask<{ name: string; type: string }>(
      `SELECT name, type FROM system.columns WHERE database = {database:String} AND table = 'events_raw_v1'
       AND name IN {names:Array(String)}`,
      { database, names: [...ROW_COLUMNS] },
    );
    const text = columns.map(({ name, type }) => `${name} ${type}`).join(', ');
    knownStructure = { text, at: clock.elapsed() };
    return text;
  }

  async function findStored(rows: readonly Buffer[]): Promise<readonly boolean[]> {
    const ids = rows.map(idsOf);
    const stored = new Set<string>();
    for (let from = 0; from < ids.length; from += MAX_ASKED) {
      const asked = ids.slice(from, from + MAX_ASKED).filter((id) => id !== null);
      const arrivals = asked.map(({ receivedAt }) => receivedAt).sort();
      const found = await ask<{ project: string; id: string }>(
        // The arrival names the parts to look into: each knows the earliest and latest in it.
        // The names differ from the columns': in ClickHouse an alias also stands for its text in WHERE.
        `SELECT DISTINCT toString(project_id) AS project, toString(event_id) AS id FROM ${table}
         WHERE received_at BETWEEN parseDateTime64BestEffort({first:String}, 3, 'UTC') AND parseDateTime64BestEffort({last:String}, 3, 'UTC')
         AND has({projects:Array(UUID)}, project_id) AND event_id IN {events:Array(UUID)}`,
        {
          first: arrivals[0] ?? '',
          last: arrivals.at(-1) ?? '',
          projects: [...new Set(asked.map(({ projectId }) => projectId))],
          events: asked.map(({ eventId }) => eventId),
        },
      );
      for (const { project, id } of found) stored.add(`${project} ${id}`);
    }
    return ids.map((id) => id !== null && stored.has(`${id.projectId} ${id.eventId}`));
  }

  /**
   * Parts are numbered by one counter for the whole table, one number an insert.
   * A part that was written before the age began and was not merged since says
   * how far it was then; merges can only make the part found older.
   */
  async function countInserts(ageMs: number): Promise<number> {
    const [counted] = await ask<{ inserts: string }>(
      `SELECT toString(max(max_block_number) - maxIf(max_block_number, modification_time < now() - {seconds:UInt32})) AS inserts
       FROM system.parts WHERE database = {database:String} AND table = 'events_raw_v1'`,
      { database, seconds: Math.ceil((ageMs + CLOCK_MARGIN_MS) / 1_000) },
    );
    return Number(counted!.inserts);
  }

  /** Rows of a query. Whatever goes wrong, nothing was learned and nothing has changed. */
  async function ask<Row>(query: string, query_params: Record<string, unknown>): Promise<Row[]> {
    try {
      const answer = await client.query({
        query,
        query_params,
        format: 'JSONEachRow',
        use_multipart_params: true,
        clickhouse_settings: { max_execution_time: readSettings.max_execution_time },
      });
      return await answer.json<Row>();
    } catch (error) {
      throw new InsertFailure('ClickHouse could not be asked', { failureClass: 'unavailable', cause: error });
    }
  }

  /** One request within our own deadline. The verdict is in the answer's headers. */
  async function send(
    query: string,
    chunks: readonly Buffer[],
    signal: AbortSignal | undefined,
    settings: ClickHouseSettings,
  ): Promise<void> {
    const answered = new AbortController();
    const late = new AbortController();
    void clock.sleep(timeoutMs, answered.signal).then(() => late.abort());
    const stop = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
    // The client ignores a signal that was aborted before the call.
    if (stop.aborted) throw new InsertFailure('not sent', { failureClass: 'unavailable' });
    try {
      const failure = await exchange(query, chunks, stop, { ...readSettings, ...settings });
      if (failure) throw failure;
    } finally {
      answered.abort();
    }
  }

  async function exchange(query: string, chunks: readonly Buffer[], stop: AbortSignal, settings: ClickHouseSettings) {
    let answer;
    try {
      answer = await client.exec({
        query,
        values: Readable.from(inLargePieces(chunks), { objectMode: false }),
        abort_signal: stop,
        ignore_error_response: true,
        clickhouse_settings: settings,
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

/** What is worth a write of its own. Thousands of rows sent one by one cost more than their insert. */
const PIECE_BYTES = 64 * 1024;

/** The same bytes in fewer pieces, each made when it is its turn. */
function* inLargePieces(chunks: readonly Buffer[]): Generator<Buffer> {
  let piece: Buffer[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    piece.push(chunk);
    bytes += chunk.length;
    if (bytes < PIECE_BYTES) continue;
    yield piece.length === 1 ? chunk : Buffer.concat(piece, bytes);
    piece = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(piece, bytes);
}

/** The answer's text, read to the end so that the connection can be used again, kept up to a bound. */
async function readText(stream: Readable, stop: AbortSignal): Promise<string> {
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
