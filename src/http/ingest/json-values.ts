/**
 * Splits a body of JSON values into its lines and, where a value takes several lines or is a list, into its events,
 * while the bytes arrive. A complete line is left to the line decoder; only one that ends within a value, and a long
 * one that holds several, is read value by value.
 *
 * Where a value contradicts itself (decision 43), its first line is bad, and what follows is read again from the next
 * line on: a truncated line must not swallow those behind it.
 */
import { createEndFinder, type EndFinder, UNFINISHED, UNKNOWN_END } from '../../event/damage.ts';
import { MAX_EVENT_BYTES } from '../../event/json-tape.ts';
import { BYTES_A_STEP, type Steps } from '../../event/steps.ts';
import { gatherBodyChunks } from '../request/body-chunks.ts';
import { withoutByteOrderMark, holdsSeveralValues, isBlank, isSpace } from './json-lines.ts';

/** A longer line is rejected without being read to its end, unless it holds several events. */
const MAX_LINE_BYTES = MAX_EVENT_BYTES;
/** From this length on a line with several events is read event by event: all of it at once would take too long. */
const LONG_LINE_BYTES = 256 * 1024;
/**
 * How many times all bytes so far may be read, on average: every truncated line costs two more readings of the next
 * one.
 */
const MAX_READS = 4;
/** The fixed cost of a line or an event, in bytes of ordinary ones: some four microseconds. */
const BYTES_A_PART = 256;
/** The fixed cost of what is skipped, such as a blank line: a quarter of a microsecond. */
const BYTES_A_LINE_END = 8;

const LINE_END = 0x0a;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;

/** Receives the parts. Lines count from 1. */
export type PartSink = {
  /**
   * A line, without its end, that is not blank. Returns how many events it holds; null where it may be the beginning of
   * something longer.
   */
  line(line: Buffer, number: number): number | null;
  longLine(number: number): void;
  blankLine(): void;
  /** An event by itself, good or bad, that begins on that line. */
  event(bytes: Buffer, number: number): void;
  /** An event that begins on that line and is larger than an event may be. */
  largeEvent(number: number): void;
  /**
   * A value without an end that begins on that line; `start` is its part of that line; null where it contradicts itself
   * there.
   */
  endless(start: Buffer | null, number: number): void;
  /** A line that was skipped behind a bad one. */
  passedLine(): void;
};

/** Splits in steps, each of which ends before the next chunk is pushed. */
export type ValueSplitter = {
  push(chunk: Buffer): Steps<void>;
  /** The last line may lack its line end. */
  end(): Steps<void>;
  /** The bytes that are kept until more is known. */
  heldBytes(): number;
};

type Input = { readonly bytes: Buffer; at: number };
type Reading = 'line' | 'rest of line' | 'between' | 'event' | 'passing';

