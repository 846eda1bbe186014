/**
 * Which answers count. ClickHouse's address may be served by a proxy, a login portal, a maintenance page, or by now
 * another server, whose 200 would read as "stored", "there are none" or "done". An answer is ClickHouse's only when it
 * carries the query id of its request; every request of Weir to ClickHouse goes through here.
 */
import type { Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError, ResultSet, parseError } from '@clickhouse/client';
import { type Param, formOf } from './form-fields.ts';

const QUERY_ID = 'x-clickhouse-query-id';
const EXCEPTION_CODE = 'x-clickhouse-exception-code';

/** How much of a content type a message repeats. */
const MAX_TYPE_CHARACTERS = 40;
/** A message that quotes a whole row is longer than this; its meaning is at both ends. */
const MAX_HEAD_BYTES = 48 * 1024;
const MAX_TAIL_BYTES = 16 * 1024;

/** Something other than ClickHouse has answered. The message describes what answered, without a word of its content. */
export class NotClickHouse extends Error {
  override readonly name = 'NotClickHouse';
  readonly status: number;

  constructor(status: number, detail: string) {
    super(`the server at CLICKHOUSE_URL is not ClickHouse (HTTP ${status}, ${detail})`);
    this.status = status;
  }
}

export type OnForeignAnswer = (foreign: NotClickHouse) => void;
type Exec = ClickHouseClient['exec'];
type Answered = Awaited<ReturnType<Exec>>;

/**
 * A client that accepts only ClickHouse's answers: for any other it calls `onForeignAnswer` and throws `NotClickHouse`.
 * An error number without an id passes as a refusal, since ClickHouse refuses that way before it has an id to repeat
 * (unknown user, database or setting); see `readAnswer`.
 */
export function onlyClickHouse(client: ClickHouseClient, onForeignAnswer: OnForeignAnswer): ClickHouseClient {
  const exec: Exec = async (params) => {
    const answered = await client.exec({ ...params, ignore_error_response: true });
    const foreign = foreignAnswerIn(answered);
    if (foreign !== null) {
      // The content is irrelevant, and the connection cannot be used again.
      answered.stream.destroy();
      onForeignAnswer(foreign);
      throw foreign;
    }
    if (params.ignore_error_response === true || !isRefusal(answered)) return answered;
    throw await refusalIn(answered);
  };

  const query: ClickHouseClient['query'] = async (params) => {
    const { format = 'JSON', use_multipart_params: isForm = false, query_params, ...rest } = params;
    const asked = { ...rest, query: `${params.query.trim().replace(/;+$/, '')}\nFORMAT ${format}` };
    const answered = await exec(
      isForm ? { ...asked, ...formOf(query_params as Record<string, Param>) } : { ...asked, ...given(query_params) },
    );
    return new ResultSet(answered.stream, format, answered.query_id, () => {}, answered.response_headers);
  };

  const command: ClickHouseClient['command'] = async (params) => {
    const { stream, ...answered } = await exec(params);
    for await (const _ of stream);
    return answered;
  };

  const insert: ClickHouseClient['insert'] = async (params) => {
    const answered = await client.insert(params);
    const foreign = answered.executed ? foreignAnswerIn(answered) : null;
    if (foreign === null) return answered;
    onForeignAnswer(foreign);
    throw foreign;
  };

  const ping: ClickHouseClient['ping'] = async (params) => {
    try {
      await command({ query: 'SELECT 1', ...(params?.abort_signal && { abort_signal: params.abort_signal }) });
      return { success: true };
    } catch (error) {
      return { success: false, error: error as Error };
    }
  };

  return Object.assign(Object.create(client) as ClickHouseClient, { exec, query, command, insert, ping });
}

const given = (query_params: Record<string, unknown> | undefined) =>
  query_params === undefined ? {} : { query_params };

