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
  stringOf,
  type Scanner,
} from './json.ts';
import { createTape, recordValue, type Tape } from './members.ts';
import { LATEST_INSTANT_MS, readInstant } from './timestamp.ts';
import { isRefusal, readText } from './text.ts';

const ENVELOPE_KEYS = ['token', 'events', 'batch_id', 'sent_at'] as const;
type EnvelopeKey = (typeof ENVELOPE_KEYS)[number];

/** The most characters the envelope's own texts may have. */
const MAX_TOKEN_LENGTH = 512;
const MAX_BATCH_ID_LENGTH = 200;

/** A request's events, scanned and not yet decoded. `count` says how many there are. */
export type ScannedEvents = Tape;

/** Why a body cannot be used at all: the code and the message of the answer. */
export type BodyProblem = {
  readonly ok: false;
  readonly code: 'invalid_json' | 'invalid_encoding' | 'invalid_envelope' | 'too_many_events';
  readonly message: string;
};

export type NativeEnvelope = {
  readonly ok: true;
  readonly token: string | null;
  readonly batchId: string | null;
  readonly events: ScannedEvents;
};

/**
 * Reads a native request body, `{"token"?, "events", "batch_id"?, "sent_at"?}`,
 * in one scan. What is wrong with a single event is not looked at here.
 */
export function readEnvelope(body: Buffer): NativeEnvelope | BodyProblem {
  const opened = openBody(body);
  if (isBodyProblem(opened)) return opened;
  const scanner = opened;
  if (!isAtObject(scanner)) {
    scanValue(scanner);
    return jsonProblem(scanner) ?? invalid('the body must be a JSON object with "events"');
  }

  const events = createTape(scanner);
  const raw: Partial<Record<EnvelopeKey, string>> = {};
  // A problem of the envelope waits for the end of the scan: a body that is not JSON is told so first.
  let problem: string | null = null;
  enter(scanner);
  while (nextKey(scanner)) {
    // Behind the first problem only JSON matters, and a million more keys cost nothing.
    const name = problem === null ? stringOf(scanner.text.slice(scanner.keyStart, scanner.keyEnd)) : '';
    const valueStart = scanner.at;
    if (name === 'events') {
      if (Object.hasOwn(raw, 'events')) problem ??= '"events" is there twice';
      if (!scanEvents(scanner, events)) break;
    } else if (!scanValue(scanner)) break;
    if (isEnvelopeKey(name)) raw[name] = scanner.text.slice(valueStart, scanner.at);
    else problem ??= unknownKey(name);
  }
  const broken = jsonProblem(scanner);
  if (broken) return broken;
  if (problem !== null) return invalid(problem);
  return checkedEnvelope(raw, events);
}

export function isBodyProblem(value: object): value is BodyProblem {
  return 'code' in value;
}

/** A scanner at the first value of a body; or why the body cannot be text, or is none. */
export function openBody(body: Buffer): Scanner | BodyProblem {
  if (!isUtf8(body)) return { ok: false, code: 'invalid_encoding', message: 'the body is not valid UTF-8' };
  const scanner = createScanner(body);
  return scanner.at === body.length ? { ok: false, code: 'invalid_json', message: 'the body is empty' } : scanner;
}

/** Scans the array (or other value) at the cursor and records its elements. False when it is not JSON. */
export function scanEvents(scanner: Scanner, events: Tape): boolean {
  if (!isAtArray(scanner)) return scanValue(scanner);
  enter(scanner);
  while (nextElement(scanner)) if (!recordValue(scanner, events)) return false;
  return scanner.problem === null;
}

/** Why the scanned body is not JSON as a whole; null when it is. */
export function jsonProblem(scanner: Scanner): BodyProblem | null {
  if (scanner.problem === null && isAtEnd(scanner)) return null;
  return { ok: false, code: 'invalid_json', message: scanner.problem ?? 'invalid JSON' };
}

function isEnvelopeKey(name: string): name is EnvelopeKey {
  return ENVELOPE_KEYS.some((key) => key === name);
}

function checkedEnvelope(
  raw: Readonly<Partial<Record<EnvelopeKey, string>>>,
  events: ScannedEvents,
): NativeEnvelope | BodyProblem {
  const { events: rawEvents = 'null', token: rawToken = 'null', batch_id: rawBatchId = 'null', sent_at = 'null' } = raw;
  if (rawEvents !== 'null' && rawEvents[0] !== '[') return invalid('"events" must be an array');
  const token = readText(rawToken, MAX_TOKEN_LENGTH);
  if (isRefusal(token)) return invalid(`"token" ${token.reason}`);
  const batchId = readText(rawBatchId, MAX_BATCH_ID_LENGTH);
  if (isRefusal(batchId)) return invalid(`"batch_id" ${batchId.reason}`);
  if (sent_at !== 'null' && typeof readInstant(sent_at, LATEST_INSTANT_MS) === 'string') {
    return invalid('"sent_at" must be an RFC 3339 time with an offset, or an epoch number');
  }
  return { ok: true, token: token && stringOf(token), batchId: batchId && stringOf(batchId), events };
}

function invalid(message: string): BodyProblem {
  return { ok: false, code: 'invalid_envelope', message };
}

/** The longest part of a client's key that is repeated to it. */
const MAX_QUOTED_LENGTH = 40;

function unknownKey(name: string): string {
  const quoted = JSON.stringify(name.length > MAX_QUOTED_LENGTH ? `${name.slice(0, MAX_QUOTED_LENGTH)}…` : name);
  const meant = ENVELOPE_KEYS.find((key) => isNear(name, key));
  return `unknown key ${quoted.toWellFormed()} in the envelope${meant ? `; did you mean "${meant}"?` : ''}`;
}

/** Whether a key is nearly always a typo of a known one: another spelling, or up to two characters off. */
function isNear(name: string, known: string): boolean {
  if (name.length > known.length + 3) return false;
  return editDistance(lettersOf(name), lettersOf(known)) <= 2;
}

function lettersOf(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, '');
}

/** How many characters must be added, removed or replaced to make `b` of `a` (Levenshtein). */
function editDistance(a: string, b: string): number {
  let distances = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (distances[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (distances[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    distances = next;
  }
  return distances[b.length] ?? 0;
}
