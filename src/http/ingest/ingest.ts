/**
 * The path of a request through any front door, in the order that the contract fixes: intake → credential → body →
 * credential in the body → rate → decode → offer → answer. A door only maps its wire format to rows and an outcome to
 * an answer.
 */
import { createHash, hash } from 'node:crypto';
import { skewOf } from '../../event/clock-skew.ts';
import { decodeEvents } from '../../event/decode.ts';
import { decoderOf } from '../../event/decoder.ts';
import type { AsSent, DecodeEvent, Decoder } from '../../event/decoding.ts';
import { type BodyProblem, isBodyProblem, type ScannedEvents } from '../../event/envelope.ts';
import { rawEventOf } from '../../event/raw-event.ts';
import type { Reservation } from '../../pipeline/channel-port.ts';
import type { Credential } from '../../pipeline/ports.ts';
import { type SyncOrAsync, whenResolved } from '../../runtime/sync-or-async.ts';
import type { Credentials } from '../access/credentials.ts';
import type { RateLimit } from '../access/rate-limit.ts';
import { replyTo } from '../answers/refusal-reply.ts';
import { isRefusal } from '../answers/refusals.ts';
import type { Reply } from '../answers/reply.ts';
import { readBody } from '../request/body.ts';
import type { DoorRequest } from '../request/door-request.ts';
import { hasTooManyParameters, queryReader } from '../request/request-target.ts';
import { runInTurns, type FairScheduler } from '../request/fair-scheduling.ts';
import {
  type AcceptanceDeps,
  type Entered,
  type ReadRequest,
  type RequestContext,
  createAcceptance,
} from './acceptance.ts';
import { type Ack, type HighestAck, createAckHeaders, requestedAck } from './acknowledgement.ts';
import { type ClientFacts, type ClientFactsOptions, clientFactsOf, NO_FACTS } from './client-facts.ts';
import { type AdmissionDeps, createAdmission } from './admission.ts';
import { createDoorCredentials } from './door-credentials.ts';
import { type Refuse, refuserOf } from './door-refusals.ts';
import { type BodyShape, type Door, flatEvents, type Opened, type RequestHead } from './doors/door.ts';
import type { Answer } from './idempotency.ts';
import { type IngestRefusal, NO_TOKEN_FOUND, TOO_MANY_PARAMETERS } from './ingest-refusals.ts';
import { readLines } from './ndjson-lines.ts';
import { createCapture, type RejectedCapture } from './rejected-capture.ts';

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

/** The largest body that is scanned before its sender has shown a token: this takes some fifty microseconds. */
const MAX_BYTES_OPENED_FIRST = 16 * 1024;

type BufferedBody = Extract<BodyShape, { kind: 'whole' }>;

/** How the door speaks whose request it is: the one at the path, or another that shares it. */
type Voice = { readonly door: Door; readonly decoder: Decoder; readonly refuse: Refuse };

/** An admitted request, as far as its headers tell. */
type Arrival = RequestContext & {
  readonly fromHeaders: Credential | null;
  /** The token that was found in the body before it was opened, and its owner. */
  readonly fromBody: { readonly token: string; readonly credential: Credential } | null;
  /** Known when the body was opened. */
  voice: Voice;
  head: RequestHead;
};

type Entering = SyncOrAsync<Entered | IngestRefusal | 'aborted'>;

