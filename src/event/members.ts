/**
 * Scanned objects as numbers. Events are scanned once, when the request's body
 * is, but can only be decoded when the project is known; in between, a few
 * numbers a member are kept instead of a JavaScript object a member, so that
 * what a hostile body can cost stays a small multiple of its size (16 bytes for
 * a member, which has at least 5).
 */
import { enter, isAtObject, nextKey, scanValue, type Scanner } from './json.ts';

/** Scanned values one after the other; made by `createTape`, filled by `recordValue`. */
export type Tape = {
  /** The document the numbers point into. */
  readonly bytes: Buffer;
  /** The same bytes as byte text. */
  readonly text: string;
  /** Whether there are line ends between its tokens, where JSON may have them. */
  readonly hasLineEnds: boolean;
  /** Per value: how deep its deepest member is, how many members it has (-1: it is no object), four numbers a member. */
  numbers: Int32Array;
  length: number;
  /** How many values were recorded. */
  count: number;
};

const VALUE_NUMBERS = 2;
const MEMBER_NUMBERS = 4;

const NO_NUMBERS = new Int32Array(0);
/** Memory of a tape that is not read any more: to get new memory takes longer than to read a short event. */
let spare: Int32Array = NO_NUMBERS;
/** What a request of half a megabyte takes; more is not kept. */
const MAX_SPARE_NUMBERS = 64 * 1024;

export function createTape({ bytes, text }: Scanner): Tape {
  // One number for eight bytes is what ordinary events take.
  const expected = 64 + (text.length >> 3);
  const numbers = expected <= spare.length ? spare : new Int32Array(expected);
  if (numbers === spare) spare = NO_NUMBERS;
  return { bytes, text, hasLineEnds: text.includes('\n') || text.includes('\r'), numbers, length: 0, count: 0 };
}

/** Ends the use of a tape, and of everything that was read of it but strings. */
export function discardTape(tape: Tape): void {
  const { length } = tape.numbers;
  if (length > spare.length && length <= MAX_SPARE_NUMBERS) spare = tape.numbers;
  tape.numbers = NO_NUMBERS;
}

/** Scans the value at the cursor and records it. False when it is not JSON. */
export function recordValue(scanner: Scanner, tape: Tape): boolean {
  const head = tape.length;
  reserve(tape, VALUE_NUMBERS);
  tape.count += 1;
  let deepest = 0;
  let memberCount = -1;
  if (isAtObject(scanner)) {
    memberCount = 0;
    enter(scanner);
    while (nextKey(scanner)) {
      const { keyStart, keyEnd, at: valueStart } = scanner;
      if (!scanValue(scanner)) return false;
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
  return scanner.problem === null;
}

function reserve(tape: Tape, numberCount: number): void {
  tape.length += numberCount;
  if (tape.length <= tape.numbers.length) return;
  const larger = new Int32Array(tape.length * 2);
  larger.set(tape.numbers);
  tape.numbers = larger;
}

/** One recorded value: a cursor over a tape. A member is named by its place on the tape. */
export type Members = {
  readonly tape: Tape;
  /** Where the value stands on the tape. */
  at: number;
};

export function firstValue(tape: Tape): Members {
  return { tape, at: 0 };
}

export function moveToNextValue(members: Members): void {
  members.at = endOfMembers(members);
}

export function isObject({ tape, at }: Members): boolean {
  return numberAt(tape, at + 1) >= 0;
}

/** How many containers deep the deepest member's value is. */
export function deepestOf({ tape, at }: Members): number {
  return numberAt(tape, at);
}

/** The members of the value, in order: `for (let m = firstMember(v); m < endOfMembers(v); m = nextMember(m))`. */
export function firstMember(members: Members): number {
  return members.at + VALUE_NUMBERS;
}

export function nextMember(member: number): number {
  return member + MEMBER_NUMBERS;
}

export function endOfMembers({ tape, at }: Members): number {
  return at + VALUE_NUMBERS + MEMBER_NUMBERS * Math.max(0, numberAt(tape, at + 1));
}

/** The member's key as it was written, quotes included. */
export function rawKeyOf({ tape }: Members, member: number): string {
  return tape.text.slice(numberAt(tape, member), numberAt(tape, member + 1));
}

/** The bytes of the member's key, without quotes. */
export function keyLengthOf({ tape }: Members, member: number): number {
  return numberAt(tape, member + 1) - numberAt(tape, member) - 2;
}

/** Whether the member's key, which must be as long, was written as these bytes. */
export function isKeyed({ tape }: Members, member: number, key: Buffer): boolean {
  const start = numberAt(tape, member) + 1;
  for (let i = 0; i < key.length; i += 1) if (tape.bytes[start + i] !== key[i]) return false;
  return true;
}

/** The member's value as it was written. */
export function rawValueOf({ tape }: Members, member: number): string {
  return tape.text.slice(numberAt(tape, member + 2), numberAt(tape, member + 3));
}

/** The member as it was written, without spaces around its colon. */
export function rawMemberOf(members: Members, member: number): string {
  const { tape } = members;
  const isTight = numberAt(tape, member + 1) + 1 === numberAt(tape, member + 2);
  if (isTight) return tape.text.slice(numberAt(tape, member), numberAt(tape, member + 3));
  return `${rawKeyOf(members, member)}:${rawValueOf(members, member)}`;
}

/** The bytes the member takes, without colon and spaces. */
export function sizeOf({ tape }: Members, member: number): number {
  const keyBytes = numberAt(tape, member + 1) - numberAt(tape, member);
  return keyBytes + numberAt(tape, member + 3) - numberAt(tape, member + 2);
}

function numberAt(tape: Tape, place: number): number {
  return tape.numbers[place] ?? 0;
}
