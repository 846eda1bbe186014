/**
 * The path of a request through any front door, in the order that the contract fixes: intake → credential → body →
 * credential in the body → rate → decode → offer → answer. A door only maps its wire format to rows and an outcome to
 * an answer.
 */
import type { Reservation } from '../../pipeline/channel-port.ts';
import type { Credential } from '../../pipeline/ports.ts';
import { type SyncOrAsync, whenResolved } from '../../runtime/sync-or-async.ts';
import type { Credentials } from '../access/credentials.ts';
import type { RateLimit } from '../access/rate-limit.ts';
import { replyTo } from '../answers/refusal-reply.ts';
import { isRefusal } from '../answers/refusals.ts';
import type { Reply } from '../answers/reply.ts';
import type { DoorRequest } from '../request/door-request.ts';
import { hasTooManyParameters, queryReader } from '../request/request-target.ts';
import type { FairScheduler } from '../request/fair-scheduling.ts';
import { type AcceptanceDeps, type Entered, type ReadRequest, createAcceptance } from './acceptance.ts';
import { type Ack, type HighestAck, createAckHeaders, requestedAck } from './acknowledgement.ts';
import { type Arrival, NO_BYTES, type Voice, voiceOf } from './arrival.ts';
import { type ClientFactsOptions, NO_FACTS } from './client-facts.ts';
import { type AdmissionDeps, createAdmission } from './admission.ts';
import { createDoorCredentials } from './door-credentials.ts';
import type { Door } from './doors/door.ts';
import { createEventReading } from './event-reading.ts';
import type { Answer } from './idempotency.ts';
import { type IngestRefusal, TOO_MANY_PARAMETERS } from './ingest-refusals.ts';
import { readLines } from './ndjson-lines.ts';
import { createWholeBodyReader, type Reading } from './whole-body.ts';

export type IngestDeps = AcceptanceDeps &
  AdmissionDeps & {
    readonly credentials: Credentials;
    readonly rateLimit: RateLimit | null;
    readonly scheduler: FairScheduler;
  };

export type IngestOptions = {
  readonly maxBodyBytes: number;
  /** More events can never be queued, so a request with more is not read to its end. */
  readonly maxEvents?: number;
  readonly maxFutureMs: number;
  readonly defaultAck: Ack;
  /** absent: `stored`. */
  readonly highestAck?: HighestAck;
  /** What is stored of clients of other services besides what they send; absent: nothing. */
  readonly client?: ClientFactsOptions;
};

/** What is known of a request before its first check. */
type Newcomer = Pick<Arrival, 'request' | 'requestId' | 'receivedAt' | 'head'>;
/** What is known of it before its credential. */
type Asking = Newcomer & Pick<Arrival, 'ack'>;

/** Whom an answer is for that is still waited for. */
type Asker = Pick<Arrival, 'head'> & Pick<Voice, 'refuse'>;

type Entering = SyncOrAsync<Entered | IngestRefusal | 'aborted'>;

