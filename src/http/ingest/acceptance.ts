/**
 * From a request that was read to its answer: once for each idempotency key, its events are decoded, take their place
 * in the channel, and are answered when they are as safe as the client asked.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Decoded } from '../../event/decode.ts';
import type { Accept } from '../../pipeline/accept.ts';
import type { Channel, Destination, Reservation } from '../../pipeline/channel-port.ts';
import type { Ledger } from '../../pipeline/ledger.ts';
import type { Credential } from '../../pipeline/ports.ts';
import type { RejectedKeeper } from '../../pipeline/rejected-keeper.ts';
import type { WatchedRequest, WatchPoint } from '../../pipeline/watch-port.ts';
import { ownText } from '../../runtime/own-text.ts';
import { type SyncOrAsync, whenResolved } from '../../runtime/sync-or-async.ts';
import { isRefusal } from '../answers/refusals.ts';
import type { DoorRequest } from '../request/door-request.ts';
import { type Ack, MAX_ACK_WAIT_MS, onceSettled, withAck } from './acknowledgement.ts';
import { bodyOf } from './door-refusals.ts';
import type { Door, DoorAnswer, RequestHead } from './doors/door.ts';
import type { Answer, Idempotency } from './idempotency.ts';
import type { RejectedCapture } from './rejected-capture.ts';
import { type IngestRefusal, KEY_UNAVAILABLE, NOT_REPLICATED, OFFER_REFUSALS, UNACCEPTED } from './ingest-refusals.ts';

export const MAX_KEY_LENGTH = 200;

export type AcceptanceDeps = {
  readonly channel: Channel;
  readonly accept: Accept;
  /** Told of every request while somebody looks. */
  readonly watch: WatchPoint;
  readonly idempotency: Idempotency;
  readonly ledger: Pick<Ledger, 'rejected'>;
  readonly clock: Clock;
  readonly newEventId: () => string;
  /** Told of the rejected events of every request that was answered. */
  readonly onRejected?: (door: ReadRequest['door'], rejected: RejectedPart) => void;
  /** Keeps rejected events; null where none are kept. */
  readonly keeper?: Pick<RejectedKeeper, 'hold' | 'hasRoom'> | null;
};

/** What is known of the rejected events of a request, and nothing of the others. */
export type RejectedPart = Pick<Decoded, 'rejected' | 'rejections' | 'kinds'>;

/** A request whose body was read. */
export type ReadRequest = {
  readonly credential: Credential;
  /** The idempotency key in the body. */
  readonly key: string | null;
  readonly bodyHash: () => string;
  /** Events sent, good or bad, as far as the number is known before decoding. */
  readonly eventCount: number;
  readonly decode: () => SyncOrAsync<Decoded>;
  readonly head: RequestHead;
  readonly bodyBytes: number;
  /** The door whose request it is: what it answers. */
  readonly door: Pick<Door, 'answer' | 'tokens' | 'contentType' | 'source'>;
  /** What `decode` copies of the events that it rejects; null where none are kept. */
  readonly capture: RejectedCapture | null;
};
/** What is known of a request apart from its body. */
export type RequestContext = {
  readonly request: DoorRequest;
  /** As the answer carries it. */
  readonly requestId: string;
  readonly receivedAt: number;
  readonly reservation: Reservation;
  readonly ack: Ack;
};
/** A request whose body is no longer needed. */
export type Entered = { readonly answering: SyncOrAsync<Answer | IngestRefusal> };
/** A request whose events are to be accepted. */
type Taking = {
  readonly context: RequestContext;
  readonly read: ReadRequest;
  /** Null without one. */
  readonly key: { readonly key: string; readonly bodyHash: string } | null;
};

export type Acceptance = {
  /** Returns before the wait for the answer begins: nothing that waits holds the body. */
  enter(context: RequestContext, read: ReadRequest): SyncOrAsync<Entered | IngestRefusal>;
};

/** Clients of others give up sooner than those who ask to wait. */
const MAX_SDK_WAIT_MS = 5_000;
/** Longer than any connection lasts. */
const MAX_SLEEP_MS = 24 * 60 * 60_000;

