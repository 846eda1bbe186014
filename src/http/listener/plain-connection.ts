/**
 * Answers plain requests to the front doors from the socket itself, one after the other: what Node does for a request
 * costs as much as everything Weir does with an event (decision 16). A connection that brings anything else is handed
 * to Node's HTTP server, with every byte that was not answered, and stays with it.
 */
import type { Socket } from 'node:net';
import { type Clock, yieldToEventLoop } from '../../runtime/clock.ts';
import type { BodyListener, DoorRequest } from '../request/door-request.ts';
import type { Answer, DoorRouter } from '../ingest/door-router.ts';
import { REQUEST_ID } from '../answers/common-headers.ts';
import { type PlainHead, readPlainHead } from './plain-head.ts';
import type { RequestTurns } from './request-turns.ts';
import { MAX_DISCARDED_BYTES, textOf, untilSilent } from '../answers/reply.ts';

export type PlainConnection = {
  /** Ends the connection, unless a request is in progress or has arrived. */
  endIfIdle(): void;
  /** Ends the connection when it has kept Weir waiting for too long. Call it at intervals. */
  endIfLate(): void;
};

export type PlainDeps = {
  readonly doorRouter: DoorRouter;
  /**
   * Hands the socket to Node's HTTP server, with what was read from it and not answered; `hasEnded`: nothing will
   * follow.
   */
  readonly handOver: (socket: Socket, bytes: Buffer, hasEnded: boolean) => void;
  /** Answers that a request took too long to arrive, and ends the connection. */
  readonly giveUp: (socket: Socket) => void;
  /** Those of all connections. */
  readonly turns: RequestTurns;
  readonly clock: Clock;
};

export type ConnectionTimeouts = {
  /** How long to wait for the first request. */
  readonly firstMs: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
  /** How long to wait for the next request. Clients are told in whole seconds. */
  readonly keepAliveMs: number;
};

/**
 * `new`: nothing has been received yet. `idle`: everything is answered. `busy`: a front door has a request.
 * `discarding`: it is answered, but its body is still arriving. `over`: ended, or handed to Node.
 */
type State = 'new' | 'idle' | 'busy' | 'discarding' | 'over';

/** Requests that arrived together and are answered synchronously: after this many, other connections get their turn. */
const MAX_REQUESTS_PER_TURN = 16;
/** Of one that waits for its turn: to stop reading, and to begin again, costs as much as reading. */
const MAX_WAITING_BYTES = 4 * 1024;

