import { isUtf8 } from 'node:buffer';
import {
  createScanner,
  enter,
  isAtArray,
  isAtEnd,
  isAtObject,
  nextElement,
  nextKey,
  scanValue,
  type Scanner,
} from './json.ts';
import { stringOf } from './raw-json.ts';
import {
  createJsonTape,
  MAX_EVENT_BYTES,
  missingEndOf,
  recordUnusable,
  recordUsable,
  skipDamaged,
  VIEW_MARGIN,
  type JsonTape,
} from './json-tape.ts';
import { BYTES_A_STEP, type Steps } from './steps.ts';
import { isSimilarName } from './similar-names.ts';
import { LATEST_INSTANT_MS, readInstant } from './timestamp.ts';
import { isRefusal, readText } from './text.ts';
import { substituteBadBytes } from './utf8.ts';

const ENVELOPE_KEYS = ['token', 'events', 'batch_id', 'sent_at'] as const;
type EnvelopeKey = (typeof ENVELOPE_KEYS)[number];

/** The most characters of the envelope's own texts. */
const MAX_TOKEN_LENGTH = 512;
const MAX_BATCH_ID_LENGTH = 200;
/** The most members of a body beside its events: only the envelope's own few have a meaning. */
export const MAX_ENVELOPE_MEMBERS = 1_000;
export const TOO_MANY_MEMBERS = `more than ${MAX_ENVELOPE_MEMBERS} members besides "events"`;

/** Why a request with more events than the channel can ever hold is refused. */
export const TOO_MANY = 'more events than this service could ever hold at once; send them in parts';

/** A request's events, scanned and not yet decoded. `count` says how many there are. */
export type ScannedEvents = JsonTape;

/** Why a whole body is unusable: the code and the message of the answer. */
export type BodyProblem = {
  readonly ok: false;
  readonly code: 'invalid_json' | 'invalid_encoding' | 'invalid_envelope' | 'too_many_events' | 'body_too_large';
  readonly message: string;
};

/** The refusal of a request with more events than the channel can ever hold. */
export const TOO_MANY_EVENTS: BodyProblem = { ok: false, code: 'body_too_large', message: TOO_MANY };

export type NativeEnvelope = {
  readonly ok: true;
  readonly token: string | null;
  readonly batchId: string | null;
  /** When the request was sent by the sender's clock, in epoch milliseconds; null when it does not say. */
  readonly sentAt: number | null;
  readonly events: ScannedEvents;
  /** The body without its sending time: the part that is the same when it is sent again. */
  readonly repeated: readonly Buffer[];
};

/**
 * Reads a native request body, `{"token"?, "events", "batch_id"?, "sent_at"?}`, in one scan. Problems of single events
 * are not examined here. With more events than `maxEvents` it is not scanned to its end.
 */
export function* readEnvelope(
  body: Buffer,
  { maxEvents }: { maxEvents: number } = { maxEvents: Infinity },
): Steps<NativeEnvelope | BodyProblem> {
  const opened = yield* openBody(body);
  if (isBodyProblem(opened)) return opened;
  const scanner = opened;
  if (!isAtObject(scanner)) {
    yield* skipValue(scanner);
    return jsonProblem(scanner) ?? invalid('the body must be a JSON object with "events"');
  }

  const events = createJsonTape(scanner);
  const raw: Partial<Record<EnvelopeKey, string>> = {};
  // A problem of the envelope waits for the end of the scan: for a body that is not JSON, that problem comes first.
  let problem: string | null = null;
  let keptTo = 0;
  let cutter: Cutter | null = null;
  let memberCount = 0;
  enter(scanner);
  while (nextKey(scanner)) {
    memberCount += 1;
    if (memberCount > MAX_ENVELOPE_MEMBERS) return invalid(problem ?? TOO_MANY_MEMBERS);
    // Behind the first problem only valid JSON matters, and a million more keys cost nothing.
    const name = problem === null ? stringOf(scanner.text.slice(scanner.keyStart, scanner.keyEnd)) : '';
    const { keyStart, at: valueStart } = scanner;
    if (name === 'events') {
      if (Object.hasOwn(raw, 'events')) problem ??= '"events" appears twice';
      if (!(yield* scanEvents(scanner, events, maxEvents))) break;
    } else if (!(yield* skipValue(scanner)) && !(name === 'sent_at' && (yield* skipDamaged(scanner, valueStart))))
      break;
    if (name === 'sent_at') cutter ??= createCutter(body, keptTo);
    cutter?.member(keyStart, scanner.at, name === 'sent_at');
    keptTo = scanner.at;
    if (isEnvelopeKey(name)) raw[name] = scanner.text.slice(valueStart, scanner.at);
    else problem ??= unknownKey(name);
  }
  if (events.count > maxEvents) return TOO_MANY_EVENTS;
  const broken = jsonProblem(scanner);
  if (broken) return broken;
  if (problem !== null) return invalid(problem);
  return checkedEnvelope(raw, events, cutter?.finish() ?? [body]);
}

export function isBodyProblem(value: object): value is BodyProblem {
  return (value as Partial<BodyProblem>).code !== undefined;
}

type Cutter = {
  /** Reports the position of the next member. */
  member(keyStart: number, end: number, isCut: boolean): void;
  finish(): readonly Buffer[];
};

