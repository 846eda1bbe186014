/**
 * Separates requests to the front doors from all others, and answers them, whether a plain connection or Node's server
 * has read them: web objects around these cost more than everything Weir does with an event (decision 15).
 */
import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../log/log.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';
import { type DoorRequest, type Receive, nodeRequest } from '../request/door-request.ts';
import {
  type Audience,
  type CommonHeaders,
  type AnswerHeaders,
  REQUEST_ID,
  audienceAt,
} from '../answers/common-headers.ts';
import { replyTo } from '../answers/refusal-reply.ts';
import type { Refusal } from '../answers/refusals.ts';
import { type Reply, writeReply } from '../answers/reply.ts';
import { ANY_ROUTE, type ObserveRequest, type RouteKind } from '../description/route.ts';
import { foldedPath, pathIn } from '../request/request-target.ts';

/** What to write: a reply, and the headers of every answer. */
export type Answer = {
  readonly reply: Reply;
  readonly requestId: string;
  readonly common: CommonHeaders;
  /** When it was made, on the monotonic clock. */
  readonly madeAt: number;
};

export type Respond = (answer: Answer) => void;

/** Handles requests to one path of a front door. */
export type DoorReceiver = {
  /** The door's name in metrics and logs. */
  readonly route: string;
  /** Whether a request needs more headers than a plain connection reads. */
  readonly needsAllHeaders?: boolean;
  readonly receive: Receive;
  /** The door's own shape of refusals; absent: the common one. */
  readonly refuse?: (refusal: Refusal, request: DoorRequest) => Reply;
  /** Whether its path is also found with a slash behind it and with empty segments. */
  readonly isFoldable?: boolean;
  /** What is answered besides to a client that asks by OPTIONS what it may send. */
  readonly preflight?: (headers: IncomingHttpHeaders) => Readonly<Record<string, string>>;
};

export type DoorRouter = {
  /**
   * As `pathOf`, for a request of which only the headers are known that `plain-head.ts` names; also null where these do
   * not suffice.
   */
  plainPathOf(target: string): string | null;
  /** The place of the front door that the target of a request names, in whatever spelling; null when it names none. */
  pathOf(target: string, method?: 'POST' | 'GET'): string | null;
  /** The target with the usual spelling of its path, where that is a front door's, whatever the method. */
  usualTarget(target: string): string;
  /** Answers a request to that place: calls `respond` once, now or later. `startedAt`: on the monotonic clock. */
  answer(place: string, request: DoorRequest, startedAt: number, respond: Respond): void;
  /** Answers a CORS preflight. */
  preflight(target: string, headers: IncomingHttpHeaders): Answer;
  /** Answers a request that expects something before its body that nobody does. */
  refuseExpectation(method: string, target: string, headers: IncomingHttpHeaders): Answer;
};

const CANNOT_EXPECT: Refusal = { refused: 'invalid_request', message: 'of Expect only 100-continue is understood' };

export type DoorRouterDeps = {
  readonly answerHeaders: AnswerHeaders;
  readonly onRequest: ObserveRequest;
  readonly clock: Pick<Clock, 'elapsed'>;
  readonly log: Log;
};

type Observed = {
  readonly method: string;
  readonly route: string;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
  readonly kind: RouteKind;
  readonly audience: Audience;
  /** On the monotonic clock. */
  readonly startedAt: number;
};

/** Where a receiver is kept: requests to the native doors, all of them POST, are found by their path alone. */
export const placeOf = (method: 'POST' | 'GET', path: string): string => (method === 'POST' ? path : GET_PLACE + path);

const GET_PLACE = 'GET ';

