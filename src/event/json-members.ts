/** Reads what a JSON tape has recorded: values and their members, as in the document. */
import { endOfValue, type JsonTape, MEMBER_NUMBERS, UNKNOWN_PROBLEM, UNUSABLE, VALUE_NUMBERS } from './json-tape.ts';

/** One recorded value: a cursor over a tape. A member is identified by its place on the tape. */
export type Members = {
  readonly tape: JsonTape;
  /** Where the value stands on the tape. */
  at: number;
};

export function firstValue(tape: JsonTape): Members {
  return { tape, at: 0 };
}

/** The value alone, on a tape of its own. */
export function aloneOn({ tape, at }: Members): JsonTape {
  return { ...tape, numbers: tape.numbers.subarray(at), count: 1 };
}

export function moveToNextValue(members: Members): void {
  members.at = endOfMembers(members);
}

export function isObject({ tape, at }: Members): boolean {
  return numberAt(tape, at + 1) >= 0;
}

/**
 * Why the value is unusable, as invalid JSON or too large; null when it is usable. Beyond the reasons that an answer
 * lists, only the fact is known.
 */
export function problemOf({ tape, at }: Members): string | null {
  return numberAt(tape, at + 1) === UNUSABLE ? (tape.problems[numberAt(tape, at)] ?? UNKNOWN_PROBLEM) : null;
}

/** How many containers deep the deepest member's value is. */
export function deepestOf({ tape, at }: Members): number {
  return numberAt(tape, at);
}

/** Whether a member of an object holds something that ClickHouse cannot read. */
export function hasUnreadable({ tape, at }: Members): boolean {
  return numberAt(tape, at + 2) !== 0;
}

/** The end of the value's last member in the document; 0 where it has none. */
export function endOf(members: Members): number {
  const end = endOfMembers(members);
  return end === firstMember(members) ? 0 : numberAt(members.tape, end - 1);
}

/** Where a value begins that is no object, or unusable. */
export function startOf({ tape, at }: Members): number {
  return numberAt(tape, at + 2);
}

/** Where the member's key begins in the document. */
export function keyStartOf({ tape }: Members, member: number): number {
  return numberAt(tape, member);
}

/** Where the member's key ends in the document, behind its quotes. */
export function keyEndOf({ tape }: Members, member: number): number {
  return numberAt(tape, member + 1);
}

/** The members of the value, in order: `for (let m = firstMember(v); m < endOfMembers(v); m = nextMember(m))`. */
export function firstMember(members: Members): number {
  return members.at + VALUE_NUMBERS;
}

export function nextMember(member: number): number {
  return member + MEMBER_NUMBERS;
}

export function endOfMembers({ tape, at }: Members): number {
  return endOfValue(tape, at);
}

/** The member's key as it was written, quotes included. */
export function rawKeyOf({ tape }: Members, member: number): string {
  return tape.text.slice(numberAt(tape, member), numberAt(tape, member + 1));
}

/** The member's value as it was written. */
export function rawValueOf({ tape }: Members, member: number): string {
  return tape.text.slice(numberAt(tape, member + 2), numberAt(tape, member + 3));
}

/** Whether the member's value is null. */
export function isNullAt({ tape }: Members, member: number): boolean {
  return tape.bytes[numberAt(tape, member + 2)] === 0x6e;
}

/** Where the member's value begins in the document. */
export function valueStartOf({ tape }: Members, member: number): number {
  return numberAt(tape, member + 2);
}

/** Where the member's value ends in the document. */
export function valueEndOf({ tape }: Members, member: number): number {
  return numberAt(tape, member + 3);
}

/** Whether the member's value is a number. */
export function isNumberAt({ tape }: Members, member: number): boolean {
  const first = tape.bytes[numberAt(tape, member + 2)] ?? 0;
  return first === 0x2d || (first >= 0x30 && first <= 0x39);
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

function numberAt(tape: JsonTape, place: number): number {
  return tape.numbers[place] ?? 0;
}