/** An answer to `exec` with `ignore_error_response`, read to its end. */
export type Answer = {
  readonly status: number;
  /** ClickHouse's error number; null where the answer has none. A 200 may have one. */
  readonly code: number | null;
  /** The body's text; only beginning and end of a long one. */
  readonly text: string;
  /** Whether the body arrived completely. */
  readonly isWhole: boolean;
  /**
   * Whether the answer repeats the id of the query. An answer without an id was given before there was one, and is
   * always a refusal.
   */
  readonly isProven: boolean;
};

/** Reads an answer to its end, so that its connection can be reused, or until `stop` aborts. */
export async function readAnswer(answered: Answered, stop?: AbortSignal): Promise<Answer> {
  const code = Number(answered.response_headers[EXCEPTION_CODE] ?? Number.NaN);
  return {
    status: answered.http_status_code ?? 0,
    code: Number.isInteger(code) ? code : null,
    isProven: answered.response_headers[QUERY_ID] !== undefined,
    ...(await readText(answered.stream, stop)),
  };
}

/** The selected text, up to `maxBytes`; the answer itself when it does not hold such a text completely. */
export async function readSelected(answered: Answered, maxBytes: number, stop?: AbortSignal): Promise<string | Answer> {
  if (isRefusal(answered)) return readAnswer(answered, stop);
  const chunks: Buffer[] = [];
  let bytes = 0;
  const cut = () => answered.stream.destroy();
  stop?.addEventListener('abort', cut, { once: true });
  try {
    for await (const chunk of answered.stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new Error('too much was selected');
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } catch {
    return { status: answered.http_status_code ?? 0, code: null, text: '', isWhole: false, isProven: true };
  } finally {
    stop?.removeEventListener('abort', cut);
  }
}

async function readText(stream: Readable, stop: AbortSignal | undefined) {
  const head: Buffer[] = [];
  let headBytes = 0;
  let tail = Buffer.alloc(0);
  let isWhole = true;
  const cut = () => stream.destroy();
  stop?.addEventListener('abort', cut, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const kept = chunk.subarray(0, MAX_HEAD_BYTES - headBytes);
      if (kept.length > 0) head.push(kept);
      headBytes += kept.length;
      if (kept.length < chunk.length)
        tail = Buffer.concat([tail, chunk.subarray(kept.length)]).subarray(-MAX_TAIL_BYTES);
    }
  } catch {
    isWhole = false;
  } finally {
    stop?.removeEventListener('abort', cut);
  }
  return { text: Buffer.concat([...head, tail]).toString('utf8'), isWhole };
}

type Headed = Pick<Answered, 'query_id' | 'response_headers' | 'http_status_code'>;

function foreignAnswerIn({
  query_id,
  response_headers: headers,
  http_status_code: status = 0,
}: Headed): NotClickHouse | null {
  const id = headers[QUERY_ID];
  if (id === query_id) return null;
  if (id !== undefined) return new NotClickHouse(status, 'with a query id other than the one sent');
  return headers[EXCEPTION_CODE] === undefined ? new NotClickHouse(status, typeIn(headers['content-type'])) : null;
}

function typeIn(contentType: string | string[] | undefined): string {
  const [type = ''] = [contentType].flat();
  const shown = type
    .replaceAll(/[^\x20-\x7e]/g, '')
    .slice(0, MAX_TYPE_CHARACTERS)
    .trim();
  return shown === '' ? 'no Content-Type' : shown;
}

const isRefusal = ({ response_headers, http_status_code = 0 }: Answered) =>
  response_headers[EXCEPTION_CODE] !== undefined || http_status_code < 200 || http_status_code > 299;

async function refusalIn(answered: Answered): Promise<Error> {
  const { status, code, text } = await readAnswer(answered);
  if (code === null) return new Error(`HTTP ${status} from ClickHouse without an error number`);
  const parsed = parseError(text);
  const said = parsed instanceof ClickHouseError ? parsed : { message: 'without a readable sentence', type: undefined };
  // The number in the header is ClickHouse's own; one in the text may be part of a quoted value.
  return new ClickHouseError({ message: said.message, code: String(code), ...(said.type && { type: said.type }) });
}