/** Handles requests to one path of one front door. */
export function ingest(
  door: Door,
  deps: IngestDeps,
  options: IngestOptions,
): (request: DoorRequest, path: string, requestId: string) => SyncOrAsync<Reply> {
  const { channel, rateLimit, scheduler, clock, newEventId } = deps;
  const admission = createAdmission(deps, options);
  const credentials = createDoorCredentials(door, deps.credentials);
  const acceptance = createAcceptance(deps);
  const ackHeaders = createAckHeaders(door.contentType ?? 'application/json');
  const { body: shape } = door;
  const isSdk = door.tokens !== undefined;
  const own = voiceOf(door);
  const voices = new Map([[door, own]]);

  return (request, path, requestId) => {
    const { method, headers, target } = request;
    const head = { method, path, target, headers, query: queryReader(target) };
    if (door.declines?.(head)) return replyTo({ refused: 'not_found' });
    const receivedAt = clock.now();
    return admission.admit(
      request,
      (closed) => (closed ? own.refuse(closed, head) : comeIn(request, { requestId, receivedAt, head })),
      ABORTED,
    );
  };

  function comeIn(
    request: DoorRequest,
    { requestId, receivedAt, head }: Pick<Arrival, 'requestId' | 'receivedAt' | 'head'>,
  ): SyncOrAsync<Reply> {
    if (hasTooManyParameters(request.target)) return own.refuse(TOO_MANY_PARAMETERS, head);
    const ack = isSdk ? options.defaultAck : requestedAck(head, options.defaultAck, options.highestAck);
    if (typeof ack !== 'string') return own.refuse(ack, head);

    return whenResolved(credentials.fromHeaders(request, head), (fromHeaders) => {
      if (fromHeaders && isRefusal(fromHeaders)) return own.refuse(fromHeaders, head);
      const reservation = channel.reserve(fromHeaders ? 'known' : 'unknown');
      const context = { request, requestId, receivedAt, reservation, ack };
      const arrival: Arrival = { ...context, head, fromHeaders, fromBody: null, voice: own };
      return whenResolved(
        givingBack(reservation, () => enter(arrival)),
        (entered) => replyWhenAnswered(entered, arrival.head, arrival.voice.refuse),
      );
    });
  }

  function factsOf(request: DoorRequest, head: RequestHead): ClientFacts {
    return options.client ? clientFactsOf(request, head, door, options.client) : NO_FACTS;
  }

  function voiceFor(speaking: Door): Voice {
    const known = voices.get(speaking) ?? voiceOf(speaking);
    voices.set(speaking, known);
    return known;
  }

  /**
   * Everything that needs the body. It returns before the wait for the answer begins, so that a body does not stay in
   * memory, unaccounted for, while its events are on their way to a store.
   */
  function enter(arrival: Arrival): Entering {
    if (shape.kind === 'lines')
      return whenResolved(readByLine(arrival, arrival.fromHeaders!), (read) => enterRead(arrival, read));
    const { request, reservation, fromHeaders, head } = arrival;
    const { sniffsGzip = false } = shape;
    const isUnauthenticated = fromHeaders === null && !isSdk;
    const takesAnyBytes = shape.takesAnyBytes?.(head) ?? false;
    const limits = { maxBytes: options.maxBodyBytes, isUnauthenticated, sniffsGzip, takesAnyBytes };
    return whenResolved(readBody(request, reservation, limits), (body) => {
      if (body === 'aborted' || isRefusal(body)) return body;
      const { bytes } = body;
      const isOpenedFirst = !isUnauthenticated || bytes.length <= MAX_BYTES_OPENED_FIRST;
      return isOpenedFirst ? openWhenScheduled(arrival, bytes, shape) : askForTokenFirst(arrival, bytes, shape);
    });
  }

  /**
   * A large body without a token in a header is opened only when the token inside is known to be valid: scanning costs
   * more than finding a token. Small ones are opened first, so that their senders learn of mistakes in the format.
   */
  function askForTokenFirst(arrival: Arrival, bytes: Buffer, whole: BufferedBody): Entering {
    const token = whole.findToken?.(bytes) ?? null;
    if (token === null) return NO_TOKEN_FOUND;
    return whenResolved(credentials.fromBody(arrival.request, token, arrival.head), (credential) => {
      if (isRefusal(credential)) return credential;
      return openWhenScheduled({ ...arrival, fromBody: { token, credential } }, bytes, whole);
    });
  }

  function openWhenScheduled(arrival: Arrival, bytes: Buffer, whole: BufferedBody): Entering {
    const turn = scheduler.take(bytes.length);
    return turn === null ? openBuffered(arrival, bytes, whole) : turn.then(() => openBuffered(arrival, bytes, whole));
  }

  function openBuffered(arrival: Arrival, bytes: Buffer, whole: BufferedBody): Entering {
    return whenResolved(runInTurns(whole.open(bytes, options, arrival.head), scheduler), (opened) =>
      whenResolved(readBuffered(arrival, bytes, opened), (read) => enterRead(arrival, read)),
    );
  }

  function enterRead(arrival: Arrival, read: ReadRequest | IngestRefusal | 'aborted') {
    return read === 'aborted' || isRefusal(read) ? read : acceptance.enter(arrival, read);
  }

  /** Synchronous, unless a credential has to be looked up or the body is large. */
  function readBuffered(
    arrival: Arrival,
    bytes: Buffer,
    opened: Opened | BodyProblem,
  ): SyncOrAsync<ReadRequest | IngestRefusal> {
    if (isBodyProblem(opened)) return refusalOf(opened);
    const { speaksAs, parameters, token = null } = opened;
    if (speaksAs) arrival.voice = voiceFor(speaksAs);
    if (parameters) arrival.head = withParameters(arrival.head, parameters);
    if (typeof token !== 'function') return readOpened(arrival, bytes, opened, token);
    const inBody = arrival.fromHeaders ? null : runInTurns(token(), scheduler);
    return whenResolved(inBody, (found) => readOpened(arrival, bytes, opened, found));
  }

  /** `token`: the one in the body; null where none is there, or it does not matter. */
  function readOpened(
    arrival: Arrival,
    bytes: Buffer,
    opened: Opened,
    token: string | null,
  ): SyncOrAsync<ReadRequest | IngestRefusal> {
    const { request, fromHeaders, fromBody, receivedAt, voice, head } = arrival;
    const { idempotencyKey = null, sentAt = null, repeated = [bytes], sent } = opened;
    const asSent = isSdk ? asSentBy(opened, credentials.deciding(head, token), factsOf(request, head)) : null;
    const known = fromHeaders ?? (fromBody?.token === token ? fromBody.credential : null);
    return whenResolved(known ?? credentials.fromBody(request, token, head), (credential) => {
      if (isRefusal(credential)) return credential;
      const limited = rateLimit?.(credential.projectId) ?? null;
      return whenResolved(limited, (refusal) => refusal ?? readBy(credential));
    });

    /** Only here: making many small events flat takes longer than all that comes before. */
    function readBy(credential: Credential): SyncOrAsync<ReadRequest | IngestRefusal> {
      // Most events are read as they were sent, and most requests bring one: no steps for those.
      if (!opened.flatten) return readEvents(credential, opened.events);
      return whenResolved(runInTurns(flatEvents(opened), scheduler), (events) =>
        isBodyProblem(events) ? refusalOf(events) : readEvents(credential, events),
      );
    }

    function readEvents(credential: Credential, events: ScannedEvents): ReadRequest {
      const capture = captureOf(arrival, credential, { token, sentAt, client: asSent ?? NO_FACTS });
      return {
        credential,
        capture,
        key: idempotencyKey,
        bodyHash: () => hashOf(repeated),
        eventCount: events.count,
        head,
        bodyBytes: bytes.length,
        door: voice.door,
        decode: () => {
          const skewMs = asSent === null ? skewOf(sentAt, receivedAt) : 0;
          return runInTurns(
            decodeEvents(
              events,
              decodeEventOf(voice, credential, receivedAt, skewMs, asSent),
              capture && ((event, at, reason) => capture.take(at, reason, () => (sent ? sent(at) : rawEventOf(event)))),
              voice.door.listsAllRejections ? Infinity : undefined,
            ),
            scheduler,
          );
        },
      };
    }
  }

  /** Here decoding is part of reading, so every check that can refuse the request comes before. */
  async function readByLine(
    arrival: Arrival,
    credential: Credential,
  ): Promise<ReadRequest | IngestRefusal | 'aborted'> {
    const { request, head, receivedAt, reservation, voice } = arrival;
    const limited = rateLimit && (await rateLimit(credential.projectId));
    if (limited) return limited;
    const decodeEvent = decodeEventOf(voice, credential, receivedAt, 0, null);
    const capture = captureOf(arrival, credential, { token: null, sentAt: null, client: NO_FACTS });
    const lines = await readLines(
      request,
      { decodeEvent, onRejected: capture?.take ?? null, reservation, couldHold: channel.couldHold, scheduler },
      { maxBytes: options.maxBodyBytes },
    );
    if (lines === 'aborted' || isRefusal(lines)) return lines;
    const { decoded, bodyHash } = lines;
    const eventCount = decoded.accepted;
    const { door: speaking } = voice;
    return {
      credential,
      key: null,
      bodyHash: () => bodyHash,
      eventCount,
      decode: () => decoded,
      capture,
      head,
      bodyBytes: 0,
      door: speaking,
    };
  }

  /** Null where nothing is kept of what is rejected. */
  function captureOf(
    { voice, head, receivedAt }: Arrival,
    { projectId }: Credential,
    { token, sentAt, client: { ip, userAgent } }: { token: string | null; sentAt: number | null; client: ClientFacts },
  ): RejectedCapture | null {
    const { keeper } = deps;
    if (!keeper) return null;
    const path = voice === own ? head.path : voice.door.paths[0];
    const facts = { sentAt, ip, userAgent };
    return createCapture(
      { door: voice.door, projectId, path, receivedAt, facts, token: () => credentials.deciding(head, token) },
      { newId: newEventId, hasRoom: keeper.hasRoom },
    );
  }

  function decodeEventOf(
    { door: { source }, decoder }: Voice,
    { projectId, retentionSeconds }: Credential,
    receivedAt: number,
    skewMs: number,
    asSent: AsSent | null,
  ): DecodeEvent {
    const { maxFutureMs } = options;
    const context = { projectId, retentionSeconds, receivedAt, source, maxFutureMs, newEventId, skewMs };
    return decoder(asSent === null ? context : { ...context, asSent });
  }

  function replyWhenAnswered(
    entered: Entered | IngestRefusal | 'aborted',
    head: RequestHead,
    refuse: Refuse,
  ): SyncOrAsync<Reply> {
    if (entered === 'aborted') return ABORTED;
    if (isRefusal(entered)) return refuse(entered, head);
    return whenResolved(entered.answering, (answer) => (isRefusal(answer) ? refuse(answer, head) : replyOf(answer)));
  }

  function replyOf({ status, body, ack, headers }: Answer): Reply {
    if (headers === undefined) return { status, headers: ackHeaders(ack), body };
    // Nothing was taken where the answer says that the request was bad.
    return { status, headers: { ...(status < 300 && ackHeaders(ack)), ...headers }, body };
  }
}

