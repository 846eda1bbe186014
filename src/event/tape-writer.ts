/**
 * Writes scanned events whose members lie anywhere in one text: what many of them have in common stands there once, and
 * nothing of it is scanned.
 */
import { MAX_LISTED_REJECTIONS } from './event.ts';
import {
  type JsonTape,
  MAX_EVENT_BYTES,
  MAX_EVENT_MEMBERS,
  MEMBER_NUMBERS,
  numbersFor,
  TOO_LARGE,
  TOO_MANY_MEMBERS,
  UNUSABLE,
  VALUE_NUMBERS,
  withRoomFor,
} from './json-tape.ts';
import type { JsonText } from './json-text.ts';

export type TapeWriter = {
  readonly text: JsonText;
  numbers: Int32Array;
  length: number;
  count: number;
  readonly problems: string[];
  /** What the events would take, each written by itself. */
  byteCount: number;
};

export const createTapeWriter = (text: JsonText, expectedNumbers: number): TapeWriter => ({
  text,
  numbers: numbersFor(64 + expectedNumbers),
  length: 0,
  count: 0,
  problems: [],
  byteCount: 0,
});

/** Begins an event; its members follow in their order, then `closeEvent`. Returns its place. */
export function openEvent(writer: TapeWriter): number {
  const { length: head } = writer;
  writer.count += 1;
  writer.length += VALUE_NUMBERS;
  return head;
}

/** A member: a raw key, quotes included, and a raw value. */
export function addMember(writer: TapeWriter, keyStart: number, keyEnd: number, start: number, end: number): void {
  const { length: place } = writer;
  writer.length += MEMBER_NUMBERS;
  const numbers = roomIn(writer);
  numbers[place] = keyStart;
  numbers[place + 1] = keyEnd;
  numbers[place + 2] = start;
  numbers[place + 3] = end;
}

/** `deepest`: of its values. `hasUnreadable`: whether ClickHouse cannot read one. */
export function closeEvent(writer: TapeWriter, head: number, deepest: number, hasUnreadable: boolean): void {
  const memberCount = (writer.length - head - VALUE_NUMBERS) / MEMBER_NUMBERS;
  const size = sizeFrom(writer, head, memberCount);
  writer.byteCount += size;
  if (memberCount > MAX_EVENT_MEMBERS) return closeUnusable(writer, head, TOO_MANY_MEMBERS);
  if (size > MAX_EVENT_BYTES) return closeUnusable(writer, head, TOO_LARGE);
  setHead(writer, head, deepest, memberCount, hasUnreadable ? 1 : 0);
}

/** An event that is no object. */
export function addNoObject(writer: TapeWriter): void {
  writer.byteCount += 'null'.length;
  setHead(writer, openEvent(writer), 0, -1, 0);
}

/** The events, to be decoded. The text must not be written to any more. */
export function finishTape({ text, numbers, length, count, problems }: TapeWriter): JsonTape {
  const bytes = text.bytes.subarray(0, text.length);
  const asText = bytes.toString('latin1');
  const hasLineEnds = asText.includes('\n') || asText.includes('\r');
  return { bytes, text: asText, hasLineEnds, numbers, length, count, problems, view: bytes };
}

function closeUnusable(writer: TapeWriter, head: number, reason: string): void {
  writer.length = head + VALUE_NUMBERS;
  setHead(writer, head, writer.problems.length, UNUSABLE, 0);
  if (writer.problems.length < MAX_LISTED_REJECTIONS) writer.problems.push(reason);
}

function setHead(writer: TapeWriter, head: number, first: number, second: number, third: number): void {
  const numbers = roomIn(writer);
  numbers[head] = first;
  numbers[head + 1] = second;
  numbers[head + 2] = third;
}

/** The bytes of the event as an object, without spaces. */
function sizeFrom({ numbers, length }: TapeWriter, head: number, memberCount: number): number {
  let size = 2 + 2 * memberCount - (memberCount > 0 ? 1 : 0);
  for (let place = head + VALUE_NUMBERS; place < length; place += MEMBER_NUMBERS) {
    size += numbers[place + 1]! - numbers[place]! + numbers[place + 3]! - numbers[place + 2]!;
  }
  return size;
}

function roomIn(writer: TapeWriter): Int32Array {
  return (writer.numbers = withRoomFor(writer.length, writer.numbers));
}
