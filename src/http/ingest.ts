/**
 * The way of a request through any front door, in the order the contract fixes:
 * intake → credential → body → credential in the body → rate → decode → offer →
 * answer. A door only maps its wire format to rows and an outcome to an answer.
 */
import { hash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { type DecodeEvent, type Decoded, decodeEvents, decoderOf } from '../event/decode.ts';
import { type BodyProblem, isBodyProblem } from '../event/envelope.ts';
import type { Accept } from '../pipeline/accept.ts';
import type { Channel, Home, Reservation } from '../pipeline/channel.ts';
import { type Flags, closedBecause } from '../pipeline/flags.ts';
import type { Ledger } from '../pipeline/ledger.ts';
import type { Credential } from '../pipeline/ports.ts';
import {
  type Presented,
  NO_TOKEN,
  authorize,
  authorizeAnonymous,
  hasOwnPrefix,
  presented,
  presentedInHeaders,
} from './auth.ts';
import { readBody } from './body.ts';
import { type Awaitable, whenThere } from './awaitable.ts';
import type { Credentials } from './credentials.ts';
import type { DoorRequest } from './door-request.ts';
import type { Receive } from './doorway.ts';
import type { BodyShape, Door, DoorRefusal, Opened } from './doors/door.ts';
import type { Answer, Idempotency } from './idempotency.ts';
import { TOO_MANY, readLines } from './lines.ts';
import type { RateLimit } from './rate-limit.ts';
import { type Refusal as AnyRefusal, type RefusalCode, isRefusal, replyTo } from './refusals.ts';
import type { Reply } from './reply.ts';
import type { Turns } from './turns.ts';

/** What any front door may answer, besides what its own format refuses. Held by the compiler. */
export const INGEST_REFUSALS = [
  'invalid_query',
  'invalid_encoding',
  'unauthorized',
  'forbidden',
  'body_too_large',
  'unsupported_encoding',
  'idempotency_mismatch',
  'rate_limited',
  'internal',
  'ingest_disabled',
  'shutting_down',
  'ingest_down',
  'channel_full',
] as const satisfies readonly RefusalCode[];
type Refusal = AnyRefusal<(typeof INGEST_REFUSALS)[number] | DoorRefusal>;

export type IngestDeps = {
  readonly flags: Flags;
  readonly channel: Channel;
  readonly accept: Accept;
  /** Whether the journal, where there has to be one, would refuse a body of that many bytes; and why. */
  readonly journalRefusal: (bytes: number) => 'full' | 'failed' | null;
  readonly credentials: Credentials;
  readonly idempotency: Idempotency;
  readonly rateLimit: RateLimit | null;
  readonly turns: Turns;
  readonly ledger: Pick<Ledger, 'rejected'>;
  readonly clock: Clock;
  readonly newEventId: () => string;
};

export type IngestOptions = {
  readonly maxBodyBytes: number;
  readonly maxFutureMs: number;
  readonly defaultAck: Ack;
};

/** How safe accepted events must be before the answer. `journaled` is the highest level below `stored`. */
export const ACKS = ['queued', 'journaled', 'stored'] as const;
export type Ack = (typeof ACKS)[number];
type Level = 'queued' | 'journaled' | Home;
/** What `Weir-Ack` may say. */
export const LEVELS = ['queued', 'journaled', 'stored', 'dead-lettered'] as const satisfies readonly Level[];

/** How long an answer may wait for ClickHouse before it says how far the events have come. */
const MAX_ACK_WAIT_MS = 30_000;
export const MAX_KEY_LENGTH = 200;

type WholeBody = Extract<BodyShape, { kind: 'whole' }>;

/** A request that has been let in, as far as its headers tell. */
type Arrival = {
  readonly request: DoorRequest;
  readonly fromHeaders: Credential | null;
  readonly receivedAt: number;
  readonly reservation: Reservation;
  readonly ack: Ack;
};
/** A request whose body was read. */
type Read = {
  readonly credential: Credential;
  /** The idempotency key in the body. */
  readonly key: string | null;
  readonly bodyHash: () => string;
  /** Events sent, good or bad, as far as that is known before they are decoded. */
  readonly eventCount: number;
  readonly decode: () => Decoded;
};
/** A request whose body is not needed any more. */
type Entered = { readonly answering: Awaitable<Answer | Refusal> };
/** A request whose events are to be taken. */
type Taking = Pick<Arrival, 'request' | 'receivedAt' | 'reservation' | 'ack'> &
  Pick<Read, 'credential' | 'eventCount' | 'decode'> & {
    readonly key?: { readonly key: string; readonly bodyHash: string };
  };

/** What one front door does with a request. */
export function ingest(door: Door, deps: IngestDeps, options: IngestOptions): Receive {
  const {
    flags,
    channel,
    accept,
    journalRefusal,
    credentials,
    idempotency,
    rateLimit,
    turns,
    ledger,
    clock,
    newEventId,
  } = deps;
  const { body: shape } = door;
  const decoder = decoderOf(door.format);

  return (request) => {
    const closed = whyClosed(request);
    if (closed) return replyTo(closed);
    const ack = requestedAck(request.target, options.defaultAck);
    if (isObject(ack)) return replyTo(ack);

    const receivedAt = clock.now();
    return whenThere(credentialFromHeaders(request), (fromHeaders) => {
      if (fromHeaders && isRefusal(fromHeaders)) return replyTo(fromHeaders);
      const reservation = channel.reserve(fromHeaders ? 'known' : 'unknown');
      const arrival = { request, fromHeaders, receivedAt, reservation, ack };
      return whenThere(
        givingBack(reservation, () => enter(arrival)),
        replyWhenAnswered,
      );
    });
  };

  /**
   * Everything that needs the body. It ends before the answer is waited for, so that a body does not stay in
   * memory, unaccounted for, while its events are on their way to a store.
   */
  function enter(arrival: Arrival): Awaitable<Entered | Refusal | 'aborted'> {
    if (shape.kind === 'lines')
      return whenThere(readByLine(arrival, arrival.fromHeaders!), (read) => start(arrival, read));
    const { request, reservation } = arrival;
    return whenThere(readBody(request, reservation, { maxBytes: options.maxBodyBytes }), (body) => {
      if (body === 'aborted' || isRefusal(body)) return body;
      const { bytes } = body;
      const turn = turns.take(bytes.length);
      return turn === null ? openWhole(arrival, bytes, shape) : turn.then(() => openWhole(arrival, bytes, shape));
    });
  }

  function openWhole(arrival: Arrival, bytes: Buffer, whole: WholeBody): Awaitable<Entered | Refusal | 'aborted'> {
    return whenThere(readWhole(arrival, bytes, whole.open(bytes)), (read) => start(arrival, read));
  }

  function start(arrival: Arrival, read: Read | Refusal | 'aborted'): Awaitable<Entered | Refusal | 'aborted'> {
    if (read === 'aborted' || isRefusal(read)) return read;
    const { request, receivedAt, reservation, ack } = arrival;
    const { credential, eventCount, decode, bodyHash } = read;
    const taking = { request, credential, eventCount, decode, receivedAt, reservation, ack };
    const given = request.headers['idempotency-key'] as string | undefined;
    const key = given ?? read.key;
    if (key === null) return { answering: takeIn(taking) };
    // The format has judged its own.
    if (given === '' || (given && given.length > MAX_KEY_LENGTH)) {
      return {
        refused: 'invalid_query',
        message: `the idempotency key must have 1 to ${MAX_KEY_LENGTH} characters`,
      };
    }
    // A request that waits for another with its key keeps its body meanwhile, and the room for it.
    const answering = onlyOnce({ ...taking, key: { key, bodyHash: bodyHash() } });
    return answering.then(() => ({ answering }));
  }

  /** At once, unless something has to be asked: who it is, or whether there is too much of it. */
  function readWhole(
    { request, fromHeaders, receivedAt }: Arrival,
    bytes: Buffer,
    opened: Opened | BodyProblem,
  ): Awaitable<Read | Refusal> {
    if (isBodyProblem(opened)) return { refused: opened.code, message: opened.message };
    const { events, token = null, idempotencyKey = null } = opened;
    if (fromHeaders && !rateLimit) return readBy(fromHeaders);
    return askFirst();

    async function askFirst(): Promise<Read | Refusal> {
      const credential = fromHeaders ?? (await credentialFromBody(request, token));
      if (isRefusal(credential)) return credential;
      return (await rateLimit?.(credential.projectId)) ?? readBy(credential);
    }

    function readBy(credential: Credential): Read {
      return {
        credential,
        key: idempotencyKey,
        bodyHash: () => hash('sha256', bytes),
        eventCount: events.count,
        decode: () => decodeEvents(events, decodeEventOf(credential, receivedAt)),
      };
    }
  }

  /** Decoding is part of the reading here, so whatever can refuse the request has to do so before. */
  async function readByLine(
    { request, receivedAt, reservation }: Arrival,
    credential: Credential,
  ): Promise<Read | Refusal | 'aborted'> {
    const limited = rateLimit && (await rateLimit(credential.projectId));
    if (limited) return limited;
    const decodeEvent = decodeEventOf(credential, receivedAt);
    const lines = await readLines(
      request,
      { decodeEvent, reservation, couldHold: channel.couldHold },
      { maxBytes: options.maxBodyBytes },
    );
    if (lines === 'aborted' || isRefusal(lines)) return lines;
    const { decoded, bodyHash } = lines;
    const eventCount = decoded.accepted;
    return { credential, key: null, bodyHash: () => bodyHash, eventCount, decode: () => decoded };
  }

  function decodeEventOf({ projectId, retentionSeconds }: Credential, receivedAt: number): DecodeEvent {
    const { source } = door;
    return decoder({ projectId, retentionSeconds, receivedAt, source, maxFutureMs: options.maxFutureMs, newEventId });
  }

  function whyClosed({ body }: DoorRequest): Refusal | null {
    const closed = closedBecause(flags.facts());
    if (closed) return { refused: closed };
    // What Content-Length announces must have a chance; the room itself is taken as the bytes arrive,
    // so that a client which announces much and sends nothing holds nothing.
    const announced = Math.min(body.announcedBytes, options.maxBodyBytes) || 0;
    if (channel.isFull(announced)) return { refused: 'channel_full' };
    const trouble = journalRefusal(announced);
    return trouble === null ? null : JOURNAL_REFUSALS[trouble];
  }

  function credentialFromHeaders({ headers }: DoorRequest): Awaitable<Credential | Refusal> | null {
    const given = presentedInHeaders(headers);
    if (given !== null) return isRefusal(given) ? given : check(given, headers.origin);
    if (door.withoutHeader === 'token in body') return null;
    return door.withoutHeader === 'anonymous' ? authorizeAnonymous(credentials, headers.origin) : NO_TOKEN;
  }

  function credentialFromBody({ headers }: DoorRequest, token: string | null): Awaitable<Credential | Refusal> {
    if (token === null) {
      return {
        refused: 'unauthorized',
        challenge: 'invalid_request',
        message: 'no token: send Authorization: Bearer <token>, X-Api-Key, or "token" in the body',
      };
    }
    const given = presented(token);
    return isRefusal(given) ? given : check(given, headers.origin);
  }

  function check(given: Presented, origin: string | undefined): Awaitable<Credential | Refusal> {
    if (door.withoutHeader === 'token in body' && !hasOwnPrefix(given))
      return { refused: 'unauthorized', challenge: 'invalid_token' };
    return authorize(credentials, given, origin);
  }

  /** Decodes and takes its place at once, so that nothing can slip in between; only then may something have to be waited for. */
  function takeIn(taking: Taking): Awaitable<Answer | Refusal> {
    const { request, credential, eventCount, decode, receivedAt, reservation, ack, key } = taking;
    const { projectId } = credential;
    // Ten mebibytes hold millions of tiny events: what can never be queued is not decoded first.
    if (!channel.couldHold(eventCount)) return OFFER_REFUSALS['never-fits'];
    const decoded = decode();
    const { rejected } = decoded;
    const answered = door.answer(decoded, { newBatchId: newEventId, elapsedMs: Math.max(0, clock.now() - receivedAt) });
    if (isRefusal(answered)) {
      ledger.rejected += rejected;
      return answered;
    }
    const { status, body } = answered;
    const answer: Answer = { status, body: JSON.stringify(body), ack: 'queued' };
    if (decoded.accepted === 0) {
      ledger.rejected += rejected;
      return answer;
    }

    const settled = ack === 'stored' ? Promise.withResolvers<Home>() : null;
    const taken = accept(
      { projectId, eventCount: decoded.accepted, rows: decoded.rows },
      {
        level: ack === 'queued' ? 'queued' : 'journaled',
        reservation,
        answer: key && { ...key, projectId, answer: JSON.stringify({ ...answer, ack: 'journaled' }), at: receivedAt },
        onSettled: settled?.resolve,
      },
    );
    if (typeof taken === 'string') return OFFER_REFUSALS[taken];
    return taken.then((reached): Promise<Answer> | Answer | Refusal => {
      if (reached === 'not-journaled') return JOURNAL_REFUSALS.failed;
      ledger.rejected += rejected;
      return settled ? onceSettled(request, answer, reached, settled.promise) : { ...answer, ack: reached };
    });
  }

  /** Does not go on waiting for somebody who has gone. */
  async function onceSettled(
    { onGone }: DoorRequest,
    answer: Answer,
    reached: Level,
    settled: Promise<Home>,
  ): Promise<Answer> {
    channel.hurry();
    const done = new AbortController();
    const stop = () => done.abort('answered or gone');
    const off = onGone(stop);
    const waited = clock.sleep(MAX_ACK_WAIT_MS, done.signal);
    const level = await Promise.race([settled, waited.then(() => reached)]);
    off();
    stop();
    return { ...answer, ack: level };
  }

  /** No async function: its frame would hold the request, and with it the body, until the answer is there. */
  function onlyOnce(taking: Taking & Required<Pick<Taking, 'key'>>): Promise<Answer | Refusal> {
    const { key, bodyHash } = taking.key;
    let refusal: Refusal | null = null;
    let untaken: Taking | null = taking;
    const answering = idempotency.once(taking.credential.projectId, key, bodyHash, async () => {
      const now = untaken!;
      untaken = null;
      return whenThere(takeIn(now), (taken) => {
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

/** Gives the room back when the work has ended, however it did. */
function givingBack<T>(reservation: Reservation, work: () => Awaitable<T>): Awaitable<T> {
  let isWaited = false;
  try {
    const done = work();
    isWaited = done instanceof Promise;
    return done instanceof Promise ? done.finally(reservation.release) : done;
  } finally {
    if (!isWaited) reservation.release();
  }
}

const OFFER_REFUSALS: Record<'full' | 'over-share' | 'never-fits' | 'closed', Refusal> = {
  full: { refused: 'channel_full' },
  'over-share': { refused: 'rate_limited' },
  'never-fits': {
    refused: 'body_too_large',
    message: TOO_MANY,
  },
  closed: { refused: 'shutting_down' },
};

const JOURNAL_REFUSALS: Record<'full' | 'failed', Refusal> = {
  full: { refused: 'channel_full', message: 'the journal is full at the moment' },
  failed: { refused: 'ingest_down', message: 'events cannot be written to disk at the moment' },
};

const KEY_UNAVAILABLE: Refusal = {
  refused: 'ingest_down',
  retryAfterS: 1,
  message: 'whether this idempotency key was used cannot be told at the moment',
};

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Nobody is there to read the answer; a status only closes the books. */
const ABORTED: Reply = { status: 400, headers: {}, body: '' };

function replyWhenAnswered(entered: Entered | Refusal | 'aborted'): Awaitable<Reply> {
  if (entered === 'aborted') return ABORTED;
  return isRefusal(entered) ? replyTo(entered) : whenThere(entered.answering, replyOf);
}

function replyOf(answer: Answer | Refusal): Reply {
  if (isRefusal(answer)) return replyTo(answer);
  const { status, body, ack } = answer;
  return { status, headers: HEADERS.get(ack) ?? headersFor(ack), body };
}

const headersFor = (ack: string): Reply['headers'] => ({ 'Content-Type': 'application/json', 'Weir-Ack': ack });
/** The same object for each answer of a level: answers that begin alike are known by it. */
const HEADERS = new Map(LEVELS.map((level): [string, Reply['headers']] => [level, headersFor(level)]));

function requestedAck(target: string, byDefault: Ack): Ack | Refusal {
  const queryAt = target.indexOf('?');
  if (queryAt < 0) return byDefault;
  const query = new URLSearchParams(target.slice(queryAt));
  const wanted = query.get('ack');
  const wait = query.get('wait');
  if (wait !== null && wait !== 'true' && wait !== 'false') {
    return { refused: 'invalid_query', message: 'wait must be true or false' };
  }
  const ack = wanted === null ? byDefault : ACKS.find((known) => known === wanted);
  if (ack === undefined) return { refused: 'invalid_query', message: `ack must be one of ${ACKS.join(', ')}` };
  return wait === 'true' ? 'stored' : ack;
}
