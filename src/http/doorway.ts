/**
 * Tells requests to the front doors from all others and answers them on Node's
 * own request and response: web objects around these cost more than all that
 * Weir does with an event (decision 15).
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { EveryAnswer } from './every-answer.ts';
import { replyTo } from './refusals.ts';
import { type Reply, writeReply } from './reply.ts';
import type { ObserveRequest } from './route.ts';

/** Takes a request in. Never rejects but for a bug. */
export type Receive = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<Reply>;

export type DoorwayDeps = {
  readonly everyAnswer: EveryAnswer;
  readonly onRequest: ObserveRequest;
  readonly clock: Clock;
  readonly log: Log;
  /** Whatever is not sent to a front door. */
  readonly others: RequestListener;
};

/** `receivers`: by path, what takes a POST to it. */
export function createDoorway(
  receivers: ReadonlyMap<string, Receive>,
  { everyAnswer, onRequest, clock, log, others }: DoorwayDeps,
): RequestListener {
  return (incoming, outgoing) => {
    const path = incoming.method === 'POST' ? doorPath(incoming.url!) : null;
    if (path === null) others(incoming, outgoing);
    else void answer(path, incoming, outgoing);
  };

  async function answer(path: string, incoming: IncomingMessage, outgoing: ServerResponse) {
    const requestId = everyAnswer.requestId(incoming.headers);
    let reply: Reply;
    try {
      reply = await receivers.get(path)!(incoming, outgoing);
    } catch (error) {
      log.error({ err: error, requestId, path }, 'request failed');
      reply = replyTo({ refused: 'internal' });
    }
    const { status } = reply;
    onRequest('POST', path, status);
    if (log.isLevelEnabled('debug')) log.debug({ requestId, method: 'POST', route: path, status }, 'request answered');
    if (outgoing.destroyed) return;
    writeReply({ incoming, outgoing, clock }, reply, everyAnswer.headers(incoming.headers, requestId));
  }

  /** The path of the front door that the target names, however it spells it; null when it names none. */
  function doorPath(target: string): string | null {
    const end = target.indexOf('?');
    const path = end < 0 ? target : target.slice(0, end);
    if (receivers.has(path)) return path;
    const usual = PLAIN_PATH.test(path) ? path : usualSpelling(target);
    return receivers.has(usual) ? usual : null;
  }
}

const PLAIN_PATH = /^(?:\/[\w-]+)*$/;

/** With escapes, dots and a host resolved. */
function usualSpelling(target: string): string {
  try {
    return decodeURI(new URL(target, 'http://localhost').pathname);
  } catch {
    return ''; // No address at all: the others refuse it.
  }
}
