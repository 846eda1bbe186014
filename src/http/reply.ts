/** An answer that is whole before it is written, and how it is written beneath the web objects. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../clock.ts';

export type Reply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** How long, and how much, of a body that nobody reads is taken in, so that its sender can read the answer. */
const DISCARD_MS = 500;
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;

/** Names and values of headers. */
export type Headers = readonly (readonly [name: string, value: string])[];

/** Writes the answer with `more` headers. What is left of the request's body is read and thrown away, within bounds. */
export function writeReply(
  { incoming, outgoing, clock }: { incoming: IncomingMessage; outgoing: ServerResponse; clock: Clock },
  { status, headers, body }: Reply,
  more: Headers = [],
): void {
  const raw: (string | number)[] = ['Content-Length', Buffer.byteLength(body)];
  for (const name in headers) raw.push(name, headers[name]!);
  for (const [name, value] of more) raw.push(name, value);
  outgoing.writeHead(status, raw as string[]).end(body);
  // Without this a connection that is kept would wait for ever in front of the next request.
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
  await clock.sleep(DISCARD_MS, done.signal);
  if (!incoming.readableEnded) incoming.socket.destroySoon();
}
