/**
 * Answers plain requests to the front doors from the socket itself, one after the
 * other: what Node does for a request costs as much as all that Weir does with an
 * event (decision 16). A connection that brings anything else is handed to Node's
 * HTTP server, with every byte that was not answered, and stays with it.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import type { BodyListener, DoorRequest } from './door-request.ts';
import type { Answer, Doorway } from './doorway.ts';
import { REQUEST_ID } from './every-answer.ts';
import { type PlainHead, readPlainHead } from './plain-head.ts';
import { DISCARD_MS, MAX_DISCARDED_BYTES, textOf } from './reply.ts';

export type PlainConnection = {
  /** Ends it, unless there is a request under way. */
  endIfIdle(): void;
  /** Ends it when it has kept Weir waiting for too long. To be asked every now and then. */
  endIfLate(): void;
};

export type PlainDeps = {
  readonly doorway: Doorway;
  /** Gives the socket to Node's HTTP server, with what was read from it and not answered. */
  readonly handOver: (socket: Socket, bytes: Buffer) => void;
  /** Says that a request took too long to arrive, and ends the connection. */
  readonly giveUp: (socket: Socket) => void;
  readonly clock: Clock;
};

export type Patience = {
  /** How long the first request may be waited for. */
  readonly firstMs: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
  /** How long the next request may be waited for. A multiple of a second: clients are told. */
  readonly keepAliveMs: number;
};

/**
 * `new`: nothing was heard yet. `idle`: everything was answered. `busy`: a request is with a front door.
 * `discarding`: it was answered, but its body is still coming. `over`: ended, or handed to Node.
 */
type State = 'new' | 'idle' | 'busy' | 'discarding' | 'over';