/**
 * Cuts members out of an object's text, each with one comma, so that the rest reads as if they had not been sent.
 * `keptTo`: the end of the last member before the next; 0 when there is none.
 */
function createCutter(text: Buffer, keptTo: number): Cutter {
  const parts: Buffer[] = [];
  let partStart = 0;
  /** Start of a cut that extends to the next member's key; -1 outside of one. */
  let openCut = -1;

  return {
    member(keyStart: number, end: number, isCut: boolean) {
      if (openCut >= 0) partStart = keyStart;
      openCut = -1;
      if (!isCut) {
        keptTo = end;
        return;
      }
      const cutStart = keptTo === 0 ? keyStart : keptTo;
      if (cutStart > partStart) parts.push(text.subarray(partStart, cutStart));
      if (keptTo === 0) openCut = keyStart;
      partStart = end;
    },
    finish: () => [...parts, text.subarray(partStart)],
  };
}

/**
 * A scanner at the first value of a body, or why there is none. Bytes that are not text are left for the scan to
 * reject.
 */
export function* openBody(body: Buffer): Steps<Scanner | BodyProblem> {
  const scanner = isUtf8(body) ? createScanner(body) : createScanner(yield* substituteBadBytes(body), undefined, true);
  return scanner.at === body.length ? { ok: false, code: 'invalid_json', message: 'the body is empty' } : scanner;
}

/**
 * Scans the array (or other value) at the cursor and records its elements, including unusable ones. False when it is
 * not JSON and the end of such an element cannot be determined; also with more than `maxEvents`, which are not all
 * scanned.
 */
export function* scanEvents(scanner: Scanner, events: JsonTape, maxEvents: number): Steps<boolean> {
  if (!isAtArray(scanner)) return yield* skipValue(scanner);
  enter(scanner);
  let stepEnd = scanner.at + BYTES_A_STEP;
  while (nextElement(scanner)) {
    const { at: start } = scanner;
    const { length: head } = events;
    if (!recordUsable(scanner, events) && !(yield* recordUnusable(scanner, events, start, head))) return false;
    if (events.count > maxEvents) return false;
    if (scanner.at < stepEnd) continue;
    stepEnd = scanner.at + BYTES_A_STEP;
    yield;
  }
  return scanner.problem === null;
}

/** As `scanValue`, for a value that is no event. For one larger than an event may be, only the end is searched. */
export function* skipValue(scanner: Scanner): Steps<boolean> {
  const { bytes, at: start } = scanner;
  if (bytes.length - start <= MAX_EVENT_BYTES) return scanValue(scanner);
  scanner.bytes = bytes.subarray(0, start + MAX_EVENT_BYTES + VIEW_MARGIN);
  const isScanned = scanValue(scanner);
  scanner.bytes = bytes;
  if ((isScanned ? scanner.at : scanner.problemAt) - start <= MAX_EVENT_BYTES) return isScanned;
  scanner.problem = missingEndOf(start);
  return yield* skipDamaged(scanner, start);
}

/** Why the scanned body as a whole is not JSON; null when it is. */
export function jsonProblem(scanner: Scanner): BodyProblem | null {
  if (scanner.problem === null && isAtEnd(scanner)) return null;
  if (scanner.hadBadBytes) return { ok: false, code: 'invalid_encoding', message: 'the body is not valid UTF-8' };
  return { ok: false, code: 'invalid_json', message: scanner.problem ?? 'invalid JSON' };
}

function isEnvelopeKey(name: string): name is EnvelopeKey {
  return ENVELOPE_KEYS.some((key) => key === name);
}

function checkedEnvelope(
  raw: Readonly<Partial<Record<EnvelopeKey, string>>>,
  events: ScannedEvents,
  repeated: readonly Buffer[],
): NativeEnvelope | BodyProblem {
  const { events: rawEvents = 'null', token: rawToken = 'null', batch_id: rawBatchId = 'null', sent_at = 'null' } = raw;
  if (rawEvents !== 'null' && rawEvents[0] !== '[') return invalid('"events" must be an array');
  const token = readText(rawToken, MAX_TOKEN_LENGTH);
  if (isRefusal(token)) return invalid(`"token" ${token.reason}`);
  const batchId = readText(rawBatchId, MAX_BATCH_ID_LENGTH);
  if (isRefusal(batchId)) return invalid(`"batch_id" ${batchId.reason}`);
  // An unreadable time counts as absent: only the correction of the events' clocks depends on it.
  const sentAt = readInstant(sent_at, LATEST_INSTANT_MS);
  return {
    ok: true,
    token: token && stringOf(token),
    batchId: batchId && stringOf(batchId),
    sentAt: typeof sentAt === 'number' ? sentAt : null,
    events,
    repeated,
  };
}

function invalid(message: string): BodyProblem {
  return { ok: false, code: 'invalid_envelope', message };
}

/** How much of a client's key an answer repeats. */
const MAX_QUOTED_LENGTH = 40;

function unknownKey(name: string): string {
  const quoted = JSON.stringify(name.length > MAX_QUOTED_LENGTH ? `${name.slice(0, MAX_QUOTED_LENGTH)}…` : name);
  const meant = ENVELOPE_KEYS.find((key) => isSimilarName(name, key));
  return `unknown key ${quoted.toWellFormed()} in the envelope${meant ? `; did you mean "${meant}"?` : ''}`;
}
