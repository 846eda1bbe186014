/**
 * The bodies of existing analytics clients: JSON under any `Content-Type`, a form with JSON or base64 in it, a list of
 * events, an object around one, or a single event. The shape decides.
 */
import { isUtf8 } from 'node:buffer';
import {
  type BodyProblem,
  jsonProblem,
  MAX_ENVELOPE_MEMBERS,
  type ScannedEvents,
  scanEvents,
  skipValue,
  TOO_MANY_EVENTS,
} from './envelope.ts';
import { hasTooManyFields, readForm, TOO_MANY_FIELDS } from './form.ts';
import { firstValue, isObject, problemOf } from './json-members.ts';
import {
  createJsonTape,
  isTooLarge,
  type JsonTape,
  MAX_EVENT_BYTES,
  MAX_EVENT_MEMBERS,
  noteUnusable,
  recordUsable,
} from './json-tape.ts';
import { createScanner, enter, isAtArray, isAtObject, nextKey, scanValue, type Scanner, skipSpace } from './json.ts';
import { createKeyFinder, type FindKey } from './names.ts';
import { stringOf } from './raw-json.ts';
import { BYTES_A_STEP, EVENTS_A_STEP, type Steps } from './steps.ts';

/** Where a client puts each part. */
export type SdkShape = {
  /** The members of an envelope that may list the events; empty where there is no envelope. */
  readonly lists: readonly string[];
  /**
   * Whether events may follow each other without a list around them. An envelope then has objects in its list and
   * nothing beside it; any other object is an event.
   */
  readonly mayFollow?: boolean;
};

export type SdkBody = {
  readonly events: ScannedEvents;
  /** The members of the envelope around them by name, raw; empty where there is none. */
  readonly envelope: ReadonlyMap<string, string>;
  /** The member of the envelope that listed them; null where there is none. */
  readonly list: string | null;
  /** Whether they follow each other, so that one that is no JSON takes the rest of its line. */
  readonly isByLine: boolean;
};

const NO_ENVELOPE: ReadonlyMap<string, string> = new Map();

/** Reads a body that was unwrapped. With more events than `maxEvents` it is refused, and not scanned to its end. */
export function* readSdkBody(
  body: Buffer,
  shape: SdkShape,
  maxEvents: number = Infinity,
): Steps<SdkBody | BodyProblem> {
  const text = isUtf8(body) ? body : Buffer.from(body.toString('utf8'));
  const scanner = createScanner(text);
  const events = createJsonTape(scanner);
  if (scanner.at === text.length) return following(events, false);
  if (isAtArray(scanner)) {
    yield* scanEvents(scanner, events, maxEvents);
    if (events.count > maxEvents) return TOO_MANY_EVENTS;
    return jsonProblem(scanner) ?? following(events, false);
  }
  if (!isAtObject(scanner)) return yield* notJson(scanner);
  const found = shape.lists.length === 0 ? null : yield* readEnvelope(scanner, events, shape, maxEvents);
  if (found !== null) return found;
  return yield* readFollowing(createScanner(text, scanner.text), events, shape.mayFollow ?? false, maxEvents);
}

/** By the members that may list events: families have a few, which are always the same. */
const listFinders = new WeakMap<readonly string[], FindKey>();

function listFinderOf(lists: readonly string[]): FindKey {
  const finder = listFinders.get(lists) ?? createKeyFinder(lists);
  listFinders.set(lists, finder);
  return finder;
}

/** What each member of an envelope takes among `members`: where its key begins and ends, and its value. */
const NUMBERS = 4;

/** The envelope around a list of events; null when there is no list, so that the object is an event. */
function* readEnvelope(
  scanner: Scanner,
  events: JsonTape,
  { lists, mayFollow = false }: SdkShape,
  maxEvents: number,
): Steps<SdkBody | BodyProblem | null> {
  const { bytes, text } = scanner;
  const findList = listFinderOf(lists);
  const members: number[] = [];
  let list: string | null = null;
  let memberCount = 0;
  let stepEnd = scanner.at + BYTES_A_STEP;
  enter(scanner);
  while (nextKey(scanner)) {
    memberCount += 1;
    const { keyStart, keyEnd, at: start } = scanner;
    const place = findList(bytes, text, keyStart, keyEnd);
    // Where objects may follow each other, one is an event unless it has nothing but the list.
    if (mayFollow && (memberCount > 1 || place < 0 || !isAtArray(scanner))) return notAnEnvelope(events);
    if (memberCount > MAX_EVENT_MEMBERS)
      return list === null ? null : invalid(`more than ${MAX_EVENT_MEMBERS} members beside "${list}"`);
    if (place < 0) {
      const isSmall = bytes.length - start <= MAX_EVENT_BYTES;
      if (!(isSmall ? scanValue(scanner) : yield* skipValue(scanner))) break;
      if (members.length < NUMBERS * MAX_ENVELOPE_MEMBERS) members.push(keyStart, keyEnd, start, scanner.at);
      if (scanner.at < stepEnd) continue;
      stepEnd = scanner.at + BYTES_A_STEP;
      yield;
      continue;
    }
    const name = lists[place]!;
    if (list !== null) return invalid(`"${list}" is there twice, or "${name}" beside it`);
    list = name;
    if (!isAtArray(scanner) && !text.startsWith('null', start)) return invalid(`"${name}" must be an array`);
    if (yield* scanEvents(scanner, events, maxEvents)) continue;
    if (events.count <= maxEvents) break;
    return mayFollow && !(yield* isListAlone(scanner, events, start)) ? notAnEnvelope(events) : TOO_MANY_EVENTS;
  }
  if (list === null) return null;
  if (mayFollow && (!isOfEvents(events) || isFollowed(scanner))) return notAnEnvelope(events);
  return jsonProblem(scanner) ?? { events, envelope: membersAt(text, members), list, isByLine: false };
}

