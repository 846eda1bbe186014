/**
 * Scanned objects as numbers. Events are scanned once, together with the request's body, but can be decoded only when
 * the project is known; in between, a few numbers per member are kept instead of a JavaScript object per member, so
 * that a hostile body costs only a small multiple of its size (16 bytes for a member, which has at least 5).
 */
import { endOfDamaged } from './damage.ts';
import { MAX_LISTED_REJECTIONS } from './event.ts';
import { enter, isAtObject, nextKey, scanValue, type Scanner } from './json.ts';
import type { Steps } from './steps.ts';

/**
 * The most bytes of one event as sent: white space, escapes and fields sent twice make it larger than its row. A larger
 * value is not read; only its end is searched.
 */
export const MAX_EVENT_BYTES = 1024 * 1024;
/** The most direct members of an event, not counting nested ones: several numbers are kept for each. */
export const MAX_EVENT_MEMBERS = 10_000;

export const TOO_LARGE = 'event too large: more than 1 MiB as it was sent';
export const TOO_MANY_MEMBERS = `event too large: more than ${MAX_EVENT_MEMBERS} fields`;

/** Scanned values one after the other; created by `createJsonTape`, filled by `recordValue`. */
export type JsonTape = {
  /** The document the numbers point into. */
  readonly bytes: Buffer;
  /** The same bytes as byte text. */
  readonly text: string;
  /** Whether there are line ends between its tokens, where JSON allows them. */
  readonly hasLineEnds: boolean;
  /**
   * Per value: the depth of its deepest member, its number of members (-1: it is no object), 1 if something in it is
   * unreadable to ClickHouse, four numbers for each member. For an unusable value: its place among the problems, and -2.
   * Of what is no object or unusable, the third number is where it begins.
   */
  numbers: Int32Array;
  length: number;
  /** How many values were recorded. */
  count: number;
  /** What is wrong with the first unusable values: as many as an answer can list. */
  readonly problems: string[];
  /** The part of the document that is examined for one value: beyond `MAX_EVENT_BYTES` from the value's start. */
  view: Buffer;
};

export const VALUE_NUMBERS = 3;
export const MEMBER_NUMBERS = 4;
export const UNUSABLE = -2;
/** What is said of an unusable value behind those whose problems are kept. */
export const UNKNOWN_PROBLEM = 'invalid JSON';

const NO_NUMBERS = new Int32Array(0);
const NO_BYTES = Buffer.alloc(0);
/** Memory of a tape that is no longer read: allocating takes longer than reading a short event. */
let spare: Int32Array = NO_NUMBERS;
/** What a request of half a megabyte takes; larger ones are not kept. */
const MAX_SPARE_NUMBERS = 64 * 1024;

export function createJsonTape({ bytes, text }: Scanner): JsonTape {
  // One number for eight bytes is what ordinary events take.
  return {
    bytes,
    text,
    hasLineEnds: text.includes('\n') || text.includes('\r'),
    numbers: numbersFor(64 + (text.length >> 3)),
    length: 0,
    count: 0,
    problems: [],
    view: NO_BYTES,
  };
}

/** Memory for about so many numbers of a tape, which `discardJsonTape` gives back. */
export function numbersFor(expected: number): Int32Array {
  const numbers = expected <= spare.length ? spare : new Int32Array(expected);
  if (numbers === spare) spare = NO_NUMBERS;
  return numbers;
}

/** Numbers with room for that many: the same, or a larger copy. */
export function withRoomFor(length: number, numbers: Int32Array): Int32Array {
  if (length <= numbers.length) return numbers;
  const larger = new Int32Array(2 * length);
  larger.set(numbers);
  return larger;
}

/** Ends the use of a tape and of everything read from it except strings. */
export function discardJsonTape(tape: JsonTape): void {
  const { length } = tape.numbers;
  if (length > spare.length && length <= MAX_SPARE_NUMBERS) spare = tape.numbers;
  tape.numbers = NO_NUMBERS;
}

/** Scans the value at the cursor and records it. False when it is not JSON, or has more than `MAX_EVENT_MEMBERS`. */
export function recordValue(scanner: Scanner, tape: JsonTape): boolean {
  const head = tape.length;
  const { at: start } = scanner;
  reserve(tape, VALUE_NUMBERS);
  tape.count += 1;
  let deepest = 0;
  let memberCount = -1;
  scanner.hasUnreadable = false;
  if (isAtObject(scanner)) {
    memberCount = 0;
    enter(scanner);
    while (nextKey(scanner)) {
      const { keyStart, keyEnd, at: valueStart } = scanner;
      if (memberCount === MAX_EVENT_MEMBERS) scanner.problem = TOO_MANY_MEMBERS;
      if (scanner.problem !== null || !scanValue(scanner)) return false;
      if (scanner.deepest > deepest) deepest = scanner.deepest;
      const place = tape.length;
      reserve(tape, MEMBER_NUMBERS);
      const { numbers } = tape;
      numbers[place] = keyStart;
      numbers[place + 1] = keyEnd;
      numbers[place + 2] = valueStart;
      numbers[place + 3] = scanner.at;
      memberCount += 1;
    }
  } else if (!scanValue(scanner)) return false;
  tape.numbers[head] = deepest;
  tape.numbers[head + 1] = memberCount;
  tape.numbers[head + 2] = memberCount < 0 ? start : scanner.hasUnreadable ? 1 : 0;
  return scanner.problem === null;
}

