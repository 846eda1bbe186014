/** An answer that is complete before it is written, and how to write it: through Node's response, or as text. */
import { type IncomingMessage, STATUS_CODES, type ServerResponse } from 'node:http';
import type { Clock } from '../../runtime/clock.ts';
import type { RefusalCode } from './refusals.ts';

export type Reply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  /** The code of a refusal, for metrics. */
  readonly refused?: RefusalCode;
};

/** Names and values of headers. */
export type Headers = readonly (readonly [name: string, value: string])[];

/**
 * An unread body is discarded, so that its sender can read the answer and use the connection again: until nothing more
 * of it comes for a moment, for so long in all (nginx's `lingering_time`), and so many bytes.
 */
const SILENCE_MS = 500;
const MAX_DISCARD_MS = 30_000;
export const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;

/** Writes the answer with `more` headers. The rest of the request's body is read and discarded, within bounds. */
export function writeReply(
  { incoming, outgoing, clock }: { incoming: IncomingMessage; outgoing: ServerResponse; clock: Clock },
  { status, headers, body }: Reply,
  more: Headers = [],
): void {
  const raw: (string | number)[] = status === NO_CONTENT ? [] : ['Content-Length', Buffer.byteLength(body)];
  for (const name in headers) raw.push(name, headers[name]!);
  for (const [name, value] of more) raw.push(name, value);
  outgoing.writeHead(status, raw as string[]).end(body);
  // Otherwise a kept connection would wait forever in front of the next request.
  if (!incoming.readableEnded && !incoming.destroyed) void discardRest(incoming, clock);
}

async function discardRest(incoming: IncomingMessage, clock: Clock): Promise<void> {
  const done = new AbortController();
  const end = () => done.abort('ended');
  let bytes = 0;
  const count = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_DISCARDED_BYTES) end();
  };
  incoming.on('data', count).once('end', end).once('close', end).resume();
  await untilSilent(() => (done.signal.aborted ? null : bytes), clock, done.signal);
  if (!incoming.readableEnded) incoming.socket.destroySoon();
}

/**
 * Resolves when nothing of an unread body has come for a moment, or some of it has for too long. `discarded`: how many
 * bytes of it so far; null when it is no longer waited for.
 */
export async function untilSilent(discarded: () => number | null, clock: Clock, signal?: AbortSignal): Promise<void> {
  const latest = clock.elapsed() + MAX_DISCARD_MS;
  for (let before = -1, now = discarded(); now !== null && now !== before && clock.elapsed() < latest;) {
    before = now;
    await clock.sleep(SILENCE_MS, signal);
    // What came while the process was busy is read first: its client may use the connection again already.
    await clock.sleep(0, signal);
    now = discarded();
  }
}

/** An answer in the bytes of HTTP/1.1, as text of that encoding. */
export type ReplyText = { readonly text: string; readonly encoding: 'latin1' | 'utf8' };

/** `more`: lines of further headers. */
export function textOf({ status, headers, body: given }: Reply, more: string, { now }: Pick<Clock, 'now'>): ReplyText {
  const body = typeof given === 'string' ? given : given.toString('latin1');
  const length = Buffer.byteLength(given);
  const lengthLine = status === NO_CONTENT ? '' : `Content-Length: ${length}\r\n`;
  // ASCII is the same in both, and written faster as latin1.
  const encoding = length === body.length ? 'latin1' : 'utf8';
  return { text: `${startOf(status, headers, now())}${lengthLine}${more}\r\n${body}`, encoding };
}

/** The only status in use for which HTTP allows no length. */
const NO_CONTENT = 204;

/** Headers as lines. */
export function linesOf(headers: Headers): string {
  return headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
}

type Start = Pick<Reply, 'status' | 'headers'> & { readonly second: number; readonly lines: string };
/** The starts of the latest two kinds of answers: within a second most begin alike, also where some are refused. */
let start: Start | null = null;
let startBefore: Start | null = null;

/** Status, date and the reply's own headers, as lines. */
function startOf(status: number, headers: Reply['headers'], epochMs: number): string {
  const second = Math.floor(epochMs / 1_000);
  const begins = (known: Start | null): known is Start =>
    known?.second === second && known.status === status && known.headers === headers;
  if (!begins(start)) {
    const other = begins(startBefore) ? startBefore : newStart(status, headers, second);
    startBefore = start;
    start = other;
  }
  return start.lines;
}

function newStart(status: number, headers: Reply['headers'], second: number): Start {
  const all: Headers = [['Date', new Date(second * 1_000).toUTCString()], ...Object.entries(headers)];
  return { status, headers, second, lines: `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${linesOf(all)}` };
}