/** Serves the connection until it ends. */
export function servePlain(
  socket: Socket,
  { doorRouter, handOver, giveUp, turns, clock }: PlainDeps,
  { firstMs, requestMs, keepAliveMs }: ConnectionTimeouts,
): PlainConnection {
  let state: State = 'new';
  /** When the current wait began. */
  let since = clock.elapsed();
  /** Bytes that have arrived and belong to no request yet. */
  let unread: Buffer | null = null;
  let isReading = false;
  /** Whether the next request waits for its turn, and whether that has come. */
  let isWaiting = false;
  let hasTurn = false;
  /** For the body being read: how many bytes are missing, the bytes that no listener has received, and the listener. */
  let missingBytes = 0;
  let undelivered: Buffer | null = null;
  let listener: BodyListener | null = null;
  let isBodyPaused = false;
  let onGone: (() => void) | null = null;
  let discardedBytes = 0;
  /** Whether the connection ends with the request whose body is being discarded. */
  let isLastDiscarded = false;
  /** Whether the client will send nothing beyond what is unread. */
  let hasEnded = false;
  const kept = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1_000)}\r\n`;

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
    // A synchronous answer calls this function again.
    if (isReading) return;
    isReading = true;
    for (let begun = 0; unread !== null && isFree(); begun += 1) {
      if (begun === MAX_REQUESTS_PER_TURN) {
        yieldToEventLoop(readOn);
        break;
      }
      if (!mayBegin()) break;
      const bytes: Buffer = unread;
      unread = null;
      begin(bytes);
    }
    isReading = false;
    flow();
  }

  function mayBegin(): boolean {
    if (hasTurn) {
      hasTurn = false;
      return true;
    }
    isWaiting ||= !turns.take(beginInTurn);
    return !isWaiting;
  }

  function beginInTurn() {
    isWaiting = false;
    hasTurn = true;
    readOn();
    hasTurn = false;
  }

  /** Whether a request can be begun. */
  function isFree(): boolean {
    return (state === 'new' || state === 'idle') && !socket.writableNeedDrain;
  }

  /** Reads from the socket while its bytes can be used; otherwise the client has to wait. */
  function flow() {
    if (state === 'over') return;
    const isReadable =
      missingBytes === 0
        ? unread === null || (isWaiting && unread.length < MAX_WAITING_BYTES)
        : state === 'discarding' || (listener !== null && !isBodyPaused);
    if (isReadable) socket.resume();
    else socket.pause();
  }

  function begin(bytes: Buffer) {
    const head = readPlainHead(bytes);
    const path = head?.method === 'POST' ? doorRouter.plainPathOf(head.target) : null;
    if (head === null || (head.method === 'POST' && path === null)) return leaveToNode(bytes);
    state = 'busy';
    since = clock.elapsed();
    const bodyEnd = head.end + head.bodyBytes;
    const body = bytes.subarray(head.end, bodyEnd);
    if (bytes.length > bodyEnd) hold(bytes.subarray(bodyEnd));
    missingBytes = head.bodyBytes - body.length;
    undelivered = body;
    isBodyPaused = false;
    if (path === null) write(doorRouter.preflight(head.target, head.headers));
    else doorRouter.answer(path, requestOf(head), since, write);
  }

  function requestOf({ target, headers, bodyBytes }: PlainHead): DoorRequest {
    return {
      method: 'POST',
      target,
      headers,
      body: { announcedBytes: bodyBytes, take, listen, pause: pauseBody, resume: resumeBody, leave: leaveBody },
      onGone: notifyWhenGone,
    };
  }

  function notifyWhenGone(listening: () => void): () => void {
    onGone = listening;
    return () => {
      onGone = null;
    };
  }

  function take(): Buffer | null {
    return missingBytes === 0 ? takeUndelivered() : null;
  }

  function takeUndelivered(): Buffer | null {
    const bytes = undelivered;
    undelivered = null;
    return bytes;
  }

  function listen(listening: BodyListener) {
    const first = takeUndelivered();
    if (state === 'over') return listening.gone();
    listener = listening;
    if (first !== null && first.length > 0) listening.chunk(first);
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
    listener?.chunk(part);
    if (missingBytes === 0) endBody();
  }

  function endBody() {
    const listening = listener;
    listener = null;
    listening?.end();
  }

  function write({ reply, requestId, common, madeAt }: Answer) {
    listener = null;
    undelivered = null;
    onGone = null;
    if (state === 'over') return;
    const isLast = common.isLast || (hasEnded && unread === null);
    const more = `${common.text}${isLast ? '' : kept}${REQUEST_ID}: ${requestId}\r\n`;
    const { text, encoding } = textOf(reply, more, clock);
    socket.write(text, encoding);
    since = madeAt;
    if (missingBytes > 0) beginDiscarding(isLast);
    else goOn(isLast);
  }

  function goOn(isLast: boolean) {
    if (isLast) return end();
    state = 'idle';
    readOn();
  }

  /** A client that is still sending would not read the answer. */
  function beginDiscarding(isLast: boolean) {
    state = 'discarding';
    discardedBytes = 0;
    isLastDiscarded = isLast;
    const beganAt = since;
    const discarded = () => (state === 'discarding' && since === beganAt ? discardedBytes : null);
    void untilSilent(discarded, clock).then(() => {
      if (discarded() !== null) end();
    });
    flow();
  }

  function discard(bytes: number) {
    discardedBytes += bytes;
    if (discardedBytes > MAX_DISCARDED_BYTES) end();
    else if (missingBytes === 0) goOn(isLastDiscarded);
  }

  function end() {
    state = 'over';
    socket.destroySoon();
  }

  function leaveToNode(bytes: Buffer) {
    state = 'over';
    socket.off('data', onData).off('drain', onDrain).off('end', onEnd).off('error', onError).off('close', onClose);
    handOver(socket, bytes, hasEnded);
  }

  function onDrain() {
    readOn();
  }

  function onEnd() {
    hasEnded = true;
    if ((state === 'new' || state === 'idle') && unread === null) end();
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
    if (state === 'idle' && unread === null && !isWaiting) end();
  }

  function endIfLate() {
    // It is Weir that keeps the client waiting.
    if (isWaiting) return;
    const waitedMs = clock.elapsed() - since;
    if (state === 'idle' && waitedMs > keepAliveMs) socket.destroy();
    else if (state === 'new' && waitedMs > firstMs) giveUp(socket);
    else if (state === 'busy' && missingBytes > 0 && waitedMs > requestMs) giveUp(socket);
  }
}
