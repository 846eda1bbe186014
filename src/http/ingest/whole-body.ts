/**
 * From a body that is read whole to its events: how it is opened, whose it is, and whether they may send now. One step
 * calls the next, mostly at once; what a step needs is an argument, for the reason that `whenResolved` gives.
 */
import { createHash, hash } from 'node:crypto';
import { skewOf } from '../../event/clock-skew.ts';
import { type Decoded, decodeEvents } from '../../event/decode.ts';
import type { AsSent } from '../../event/decoding.ts';
import { type BodyProblem, isBodyProblem, type ScannedEvents } from '../../event/envelope.ts';
import { rawEventOf } from '../../event/raw-event.ts';
import type { Credential } from '../../pipeline/ports.ts';
import { type SyncOrAsync, whenResolved } from '../../runtime/sync-or-async.ts';
import type { RateLimit } from '../access/rate-limit.ts';
import { isRefusal } from '../answers/refusals.ts';
import { type Body, bodyLimits, readBody } from '../request/body.ts';
import type { DoorRequest } from '../request/door-request.ts';
import { runInTurns, type FairScheduler } from '../request/fair-scheduling.ts';
import type { ReadRequest } from './acceptance.ts';
import { type Arrival, NO_BYTES, type Voice, voiceOf } from './arrival.ts';
import { type ClientFacts, type ClientFactsOptions, clientFactsOf, NO_FACTS } from './client-facts.ts';
import type { DoorCredentials } from './door-credentials.ts';
import { type BodyShape, type Door, flatEvents, type Opened, type RequestHead } from './doors/door.ts';
import type { EventReading } from './event-reading.ts';
import { type IngestRefusal, NO_TOKEN_FOUND } from './ingest-refusals.ts';

/** A request whose body was read, or why it was not. */
export type Reading = SyncOrAsync<ReadRequest | IngestRefusal | 'aborted'>;

export type WholeBodyDeps = {
  readonly credentials: DoorCredentials;
  readonly rateLimit: RateLimit | null;
  readonly scheduler: FairScheduler;
  readonly eventReading: EventReading;
};

export type WholeBodyOptions = {
  readonly maxBodyBytes: number;
  readonly maxEvents?: number;
  readonly client?: ClientFactsOptions;
};

/** An opened body on its way: `asSent` and `token` as far as they matter to its door. */
type OpenedArrival = {
  readonly arrival: Arrival;
  readonly opened: Opened;
  /** The one in the body; null where none is there, or it does not matter. */
  readonly token: string | null;
  readonly asSent: AsSent | null;
};
type Admitted = OpenedArrival & { readonly credential: Credential };

/** The largest body that is scanned before its sender has shown a token: this takes some fifty microseconds. */
const MAX_BYTES_OPENED_FIRST = 16 * 1024;