/** Handles requests to one path of one front door. */
export function ingest(
  door: Door,
  deps: IngestDeps,
  options: IngestOptions,
): (request: DoorRequest, path: string, requestId: string) => SyncOrAsync<Reply> {
  const { channel, rateLimit, scheduler, clock } = deps;
  const admission = createAdmission(deps, options);
  const credentials = createDoorCredentials(door, deps.credentials);
  const eventReading = createEventReading(door, { ...deps, credentials }, options);
  const acceptance = createAcceptance(deps);
  const ackHeaders = createAckHeaders(door.contentType ?? 'application/json');
  const isSdk = door.tokens !== undefined;
  const own = voiceOf(door);
  const read =
    door.body.kind === 'lines'
      ? readByLine
      : createWholeBodyReader(door, door.body, { credentials, rateLimit, scheduler, eventReading }, options);

  return (request, path, requestId) => {
    const { method, headers, target } = request;
    const head = { method, path, target, headers, query: queryReader(target) };
    if (door.declines?.(head)) return replyTo({ refused: 'not_found' });
    const newcomer: Newcomer = { request, requestId, receivedAt: clock.now(), head };
    return admission.admit(request, comeIn, newcomer, ABORTED);
  };

  function comeIn(
    closed: IngestRefusal | null,
    { request, requestId, receivedAt, head }: Newcomer,
  ): SyncOrAsync<Reply> {
    if (closed) return own.refuse(closed, head);
    if (hasTooManyParameters(request.target)) return own.refuse(TOO_MANY_PARAMETERS, head);
    const ack = isSdk ? options.defaultAck : requestedAck(head, options.defaultAck, options.highestAck);
    if (typeof ack !== 'string') return own.refuse(ack, head);
    const asking: Asking = { request, requestId, receivedAt, head, ack };
    return whenResolved(credentials.fromHeaders(request, head), comeInAs, asking);
  }

  function comeInAs(
    fromHeaders: Credential | IngestRefusal | null,
    { request, requestId, receivedAt, head, ack }: Asking,
  ): SyncOrAsync<Reply> {
    if (fromHeaders && isRefusal(fromHeaders)) return own.refuse(fromHeaders, head);
    const reservation = channel.reserve(fromHeaders ? 'known' : 'unknown');
    const context = { request, requestId, receivedAt, reservation, ack };
    const arrival: Arrival = { ...context, head, fromHeaders, bytes: NO_BYTES, fromBody: null, voice: own };
    return whenResolved(givingBack(reservation, enter, arrival), replyWhenEntered, arrival);
  }

  /**
   * Everything that needs the body. It returns before the wait for the answer begins, so that a body does not stay in
   * memory, unaccounted for, while its events are on their way to a store.
   */
  function enter(arrival: Arrival): Entering {
    return whenResolved(read(arrival), enterRead, arrival);
  }

  function enterRead(request: ReadRequest | IngestRefusal | 'aborted', arrival: Arrival) {
    return request === 'aborted' || isRefusal(request) ? request : acceptance.enter(arrival, request);
  }

  /** Here decoding is part of reading, so every check that can refuse the request comes before. */
  async function readByLine(arrival: Arrival): Promise<Awaited<Reading>> {
    const { request, head, receivedAt, reservation, voice } = arrival;
    // Such a door reads nothing without a token in a header.
    const credential = arrival.fromHeaders!;
    const limited = rateLimit && (await rateLimit(credential.projectId));
    if (limited) return limited;
    const decodeEvent = eventReading.decodeEventOf(voice, credential, receivedAt, 0, null);
    const capture = eventReading.captureOf(arrival, credential, { token: null, sentAt: null, client: NO_FACTS });
    const lines = await readLines(
      request,
      { decodeEvent, onRejected: capture?.take ?? null, reservation, couldHold: channel.couldHold, scheduler },
      { maxBytes: options.maxBodyBytes },
    );
    if (lines === 'aborted' || isRefusal(lines)) return lines;
    const { decoded, bodyHash } = lines;
    const eventCount = decoded.accepted;
    return {
      credential,
      key: null,
      bodyHash: () => bodyHash,
      eventCount,
      decode: () => decoded,
      capture,
      head,
      bodyBytes: 0,
      door: voice.door,
    };
  }

  /** Nothing that waits for the answer holds the arrival, which may hold the body. */
  function replyWhenEntered(
    entered: Entered | IngestRefusal | 'aborted',
    { head, voice: { refuse } }: Arrival,
  ): SyncOrAsync<Reply> {
    if (entered === 'aborted') return ABORTED;
    if (isRefusal(entered)) return refuse(entered, head);
    return whenResolved(entered.answering, replyWhenAnswered, { head, refuse });
  }

  function replyWhenAnswered(answer: Answer | IngestRefusal, { head, refuse }: Asker): Reply {
    return isRefusal(answer) ? refuse(answer, head) : replyOf(answer);
  }

  function replyOf({ status, body, ack, headers }: Answer): Reply {
    if (headers === undefined) return { status, headers: ackHeaders(ack), body };
    // Nothing was taken where the answer says that the request was bad.
    return { status, headers: { ...(status < 300 && ackHeaders(ack)), ...headers }, body };
  }
}

/** Does the work and releases the room when it ends, also by an error. */
function givingBack<T, Of>(reservation: Reservation, work: (of: Of) => SyncOrAsync<T>, of: Of): SyncOrAsync<T> {
  let isWaited = false;
  try {
    const done = work(of);
    isWaited = done instanceof Promise;
    return done instanceof Promise ? done.finally(() => reservation.release()) : done;
  } finally {
    if (!isWaited) reservation.release();
  }
}

/** The client has disconnected: the status is only counted. */
const ABORTED: Reply = { status: 400, headers: {}, body: '' };