function voiceOf(door: Door): Voice {
  return { door, decoder: decoderOf(door.format), refuse: refuserOf(door) };
}

const refusalOf = ({ code, message }: BodyProblem): IngestRefusal => ({ refused: code, message });

/** The parameters of the target win. */
function withParameters(head: RequestHead, parameters: URLSearchParams): RequestHead {
  const both = new URLSearchParams([...head.query(), ...parameters]);
  return { ...head, query: () => both };
}

function asSentBy({ sentAt = null, hint = null }: Opened, token: string | null, client: ClientFacts): AsSent {
  return { sentAt, hint, token, ...client };
}

/** Does the work and releases the room when it ends, also by an error. */
function givingBack<T>(reservation: Reservation, work: () => SyncOrAsync<T>): SyncOrAsync<T> {
  let isWaited = false;
  try {
    const done = work();
    isWaited = done instanceof Promise;
    return done instanceof Promise ? done.finally(reservation.release) : done;
  } finally {
    if (!isWaited) reservation.release();
  }
}

function hashOf(parts: readonly Buffer[]): string {
  const [whole] = parts;
  if (parts.length === 1) return hash('sha256', whole!);
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest('hex');
}

/** The client has disconnected: the status is only counted. */
const ABORTED: Reply = { status: 400, headers: {}, body: '' };