/** `receivers`: by place, what takes requests to it. */
export function createDoorRouter(
  receivers: ReadonlyMap<string, DoorReceiver>,
  { answerHeaders, onRequest, clock, log }: DoorRouterDeps,
): DoorRouter {
  return { plainPathOf, pathOf, usualTarget, answer, preflight, refuseExpectation };

  function answer(place: string, request: DoorRequest, startedAt: number, respond: Respond) {
    const { method, headers } = request;
    const receiver = receivers.get(place)!;
    const { route } = receiver;
    const requestId = answerHeaders.requestId(headers);
    const asked = { method, route, headers, requestId, kind: 'ingest', audience: 'private', startedAt } as const;
    const reply = received(receiver, request, requestId);
    if (!(reply instanceof Promise)) return respond(complete(asked, reply));
    void reply.then(
      (given) => respond(complete(asked, given)),
      (error: unknown) => respond(complete(asked, failed(error, receiver, request, requestId))),
    );
  }

  function received(receiver: DoorReceiver, request: DoorRequest, requestId: string): SyncOrAsync<Reply> {
    try {
      return receiver.receive(request, requestId);
    } catch (error) {
      return failed(error, receiver, request, requestId);
    }
  }

  function failed(
    error: unknown,
    { route, refuse = replyTo }: DoorReceiver,
    request: DoorRequest,
    requestId: string,
  ): Reply {
    log.error({ err: error, requestId, path: route }, 'request failed');
    return refuse({ refused: 'internal' }, request);
  }

  function preflight(target: string, headers: IncomingHttpHeaders): Answer {
    const requestId = answerHeaders.requestId(headers);
    const startedAt = clock.elapsed();
    const audience = audienceAt(pathIn(target));
    const asked = { method: 'OPTIONS', route: ANY_ROUTE, headers, requestId, kind: 'other', startedAt } as const;
    const own = receivers.get(pathOf(target) ?? '')?.preflight?.(headers) ?? {};
    const answered = audience === 'machine' ? {} : { ...answerHeaders.preflight(headers), ...own };
    return complete({ ...asked, audience }, { status: 204, headers: answered, body: '' });
  }

  function refuseExpectation(method: string, target: string, headers: IncomingHttpHeaders): Answer {
    const requestId = answerHeaders.requestId(headers);
    const audience = audienceAt(pathIn(target));
    const startedAt = clock.elapsed();
    const asked = { method, route: ANY_ROUTE, headers, requestId, kind: 'other', audience, startedAt } as const;
    return complete(asked, { ...replyTo(CANNOT_EXPECT), status: 417 });
  }

  function complete(asked: Observed, reply: Reply): Answer {
    const { method, route, headers, requestId, kind, audience, startedAt } = asked;
    const { status, refused = null } = reply;
    const madeAt = clock.elapsed();
    onRequest({ method, route, kind, status, elapsedMs: madeAt - startedAt, refused });
    if (log.isLevelEnabled('debug')) log.debug({ requestId, method, route, status }, 'request answered');
    return { reply, requestId, common: answerHeaders.common(headers, audience), madeAt };
  }

  function plainPathOf(target: string): string | null {
    const path = pathOf(target);
    return path === null || receivers.get(path)!.needsAllHeaders ? null : path;
  }

  function pathOf(target: string, method: 'POST' | 'GET' = 'POST'): string | null {
    const end = target.indexOf('?');
    const path = end < 0 ? target : target.slice(0, end);
    if (method === 'POST' && receivers.has(path)) return path;
    const usual = placeOf(method, pathIn(target));
    if (receivers.has(usual)) return usual;
    const folded = placeOf(method, foldedPath(pathIn(target)));
    return receivers.get(folded)?.isFoldable ? folded : null;
  }

  function usualTarget(target: string): string {
    const path = pathOf(target) ?? pathOf(target, 'GET')?.slice(GET_PLACE.length) ?? null;
    const end = target.indexOf('?');
    return path === null ? target : path + (end < 0 ? '' : target.slice(end));
  }
}

/** Answers what Node's HTTP server has read. `others`: requests to anything but a front door. */
export function listenerFor(
  doorRouter: DoorRouter,
  { others, clock }: { others: RequestListener; clock: Clock },
): RequestListener {
  return (incoming, outgoing) => {
    const { method, headers } = incoming;
    // Nothing but a webhook asks anything that its own path answers.
    if (method === 'OPTIONS' && headers['webhook-request-origin'] !== undefined) {
      return write(doorRouter.preflight(incoming.url!, headers), incoming, outgoing);
    }
    const place = method === 'POST' || method === 'GET' ? doorRouter.pathOf(incoming.url!, method) : null;
    if (place !== null) {
      const request = nodeRequest(incoming, outgoing);
      return doorRouter.answer(place, request, clock.elapsed(), (answer) => write(answer, incoming, outgoing));
    }
    // A wrong method is refused at every spelling of a path.
    incoming.url = doorRouter.usualTarget(incoming.url!);
    others(incoming, outgoing);
  };

  function write(answer: Answer, incoming: IncomingMessage, outgoing: ServerResponse) {
    writeAnswer({ incoming, outgoing, clock }, answer);
  }
}

/** Writes an answer through Node's response, unless its client is gone. */
export function writeAnswer(to: Parameters<typeof writeReply>[0], { reply, requestId, common }: Answer): void {
  if (!to.outgoing.destroyed) writeReply(to, reply, [[REQUEST_ID, requestId], ...common.list]);
}