/** Serves the connection until it ends. */
export function servePlain(
  socket: Socket,
  { doorway, handOver, giveUp, clock }: PlainDeps,
  { firstMs, requestMs, keepAliveMs }: Patience,
): PlainConnection {
  let state: State = 'new';
  /** When it began to wait for what it waits for. */
  let since = clock.elapsed();
  /** What has come and belongs to no request yet. */
  let unread: Buffer | null = null;
  let isReading = false;
  /** Of the body under way: bytes that have not come, those that nobody has heard, who hears them. */
  let missingBytes = 0;
  let unheard: Buffer | null = null;
  let listener: BodyListener | null = null;
  let isBodyPaused = false;
  let onGone: (() => void) | null = null;
  let discardedBytes = 0;
  /** Whether the client sends no more, or is not to. */
  let isLast = false;
  const kept = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveMs / 1_000}\r\n`;

  socket.on('data', onData).on('drain', onDrain).on('end', onEnd).on('error', onError).on('close', onClose);
  return { endIfIdle, endIfLate };

  function onData(bytes: Buffer) {
    if (missingBytes > 0) takeBody(bytes);
    else hold(bytes);
    readOn();
  }

  function hold(bytes: Buffer) {
    unread = unread === null ? bytes : Buffer.concat([unread, bytes]);
  }

  /** Begins what can be begun: a request when the one before it was answered, and its answer is on its way. */
  function readOn() {
    // What is answered at once comes by here again.
    if (isReading) return;
    isReading = true;
    while (unread !== null && (state === 'new' || state === 'idle') && !socket.writableNeedDrain) {
      const bytes: Buffer = unread;
      unread = null;
      begin(bytes);
    }
    isReading = false;
    flow();
  }

  /** The socket is read from while something can be done with what comes; its client has to wait otherwise. */
  function flow() {
    if (state === 'over') return;
    const isHeard =
      missingBytes === 0 ? unread === null : state === 'discarding' || (listener !== null && !isBodyPaused);
    if (isHeard) socket.resume();
    else socket.pause();
  }

  function begin(bytes: Buffer) {
    const head = readPlainHead(bytes);
    const path = head?.method === 'POST' ? doorway.pathOf(head.target) : null;
    if (head === null || (head.method === 'POST' && path === null)) return leaveToNode(bytes);
    state = 'busy';
    since = clock.elapsed();
    const bodyEnd = head.end + head.bodyBytes;
    const body = bytes.subarray(head.end, bodyEnd);
    if (bytes.length > bodyEnd) hold(bytes.subarray(bodyEnd));
    missingBytes = head.bodyBytes - body.length;
    unheard = body;
    isBodyPaused = false;
    if (path === null) write(doorway.preflight(head.headers));
    else doorway.answer(path, requestOf(head), write);
  }

  function requestOf({ target, headers, bodyBytes }: PlainHead): DoorRequest {
    return {
      target,
      headers,
      body: { announcedBytes: bodyBytes, take, listen, pause: pauseBody, resume: resumeBody, leave: leaveBody },
      onGone: tellWhenGone,
    };
  }

  function tellWhenGone(listening: () => void): () => void {
    onGone = listening;
    return () => {
      onGone = null;
    };
  }

  function take(): Buffer | null {
    return missingBytes === 0 ? takeUnheard() : null;
  }

  function takeUnheard(): Buffer | null {
    const bytes = unheard;
    unheard = null;
    return bytes;
  }

  function listen(listening: BodyListener) {
    const first = takeUnheard();
    if (state === 'over') return listening.gone();
    listener = listening;
    if (first !== null && first.length > 0) listening.piece(first);
    if (missingBytes === 0) endBody();
    else flow();
  }

  function pauseBody() {
    isBodyPaused = true;
    flow();
  }

  function resumeBody() {
    isBodyPaused = false;
    flow();
  }

  function leaveBody() {
    listener = null;
  }

  function takeBody(bytes: Buffer) {
    const part = bytes.length > missingBytes ? bytes.subarray(0, missingBytes) : bytes;
    if (bytes.length > part.length) hold(bytes.subarray(part.length));
    missingBytes -= part.length;
    if (state === 'discarding') return discard(part.length);
    listener?.piece(part);
    if (missingBytes === 0) endBody();
  }

  function endBody() {
    const listening = listener;
    listener = null;
    listening?.end();
  }

  function write({ reply, requestId, common }: Answer) {
    listener = null;
    unheard = null;
    onGone = null;
    if (state === 'over') return;
    isLast ||= common.isLast;
    const more = `${common.text}${isLast ? '' : kept}${REQUEST_ID}: ${requestId}\r\n`;
    const { text, encoding } = textOf(reply, more, clock);
    socket.write(text, encoding);
    since = clock.elapsed();
    if (missingBytes > 0) beginDiscarding();
    else goOn();
  }

  function goOn() {
    if (isLast) return end();
    state = 'idle';
    readOn();
  }

  /** A client that is still sending would not read the answer. */
  function beginDiscarding() {
    state = 'discarding';
    discardedBytes = 0;
    const beganAt = since;
    void clock.sleep(DISCARD_MS).then(() => {
      if (state === 'discarding' && since === beganAt) end();
    });
    flow();
  }

  function discard(bytes: number) {
    discardedBytes += bytes;
    if (discardedBytes > MAX_DISCARDED_BYTES) end();
    else if (missingBytes === 0) goOn();
  }

  function end() {
    state = 'over';
    socket.destroySoon();
  }

  function leaveToNode(bytes: Buffer) {
    state = 'over';
    socket.off('data', onData).off('drain', onDrain).off('end', onEnd).off('error', onError).off('close', onClose);
    handOver(socket, bytes);
  }

  function onDrain() {
    readOn();
  }

  function onEnd() {
    isLast = true;
    if (state === 'new' || state === 'idle') end();
    else if (missingBytes > 0) socket.destroy();
  }

  function onError() {
    socket.destroy();
  }

  function onClose() {
    state = 'over';
    const [listening, waiting] = [listener, onGone];
    listener = null;
    onGone = null;
    if (missingBytes > 0) listening?.gone();
    waiting?.();
  }

  function endIfIdle() {
    if (state === 'idle') end();
  }

  function endIfLate() {
    const waitedMs = clock.elapsed() - since;
    if (state === 'idle' && waitedMs > keepAliveMs) socket.destroy();
    else if (state === 'new' && waitedMs > firstMs) giveUp(socket);
    else if (state === 'busy' && missingBytes > 0 && waitedMs > requestMs) giveUp(socket);
  }
}