/** Scans and records the value at the cursor. False where it is unusable: `recordUnusable` must follow. */
export function recordUsable(scanner: Scanner, tape: JsonTape): boolean {
  const { at: start, bytes } = scanner;
  if (bytes.length - start <= MAX_EVENT_BYTES) return recordValue(scanner, tape);
  scanner.bytes = viewFrom(tape, start);
  const isRecorded = recordValue(scanner, tape);
  scanner.bytes = bytes;
  return isRecorded && scanner.at - start <= MAX_EVENT_BYTES;
}

/**
 * Records that the value is unusable that begins at `start` in the document and at `head` on the tape, as
 * `recordUsable` has found. Moves behind it; false where its end cannot be determined.
 */
export function* recordUnusable(scanner: Scanner, tape: JsonTape, start: number, head: number): Steps<boolean> {
  noteUnusable(scanner, tape, start, head);
  return yield* skipDamaged(scanner, start);
}

/** As `recordUnusable`, without searching for the end. */
export function noteUnusable(scanner: Scanner, tape: JsonTape, start: number, head: number): void {
  const { problem } = scanner;
  const isUnread = isTooLarge(scanner, start);
  const reason = isUnread && problem !== TOO_MANY_MEMBERS ? TOO_LARGE : (problem ?? UNKNOWN_PROBLEM);
  tape.length = head + VALUE_NUMBERS;
  tape.numbers[head] = tape.problems.length;
  tape.numbers[head + 1] = UNUSABLE;
  tape.numbers[head + 2] = start;
  if (tape.problems.length < MAX_LISTED_REJECTIONS) tape.problems.push(reason);
  if (isUnread) scanner.problem = missingEndOf(start);
}

/**
 * Takes over which values are unusable, and why, from the tape that this one was made of value by value. They have no
 * text in this document.
 */
export function takeOverUnusable(tape: JsonTape, from: JsonTape): void {
  // The next place stands for all problems of this tape that are not kept.
  tape.problems.push(UNKNOWN_PROBLEM, ...from.problems);
  const firstPlace = tape.problems.length - from.problems.length;
  let at = 0;
  let fromAt = 0;
  for (let index = 0; index < from.count; index += 1) {
    const next = endOfValue(tape, at);
    if (from.numbers[fromAt + 1] === UNUSABLE) {
      tape.numbers[at] = firstPlace + from.numbers[fromAt]!;
      tape.numbers[at + 1] = UNUSABLE;
    }
    at = next;
    fromAt = endOfValue(from, fromAt);
  }
}

/** Where the value that stands there on the tape ends. */
export function endOfValue({ numbers }: JsonTape, at: number): number {
  return at + VALUE_NUMBERS + MEMBER_NUMBERS * Math.max(0, numbers[at + 1] ?? 0);
}

/** Whether `recordUsable` has refused the value at `start` because it is too large, whether or not it is JSON. */
export function isTooLarge({ problem, problemAt }: Scanner, start: number): boolean {
  return problem === null || problem === TOO_MANY_MEMBERS || problemAt - start > MAX_EVENT_BYTES;
}

/** The problem of a document in which the end of a value that is too large to be read cannot be determined. */
export function missingEndOf(start: number): string {
  return `invalid JSON after byte ${start}: expected the end of the value that begins there`;
}

/**
 * Moves behind a value at `start` that is invalid JSON or too large to be read. False where its end cannot be
 * determined.
 */
export function* skipDamaged(scanner: Scanner, start: number): Steps<boolean> {
  const end = yield* endOfDamaged(scanner.bytes, start);
  if (end < 0) return false;
  scanner.problem = null;
  scanner.at = end;
  return true;
}

/**
 * A view must not end behind a token that could make a value which is too large seem small enough; this margin prevents
 * it.
 */
export const VIEW_MARGIN = 64;

/**
 * A part of the document that is larger than a value at `start` may be. One view serves all values that begin in its
 * first half: creating a view for each would take longer than reading a small event.
 */
function viewFrom(tape: JsonTape, start: number): Buffer {
  const { bytes } = tape;
  const needed = Math.min(start + MAX_EVENT_BYTES + VIEW_MARGIN, bytes.length);
  if (tape.view.length < needed) tape.view = bytes.subarray(0, needed + MAX_EVENT_BYTES);
  return tape.view;
}

function reserve(tape: JsonTape, numberCount: number): void {
  tape.length += numberCount;
  tape.numbers = withRoomFor(tape.length, tape.numbers);
}