export function createAcceptance(deps: AcceptanceDeps): Acceptance {
  const { channel, accept, idempotency, ledger, clock, newEventId } = deps;

  const now = () => clock.now();

  return { enter };

  function enter(context: RequestContext, read: ReadRequest): SyncOrAsync<Entered | IngestRefusal> {
    const given = read.door.tokens ? undefined : (context.request.headers['idempotency-key'] as string | undefined);
    // It is remembered for a day.
    const key = given ?? (read.key === null ? null : ownText(read.key));
    if (key === null) return decodeAndEnter({ context, read, key });
    // The format's own limit has already applied.
    if (given === '' || (given && given.length > MAX_KEY_LENGTH)) {
      return {
        refused: 'invalid_query',
        message: `the idempotency key must have 1 to ${MAX_KEY_LENGTH} characters`,
      };
    }
    // Meanwhile, a request that waits for another with its key keeps its body and the room for it.
    const answering = onlyOnce({ context, read, key: { key, bodyHash: read.bodyHash() } });
    return answering.then(() => ({ answering }));
  }

  function decodeAndEnter(taking: Taking): SyncOrAsync<Entered | IngestRefusal> {
    return whenResolved(decodeScheduled(taking.read), enterDecoded, taking);
  }

  function decodeScheduled({ eventCount, decode }: ReadRequest): SyncOrAsync<Decoded | IngestRefusal> {
    // Ten mebibytes hold millions of tiny events: what can never be queued is not decoded first.
    return channel.couldHold(eventCount) ? decode() : OFFER_REFUSALS['never-fits'];
  }

  function enterDecoded(decoded: Decoded | IngestRefusal, taking: Taking): Entered | IngestRefusal {
    return isRefusal(decoded) ? decoded : { answering: takeIn(decoded, taking) };
  }

  function takeInDecoded(decoded: Decoded | IngestRefusal, taking: Taking): SyncOrAsync<Answer | IngestRefusal> {
    return isRefusal(decoded) ? decoded : takeIn(decoded, taking);
  }

  /**
   * Queues the events at once, since the room is reserved; only then may something have to wait. What waits must not
   * hold `taking`, and with it the body; it holds every variable that is used in it.
   */
  function takeIn(decoded: Decoded, taking: Taking): SyncOrAsync<Answer | IngestRefusal> {
    const { key } = taking;
    const { request, receivedAt, reservation, ack } = taking.context;
    const { credential, head, bodyBytes, door } = taking.read;
    const { projectId } = credential;
    const rejection = rejectionOf(taking.read, decoded);
    const answered = door.answer(decoded, { head, bodyBytes, receivedAt, newBatchId: newEventId, now });
    if (isRefusal(answered)) {
      rejection?.answered();
      return answered;
    }
    const headers = headersOf(answered, decoded.rejected, door);
    const answer: Answer = { status: answered.status, body: bodyOf(answered.body), ack: 'queued', headers };
    if (decoded.accepted === 0) {
      deps.watch.watcher?.took(watchedRequestOf(taking, decoded), null, null);
      rejection?.answered();
      return answer;
    }

    const settled = ack === 'stored' || ack === 'replicated' ? Promise.withResolvers<Destination>() : null;
    const envelope = { projectId, eventCount: decoded.accepted, rows: decoded.rows };
    const taken = accept(envelope, {
      level: ack === 'queued' ? 'queued' : 'journaled',
      reservation,
      answer:
        key === null
          ? undefined
          : { ...key, projectId, answer: JSON.stringify(withAck(answer, 'journaled')), at: receivedAt },
      onSettled: settled?.resolve,
    });
    if (typeof taken === 'string') {
      rejection?.refused();
      return OFFER_REFUSALS[taken];
    }
    const { watcher } = deps.watch;
    const watched = watcher?.took(watchedRequestOf(taking, decoded), envelope, taken);
    return taken.then((reached): Promise<Answer | IngestRefusal> | Answer | IngestRefusal => {
      if (reached !== 'queued' && reached !== 'journaled') {
        if (watched !== undefined) watcher?.refused(watched);
        rejection?.refused();
        return UNACCEPTED[reached];
      }
      if (settled === null || ack === 'stored' || reached === 'journaled') rejection?.answered();
      if (settled === null) return withAck(answer, reached);
      const maxWaitMs = door.tokens ? MAX_SDK_WAIT_MS : MAX_ACK_WAIT_MS;
      const waiting = (ms: number) =>
        onceSettled(request, answer, reached, settled.promise, { channel, clock, maxWaitMs: ms });
      if (ack === 'stored' || reached === 'journaled') return waiting(maxWaitMs);
      // Memory is less than was asked for. A key has to know what became of its events, however long that takes.
      return waiting(key ? MAX_SLEEP_MS : maxWaitMs).then((safest) => {
        if (safest.ack === 'queued') {
          rejection?.refused();
          return NOT_REPLICATED;
        }
        rejection?.answered();
        return safest;
      });
    });
  }

  /**
   * What is to be done about rejected events when the answer is certain: those of a request that is refused as a whole
   * will be sent again. Null without any. Holds nothing of the others while the answer is waited for.
   */
  function rejectionOf({ door, capture }: ReadRequest, { rejected, rejections, kinds }: Decoded): Rejection | null {
    if (rejected === 0) return null;
    const held = capture === null ? null : (deps.keeper?.hold(capture.captured()) ?? null);
    return {
      answered() {
        ledger.rejected += rejected;
        deps.onRejected?.(door, { rejected, rejections, kinds });
        held?.keep();
      },
      refused: () => held?.drop(),
    };
  }

  /** Not an async function: its frame would hold the request, and with it the body, until the answer is there. */
  function onlyOnce(taking: Taking & { readonly key: object }): Promise<Answer | IngestRefusal> {
    const { key, bodyHash } = taking.key;
    let refusal: IngestRefusal | null = null;
    let untaken: Taking | null = taking;
    const answering = idempotency.once(taking.read.credential.projectId, key, bodyHash, async () => {
      const entering = whenResolved(decodeScheduled(untaken!.read), takeInDecoded, untaken!);
      untaken = null;
      return whenResolved(entering, (taken) => {
        if (!isRefusal(taken)) return taken;
        refusal = taken;
        return null;
      });
    });
    return answering.then((answer) => {
      if (answer === 'mismatch') return { refused: 'idempotency_mismatch' };
      if (answer === 'unavailable') return KEY_UNAVAILABLE;
      return answer ?? refusal!;
    });
  }
}

type Rejection = { answered(): void; refused(): void };

function watchedRequestOf(
  { context: { requestId, receivedAt, ack }, read: { credential } }: Taking,
  { rejected }: Decoded,
): WatchedRequest {
  return { requestId, projectId: credential.projectId, receivedAt, rejected, ack };
}

/** What an answer has besides the headers of all answers of its door. */
function headersOf(
  { contentType = '' }: DoorAnswer,
  rejected: number,
  { tokens, contentType: usual = 'application/json' }: ReadRequest['door'],
): Answer['headers'] {
  if (tokens === undefined) return undefined;
  const isRejected = rejected > 0;
  if (contentType === '' && !isRejected) return undefined;
  return {
    'Content-Type': contentType === '' ? usual : contentType,
    ...(isRejected && { 'Weir-Rejected': String(rejected) }),
  };
}