export function createValueSplitter(sink: PartSink): ValueSplitter {
  /** Input to be read again comes before what has arrived. */
  const inputs: Input[] = [];
  const held = gatherBodyChunks();
  let heldBytes = 0;
  let reading: Reading = 'line';
  let number = 1;
  let readBytes = 0;
  let readAgainBytes = 0;
  /** The cost of the current step so far, in bytes. */
  let stepBytes = 0;
  /** Whether the current line has been checked for several events. */
  let isKnownAsLong = false;

  let isInList = false;
  let list = { number: 0, indent: 0 };
  /** The white space at the beginning of the line, until something else is seen. */
  let indent = 0;
  let isLineBlank = true;

  /** The event being read: where it begins, and how far its line is indented. */
  let finder: EndFinder = createEndFinder();
  let begin = { number: 0, indent: 0, isContainer: false, isTooLarge: false };
  let beginInput: Input | null = null;
  let beginAt = 0;

  return {
    *push(chunk) {
      inputs.push({ bytes: chunk, at: 0 });
      yield* readAll();
    },
    *end() {
      for (;;) {
        yield* readAll();
        if (reading === 'line' && heldBytes > 0) completeLine(false);
        else if (reading === 'event') failEvent({ isLineComplete: true });
        else break;
      }
      if (isInList) sink.endless(OPENING, list.number);
    },
    heldBytes: () => inputs.slice(1).reduce((sum, { bytes }) => sum + bytes.length, heldBytes),
  };

  function* readAll(): Steps<void> {
    while (!readStep()) yield;
  }

  /** Reads as much as a step may cost. True when nothing is left to read. */
  function readStep(): boolean {
    stepBytes = 0;
    for (;;) {
      const input = inputs.at(-1);
      if (input === undefined) return true;
      const { at } = input;
      if (at === input.bytes.length) inputs.pop();
      else if (stepBytes >= BYTES_A_STEP) return false;
      else {
        read(input);
        stepBytes += Math.max(0, input.at - at);
      }
    }
  }

  function read(input: Input) {
    switch (reading) {
      case 'line':
        return readLine(input);
      case 'rest of line':
        return skipLine(input);
      case 'between':
        return readBetween(input);
      case 'event':
        return readEvent(input);
      case 'passing':
        return passLine(input);
    }
  }

  function hold(input: Input, to: number) {
    const part = input.bytes.subarray(input.at, to);
    heldBytes += part.length;
    readBytes += part.length;
    // A copy: the rest of a chunk must not stay in memory because of the beginning of a line.
    held.add(to === input.bytes.length && input.at > 0 ? Buffer.from(part) : part);
    input.at = to;
  }

  function takeHeld(): Buffer {
    heldBytes = 0;
    return held.take();
  }

  function newLine() {
    stepBytes += BYTES_A_LINE_END;
    isKnownAsLong = false;
    number += 1;
    indent = 0;
    isLineBlank = true;
  }

  // Lines.

  function readLine(input: Input) {
    const lineEnd = input.bytes.indexOf(LINE_END, input.at);
    hold(input, lineEnd < 0 ? input.bytes.length : lineEnd);
    if (!isKnownAsLong && heldBytes > LONG_LINE_BYTES && readSeveral(LONG_LINE_BYTES)) return;
    if (heldBytes > MAX_LINE_BYTES) return void (readSeveral(MAX_LINE_BYTES) || skipLongLine());
    if (lineEnd < 0) return;
    input.at += 1;
    completeLine(true);
  }

  function completeLine(hasEnd: boolean) {
    const line = takeHeld();
    if (isBlank(line)) sink.blankLine();
    else {
      const eventCount = sink.line(line, number);
      stepBytes += BYTES_A_PART * (eventCount ?? 1);
      if (eventCount === null) {
        return readAgain(withoutByteOrderMark(hasEnd ? Buffer.concat([line, NEW_LINE]) : line), 'between');
      }
    }
    newLine();
  }

  /** Reads the line event by event, if its first bytes show several events; their number does not matter. */
  function readSeveral(byteCount: number): boolean {
    isKnownAsLong = true;
    const start = takeHeld();
    if (holdsSeveralValues(withoutByteOrderMark(start.subarray(0, byteCount)))) {
      readAgain(withoutByteOrderMark(start), 'between');
      return true;
    }
    heldBytes = start.length;
    held.add(start);
    return false;
  }

  function skipLongLine() {
    takeHeld();
    sink.longLine(number);
    reading = 'rest of line';
  }

  function readAgain(bytes: Buffer, as: Reading) {
    inputs.push({ bytes, at: 0 });
    reading = as;
    indent = 0;
    isLineBlank = true;
  }

  function skipLine(input: Input) {
    const lineEnd = input.bytes.indexOf(LINE_END, input.at);
    input.at = lineEnd < 0 ? input.bytes.length : lineEnd + 1;
    if (lineEnd < 0) return;
    newLine();
    reading = isInList ? 'between' : 'line';
  }

  // Values.

  function readBetween(input: Input) {
    const byte = input.bytes[input.at]!;
    input.at += 1;
    if (byte === LINE_END) {
      if (isLineBlank) sink.blankLine();
      newLine();
      if (!isInList) reading = 'line';
    } else if (isSpace(byte)) {
      if (isLineBlank) indent += 1;
    } else {
      const isFirst = isLineBlank;
      isLineBlank = false;
      if (isInList && byte === COMMA) return;
      if (isInList && byte === CLOSE_BRACKET) isInList = false;
      else if (byte === OPEN_BRACKET && (!isInList || (isFirst && indent <= list.indent))) {
        // A truncated list is followed by another one.
        if (isInList) sink.endless(OPENING, list.number);
        isInList = true;
        list = { number, indent };
      } else {
        input.at -= 1;
        beginEvent(input, byte);
      }
    }
  }

  function beginEvent(input: Input, byte: number) {
    finder = createEndFinder();
    const isContainer = byte === OPEN_BRACE || byte === OPEN_BRACKET;
    begin = { number, indent, isContainer, isTooLarge: false };
    beginInput = input;
    beginAt = input.at;
    reading = 'event';
  }

  function readEvent(input: Input) {
    const { bytes, at } = input;
    const lineEnd = bytes.indexOf(LINE_END, at);
    const to = lineEnd < 0 ? bytes.length : lineEnd;
    const end = finder.read(bytes, at, to);
    if (end === UNKNOWN_END) return failEvent({ isLineComplete: false });
    holdEvent(input, end === UNFINISHED ? to : end);
    if (end !== UNFINISHED) return completeEvent();
    if (lineEnd < 0) return;
    // No text continues behind a line's end, and a value that is no container ends with its line.
    if (finder.isInText()) return failEvent({ isLineComplete: true });
    if (!begin.isContainer) return completeEvent();
    holdEvent(input, to + 1);
    newLine();
  }

  function holdEvent(input: Input, to: number) {
    hold(input, to);
    if (heldBytes <= MAX_EVENT_BYTES) return;
    begin.isTooLarge = true;
    takeHeld();
  }

  function completeEvent() {
    const bytes = takeHeld();
    stepBytes += BYTES_A_PART;
    if (begin.isTooLarge) sink.largeEvent(begin.number);
    else sink.event(bytes, begin.number);
    isLineBlank = false;
    reading = 'between';
  }

  /** `isLineComplete`: whether the line that it failed on is held completely. */
  function failEvent({ isLineComplete }: { isLineComplete: boolean }) {
    const bytes = takeHeld();
    const firstEnd = bytes.indexOf(LINE_END);
    if (begin.isTooLarge) sink.largeEvent(begin.number);
    else if (firstEnd >= 0) sink.endless(bytes.subarray(0, firstEnd), begin.number);
    else sink.endless(isLineComplete ? bytes : null, begin.number);
    const again = bytes.length - firstEnd - 1;
    if (begin.isTooLarge || firstEnd < 0 || readAgainBytes + again > MAX_READS * (readBytes - readAgainBytes)) {
      reading = 'passing';
      isLineBlank = false;
      return;
    }
    readAgainBytes += again;
    const input = inputs.at(-1);
    // No copy is needed where the bytes are still in the current input.
    if (input !== undefined && input === beginInput) {
      input.at = beginAt + firstEnd + 1;
      reading = 'passing';
    } else readAgain(bytes.subarray(firstEnd + 1), 'passing');
    number = begin.number;
    newLine();
  }

  /** Behind a bad event: skips to a line that may begin another one, being indented no more than the bad one was. */
  function passLine(input: Input) {
    const byte = input.bytes[input.at]!;
    if (byte === LINE_END) {
      sink.passedLine();
      input.at += 1;
      newLine();
    } else if (isLineBlank && isSpace(byte)) {
      indent += 1;
      input.at += 1;
    } else if (isLineBlank && indent <= begin.indent && mayBegin(byte)) {
      reading = isInList ? 'between' : 'line';
    } else {
      isLineBlank = false;
      const lineEnd = input.bytes.indexOf(LINE_END, input.at);
      input.at = lineEnd < 0 ? input.bytes.length : lineEnd;
    }
  }

  function mayBegin(byte: number): boolean {
    return byte === OPEN_BRACE || byte === OPEN_BRACKET || (isInList && byte === CLOSE_BRACKET);
  }
}

const NEW_LINE = Buffer.from('\n');
const OPENING = Buffer.from('[');