/** Whether a list is one of events, as far as the first of them tells. */
function isOfEvents(events: JsonTape): boolean {
  const first = firstValue(events);
  return events.count === 0 || isObject(first) || problemOf(first) !== null;
}

/** Whether an object whose list at `start` has too many elements has nothing else, and is not followed by another. */
function* isListAlone(scanner: Scanner, events: JsonTape, start: number): Steps<boolean> {
  if (!isOfEvents(events)) return false;
  scanner.at = start;
  return !(yield* skipValue(scanner)) || (!nextKey(scanner) && !isFollowed(scanner));
}

function isFollowed({ bytes, at, problem }: Scanner): boolean {
  return problem === null && skipSpace(bytes, at) < bytes.length;
}

/** Forgets what was taken for events. */
function notAnEnvelope(events: JsonTape): null {
  events.length = 0;
  events.count = 0;
  events.problems.length = 0;
  return null;
}

function membersAt(text: string, places: readonly number[]): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  for (let i = 0; i < places.length; i += NUMBERS) {
    const name = stringOf(text.slice(places[i], places[i + 1]));
    members.set(name, text.slice(places[i + 2], places[i + 3]));
  }
  return members;
}

const LINE_END = 0x0a;

/**
 * Consecutive events, separated by white space, a line end, or nothing. Where they may follow each other, one that is no
 * JSON costs only itself: the next line begins another. As far as such a one was read, others must end on their lines;
 * otherwise each of its lines could be read as far again.
 */
function* readFollowing(
  scanner: Scanner,
  events: JsonTape,
  mayFollow: boolean,
  maxEvents: number,
): Steps<SdkBody | BodyProblem> {
  const { bytes } = scanner;
  let stepEnd = scanner.at + BYTES_A_STEP;
  let lastOfStep = EVENTS_A_STEP;
  let readTo = 0;
  for (;;) {
    const { at: start } = scanner;
    const { length: head } = events;
    if (start < readTo) scanner.bytes = bytes.subarray(0, lineEndIn(bytes, start));
    const isUsable = recordUsable(scanner, events);
    scanner.bytes = bytes;
    if (events.count > maxEvents) return TOO_MANY_EVENTS;
    if (isUsable) {
      const next = skipSpace(bytes, scanner.at);
      if (!mayFollow || next === bytes.length) return jsonProblem(scanner) ?? following(events, mayFollow);
      scanner.at = next;
    } else {
      readTo = Math.max(readTo, scanner.at, scanner.problemAt);
      const nextLine = mayFollow ? skipSpace(bytes, lineEndIn(bytes, start)) : bytes.length;
      const isLast = nextLine === bytes.length;
      const isAlone = events.count === 1 && isLast;
      if (isAlone && !isTooLarge(scanner, start)) return jsonProblem(scanner) ?? invalid('the body is not JSON');
      noteUnusable(scanner, events, start, head);
      if (isLast) return following(events, mayFollow);
      scanner.problem = null;
      scanner.at = nextLine;
    }
    if (scanner.at < stepEnd && events.count < lastOfStep) continue;
    stepEnd = scanner.at + BYTES_A_STEP;
    lastOfStep = events.count + EVENTS_A_STEP;
    yield;
  }
}

function following(events: ScannedEvents, isByLine: boolean): SdkBody {
  return { events, envelope: NO_ENVELOPE, list: null, isByLine };
}

/** The end of the line that `start` is in. */
function lineEndIn(bytes: Buffer, start: number): number {
  const end = bytes.indexOf(LINE_END, start);
  return end < 0 ? bytes.length : end;
}

function* notJson(scanner: Scanner): Steps<BodyProblem> {
  yield* skipValue(scanner);
  return jsonProblem(scanner) ?? invalid('the body must be an event, a list of events, or an object with one');
}

const invalid = (message: string): BodyProblem => ({ ok: false, code: 'invalid_envelope', message });

/** A field named `data` before anything that begins JSON. */
const FORM = /^(?:[^{["]*&)?data=/;
const FORM_LOOKED_AT = 4_096;

/** The fields of a body that is a form with its events in `data`; null for any other. */
export function formIn(body: Buffer): URLSearchParams | BodyProblem | null {
  const start = body.toString('latin1', 0, FORM_LOOKED_AT).trimStart();
  if (!FORM.test(start)) return null;
  const form = body.toString('utf8').trim();
  return hasTooManyFields(form) ? invalid(TOO_MANY_FIELDS) : readForm(form);
}

/** The JSON in a field of a form or a query: plain, or as base64 in either alphabet. */
export function unwrapField(data: string): Buffer {
  const text = data.trim();
  // A space stands for the original plus sign.
  const base64 = data.replaceAll(' ', '+');
  // The reader refuses anything else.
  return BASE64.test(base64) ? Buffer.from(base64, 'base64') : Buffer.from(text);
}

const BASE64 = /^[\w+/-]*=*$/;
