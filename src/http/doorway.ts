/**
 * Tells requests to the front doors from all others, and answers them, whoever
 * reads them from the network: web objects around these cost more than all that
 * Weir does with an event (decision 15).
 */
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Awaitable } from './awaitable.ts';
import { type DoorRequest, nodeRequest } from './door-request.ts';
import { type CommonHeaders, type EveryAnswer, REQUEST_ID } from './every-answer.ts';
import { replyTo } from './refusals.ts';
import { type Reply, writeReply } from './reply.ts';
import { ANY_ROUTE, type ObserveRequest } from './route.ts';

/** Takes a request in. Never fails but for a bug. */
export type Receive = (request: DoorRequest) => Awaitable<Reply>;

/** What is to be written: a reply, and what every answer carries. */
export type Answer = { readonly reply: Reply; readonly requestId: string; readonly common: CommonHeaders };

export type Respond = (answer: Answer) => void;

export type Doorway = {
  /** The path of the front door that the target of a POST names, however it spells it; null when it names none. */
  pathOf(target: string): string | null;
  /** Answers a request to that path: calls `respond` once, now or later. */
  answer(path: string, request: DoorRequest, respond: Respond): void;
  /** Answers a browser that asks whether a page may send something. */
  preflight(headers: IncomingHttpHeaders): Answer;
};

export type DoorwayDeps = {
  readonly everyAnswer: EveryAnswer;
  readonly onRequest: ObserveRequest;
  readonly log: Log;
};

type Observed = {
  readonly method: string;
  readonly route: string;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
};

/** `receivers`: by path, what takes a POST to it. */
export function createDoorway(
  receivers: ReadonlyMap<string, Receive>,
  { everyAnswer, onRequest, log }: DoorwayDeps,
): Doorway {
  return { pathOf, answer, preflight };

  function answer(path: string, request: DoorRequest, respond: Respond) {
    const { headers } = request;
    const requestId = everyAnswer.requestId(headers);
    const reply = received();
    if (reply instanceof Promise) void reply.then(answerWith, (error: unknown) => answerWith(failed(error)));
    else answerWith(reply);

    function received(): Awaitable<Reply> {
      try {
        return receivers.get(path)!(request);
      } catch (error) {
        return failed(error);
      }
    }

    function failed(error: unknown): Reply {
      log.error({ err: error, requestId, path }, 'request failed');
      return replyTo({ refused: 'internal' });
    }

    function answerWith(given: Reply) {
      respond(complete({ method: 'POST', route: path, headers, requestId }, given));
    }
  }

  function preflight(headers: IncomingHttpHeaders): Answer {
    const request = { method: 'OPTIONS', route: ANY_ROUTE, headers, requestId: everyAnswer.requestId(headers) };
    return complete(request, { status: 204, headers: everyAnswer.preflight, body: '' });
  }

  function complete({ method, route, headers, requestId }: Observed, reply: Reply): Answer {
    const { status } = reply;
    onRequest(method, route, status);
    if (log.isLevelEnabled('debug')) log.debug({ requestId, method, route, status }, 'request answered');
    return { reply, requestId, common: everyAnswer.common(headers) };
  }

  function pathOf(target: string): string | null {
    const end = target.indexOf('?');
    const path = end < 0 ? target : target.slice(0, end);
    if (receivers.has(path)) return path;
    const usual = PLAIN_PATH.test(path) ? path : usualSpelling(target);
    return receivers.has(usual) ? usual : null;
  }
}

/** Answers what Node's HTTP server has read. `others`: whatever is not sent to a front door. */
export function listenerFor(
  doorway: Doorway,
  { others, clock }: { others: RequestListener; clock: Clock },
): RequestListener {
  return (incoming, outgoing) => {
    const path = incoming.method === 'POST' ? doorway.pathOf(incoming.url!) : null;
    if (path === null) others(incoming, outgoing);
    else doorway.answer(path, nodeRequest(incoming, outgoing), (answer) => write(answer, incoming, outgoing));
  };

  function write({ reply, requestId, common }: Answer, incoming: IncomingMessage, outgoing: ServerResponse) {
    if (outgoing.destroyed) return;
    writeReply({ incoming, outgoing, clock }, reply, [[REQUEST_ID, requestId], ...common.list]);
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
