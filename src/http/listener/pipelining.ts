/**
 * Answers the requests of a connection one after the other, where Node's HTTP server reads them. Node by itself begins
 * every request that arrived in one chunk: a client that sends 55 KiB of small ones and reads nothing would have 1 500
 * answers made, and kept in memory for as long as it likes. So Node receives the bytes in parts, and none while an
 * answer is pending: what the client sends in the meantime stays with the kernel, and soon with the client.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { yieldToEventLoop } from '../../runtime/clock.ts';

/**
 * A chunk ends behind the end of a head, so that it begins one request; but a body full of empty lines is not cut into
 * chunks of two bytes. As many as seven requests fit into this, of the kind that HTTP/0.9 knows.
 */
const MIN_CHUNK_BYTES = 64;
/** Ends every head, and nothing else does: Node accepts no line end without CR. */
const HEAD_END = Buffer.from('\n\r\n');

/** `_paused`: Node reads nothing before it has written what it has, and must not be given more. */
type Paced = { _paused?: boolean; [PACE]?: Pace };
/** A property of the socket itself: looking it up elsewhere costs every request. */
const PACE = Symbol('pace of requests');
type Pace = {
  begun(incoming: IncomingMessage, outgoing: ServerResponse): void;
  /** Whether bytes wait here, or an answer has not left completely. */
  isBusy(): boolean;
};

/** Call it when Node's server has begun to listen to the socket, with what was read from it before. */
export function paceRequests(socket: Socket & Paced, first: Buffer, { hasEnded }: { hasEnded: boolean }): void {
  const [read] = socket.listeners('data') as [(bytes: Buffer) => void];
  // The first listener is the stream's own.
  const notifyEnd = socket.listeners('end').at(-1) as () => void;
  let held: Buffer | null = first;
  let isFeeding = false;
  let isHolding = false;
  let isEnded = hasEnded;
  let unanswered = 0;
  /** The most recent request. */
  let latest: IncomingMessage | null = null;

  socket.off('data', read).off('end', notifyEnd);
  socket.on('data', onData).on('end', onEnd).on('resume', feed);
  socket[PACE] = { begun, isBusy: () => held !== null || unanswered > 0 };
  feed();

  function onData(bytes: Buffer) {
    held = held === null ? bytes : Buffer.concat([held, bytes]);
    feed();
  }

  function onEnd() {
    isEnded = true;
    feed();
  }

  function feed() {
    if (isFeeding) return;
    isFeeding = true;
    while (held !== null && mayGoOn()) read(takeChunk(held));
    isFeeding = false;
    if (socket.destroyed) return;
    if (held !== null) hold();
    else if (isEnded) notifyEndOnce();
  }

  function takeChunk(bytes: Buffer): Buffer {
    const end = chunkEnd(bytes);
    held = end === bytes.length ? null : bytes.subarray(end);
    return end === bytes.length ? bytes : bytes.subarray(0, end);
  }

  function mayGoOn(): boolean {
    if (socket.destroyed || socket.writableEnded || socket._paused === true || isOwing()) return false;
    // A stream that has ended is not resumed, and nothing more can come of it.
    return isEnded || !socket.isPaused();
  }

  /** Whether an answer is due before anything more is read: to any request but one whose body is still arriving. */
  function isOwing(): boolean {
    return unanswered > 1 || (unanswered === 1 && latest!.complete);
  }

  function hold() {
    isHolding = true;
    socket.pause();
  }

  function notifyEndOnce() {
    socket.off('resume', feed);
    isEnded = false;
    notifyEnd.call(socket);
  }

  function begun(incoming: IncomingMessage, outgoing: ServerResponse) {
    unanswered += 1;
    latest = incoming;
    // Not before the answer has left for the client, who may be slow to take it.
    outgoing.once('finish', answered);
  }

  function answered() {
    unanswered -= 1;
    if (!isHolding || isOwing()) return;
    isHolding = false;
    // Answers that are made and written at once would follow each other without end, and other connections would wait.
    yieldToEventLoop(() => socket.resume());
  }
}

/** Call it for every request that Node has read from such a socket. */
export function announceRequest(incoming: IncomingMessage, outgoing: ServerResponse): void {
  (incoming.socket as Paced)[PACE]?.begun(incoming, outgoing);
}

/**
 * Ends those of the server's connections that are between requests. Node's own `closeIdleConnections` looks at its
 * parser alone: it would cut answers that leave slowly, and requests that wait here.
 */
export function endIdleConnections(server: Server, connections: Iterable<Socket & Paced>): void {
  const busy = [...connections].filter((socket) => socket[PACE]?.isBusy());
  for (const socket of busy) socket.destroy = () => socket;
  server.closeIdleConnections();
  // What the prototype has is in force again.
  for (const socket of busy) delete (socket as Partial<Socket>).destroy;
}

function chunkEnd(bytes: Buffer): number {
  const headEnd = bytes.indexOf(HEAD_END, MIN_CHUNK_BYTES - HEAD_END.length);
  return headEnd < 0 ? bytes.length : headEnd + HEAD_END.length;
}