/** The function that reads the whole body of a request to the door. Synchronous where nothing has to be waited for. */
export function createWholeBodyReader(
  door: Door,
  whole: Extract<BodyShape, { kind: 'whole' }>,
  { credentials, rateLimit, scheduler, eventReading }: WholeBodyDeps,
  options: WholeBodyOptions,
): (arrival: Arrival) => Reading {
  const isSdk = door.tokens !== undefined;
  const voices = new Map<Door, Voice>();
  const { sniffsGzip = false } = whole;
  const limitsFor = (isUnauthenticated: boolean, takesAnyBytes: boolean) =>
    bodyLimits({ maxBytes: options.maxBodyBytes, isUnauthenticated, sniffsGzip, takesAnyBytes });
  const ofKnown = limitsFor(false, false);
  const ofUnknown = limitsFor(true, false);

  return read;

  function read(arrival: Arrival): Reading {
    const { request, reservation, head } = arrival;
    const isUnknown = isUnauthenticated(arrival);
    const takesAnyBytes = whole.takesAnyBytes?.(head) ?? false;
    const limits = takesAnyBytes ? limitsFor(isUnknown, true) : isUnknown ? ofUnknown : ofKnown;
    return whenResolved(readBody(request, reservation, limits), openRead, arrival);
  }

  function isUnauthenticated({ fromHeaders }: Arrival) {
    return fromHeaders === null && !isSdk;
  }

  function openRead(body: Body, arrival: Arrival): Reading {
    if (body === 'aborted' || isRefusal(body)) return body;
    arrival.bytes = body.bytes;
    const isOpenedFirst = !isUnauthenticated(arrival) || body.bytes.length <= MAX_BYTES_OPENED_FIRST;
    return isOpenedFirst ? openWhenScheduled(arrival) : askForTokenFirst(arrival);
  }

  /**
   * A large body without a token in a header is opened only when the token inside is known to be valid: scanning costs
   * more than finding a token. Small ones are opened first, so that their senders learn of mistakes in the format.
   */
  function askForTokenFirst(arrival: Arrival): Reading {
    const token = whole.findToken?.(arrival.bytes) ?? null;
    if (token === null) return NO_TOKEN_FOUND;
    return whenResolved(credentials.fromBody(arrival.request, token, arrival.head), (credential) => {
      if (isRefusal(credential)) return credential;
      arrival.fromBody = { token, credential };
      return openWhenScheduled(arrival);
    });
  }

  function openWhenScheduled(arrival: Arrival): Reading {
    const turn = scheduler.take(arrival.bytes.length);
    return turn === null ? open(arrival) : turn.then(() => open(arrival));
  }

  function open(arrival: Arrival): Reading {
    return whenResolved(runInTurns(whole.open(arrival.bytes, options, arrival.head), scheduler), takeOpened, arrival);
  }

  function takeOpened(opened: Opened | BodyProblem, arrival: Arrival): Reading {
    if (isBodyProblem(opened)) return refusalOf(opened);
    const { speaksAs, parameters, token = null } = opened;
    if (speaksAs && speaksAs !== door) arrival.voice = voiceFor(speaksAs);
    if (parameters) arrival.head = withParameters(arrival.head, parameters);
    if (typeof token !== 'function') return takeToken(token, arrival, opened);
    const inBody = arrival.fromHeaders ? null : runInTurns(token(), scheduler);
    return whenResolved(inBody, (found) => takeToken(found, arrival, opened));
  }

  function takeToken(token: string | null, arrival: Arrival, opened: Opened): Reading {
    const { request, fromHeaders, fromBody, head } = arrival;
    const asSent = isSdk ? asSentBy(opened, credentials.deciding(head, token), factsOf(request, head)) : null;
    const known = fromHeaders ?? (fromBody?.token === token ? fromBody.credential : null);
    const openedArrival: OpenedArrival = { arrival, opened, token, asSent };
    return whenResolved(known ?? credentials.fromBody(request, token, head), takeCredential, openedArrival);
  }

  function takeCredential(credential: Credential | IngestRefusal, openedArrival: OpenedArrival): Reading {
    if (isRefusal(credential)) return credential;
    const { arrival, opened, token, asSent } = openedArrival;
    const admitted: Admitted = { arrival, opened, token, asSent, credential };
    return rateLimit === null
      ? takeEvents(admitted)
      : whenResolved(rateLimit(credential.projectId), (refusal) => refusal ?? takeEvents(admitted));
  }

  /** Only here: making many small events flat takes longer than all that comes before. */
  function takeEvents(admitted: Admitted): Reading {
    const { opened } = admitted;
    // Most events are read as they were sent, and most requests bring one: no steps for those.
    if (!opened.flatten) return requestOf(opened.events, admitted);
    return whenResolved(runInTurns(flatEvents(opened), scheduler), requestOrProblem, admitted);
  }

  function requestOrProblem(events: ScannedEvents | BodyProblem, admitted: Admitted): ReadRequest | IngestRefusal {
    return isBodyProblem(events) ? refusalOf(events) : requestOf(events, admitted);
  }

  function requestOf(events: ScannedEvents, admitted: Admitted): ReadRequest {
    const { arrival, opened, token, asSent, credential } = admitted;
    const { head, bytes, voice } = arrival;
    const { idempotencyKey = null, sentAt = null, sent } = opened;
    // The events have what they need of it.
    arrival.bytes = NO_BYTES;
    const capture = eventReading.captureOf(arrival, credential, { token, sentAt, client: asSent ?? NO_FACTS });
    return {
      credential,
      capture,
      key: idempotencyKey,
      bodyHash: () => hashOf(opened.repeated ?? [bytes]),
      eventCount: events.count,
      head,
      bodyBytes: bytes.length,
      door: voice.door,
      decode: () => decode(events, admitted, capture, sent),
    };
  }

  function decode(
    events: ScannedEvents,
    { arrival, opened: { sentAt = null }, asSent, credential }: Admitted,
    capture: ReadRequest['capture'],
    sent: Opened['sent'],
  ): SyncOrAsync<Decoded> {
    const { voice, receivedAt } = arrival;
    const skewMs = asSent === null ? skewOf(sentAt, receivedAt) : 0;
    return runInTurns(
      decodeEvents(
        events,
        eventReading.decodeEventOf(voice, credential, receivedAt, skewMs, asSent),
        capture && ((event, at, reason) => capture.take(at, reason, () => (sent ? sent(at) : rawEventOf(event)))),
        voice.door.listsAllRejections ? Infinity : undefined,
      ),
      scheduler,
    );
  }

  function factsOf(request: DoorRequest, head: RequestHead): ClientFacts {
    return options.client ? clientFactsOf(request, head, door, options.client) : NO_FACTS;
  }

  function voiceFor(speaking: Door): Voice {
    const known = voices.get(speaking) ?? voiceOf(speaking);
    voices.set(speaking, known);
    return known;
  }
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

function hashOf(parts: readonly Buffer[]): string {
  const [whole] = parts;
  if (parts.length === 1) return hash('sha256', whole!);
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest('hex');
}
