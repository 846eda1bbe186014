/**
 * Reads a body of one JSON value per line, or of several, and decodes each as it arrives: it holds the current line or
 * value and the rows made so far, never the body.
 */
import { type Hash, createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { TOO_MANY } from '../../event/envelope.ts';
import { type Decoded, createCollector } from '../../event/decode.ts';
import type { DecodeEvent } from '../../event/decoding.ts';
import { isBodyProblem, openBody, scanEvents } from '../../event/envelope.ts';
import { createScanner, isAtArray, isAtEnd, isAtObject, scanValue, skipSpace, type Scanner } from '../../event/json.ts';
import {
  createJsonTape,
  discardJsonTape,
  recordUnusable,
  recordUsable,
  recordValue,
  TOO_LARGE,
  type JsonTape,
} from '../../event/json-tape.ts';
import { firstValue, isObject, type Members, moveToNextValue } from '../../event/json-members.ts';
import { rawEventOf } from '../../event/raw-event.ts';
import { finish } from '../../event/steps.ts';
import type { Refusal as EventRefusal } from '../../event/text.ts';
import type { Reservation } from '../../pipeline/channel-port.ts';
import { streamBody } from '../request/body.ts';
import type { DoorRequest } from '../request/door-request.ts';
import type { Refusal as AnyRefusal } from '../answers/refusals.ts';
import { runInTurns, type FairScheduler } from '../request/fair-scheduling.ts';
import { createValueSplitter } from './json-values.ts';
import { isUnfinished } from './json-lines.ts';

type Refusal = AnyRefusal<'body_too_large' | 'unsupported_encoding' | 'invalid_encoding' | 'channel_full'>;

export type LinesRead = { readonly decoded: Decoded; readonly bodyHash: string };

/** Rejections carry their line number, from 1; blank lines count as lines and mean nothing else. */
export async function readLines(
  request: Pick<DoorRequest, 'headers' | 'body'>,
  { decodeEvent, onRejected = null, reservation, couldHold, scheduler }: LineReading,
  { maxBytes }: { maxBytes: number },
): Promise<LinesRead | Refusal | 'aborted'> {
  const bodyHash: Hash = createHash('sha256');
  const collected = createCollector();
  /** The event of a line that was decoded last, if that was rejected and somebody wants to know. */
  let lastRejected: Members | null = null;
  const decodeLine = lineDecoder(
    onRejected === null ? decodeEvent : noting(decodeEvent, (event) => (lastRejected = event)),
  );
  let blankLines = 0;
  /** Or the events on them, where a line has several. */
  let filledLines = 0;
  const add = (row: string | EventRefusal, number: number, sent: Buffer | null) => {
    filledLines += 1;
    collected.add(number, row);
    if (onRejected === null || typeof row === 'string') return;
    const event = lastRejected;
    lastRejected = null;
    onRejected(number, row.reason, () => (event === null ? (sent?.toString('latin1') ?? null) : rawEventOf(event)));
  };
  const splitter = createValueSplitter({
    line: (line, number) => decodeLine(line, (row) => add(row, number, line)),
    longLine: (number) => add(LINE_TOO_LONG, number, null),
    blankLine: () => (blankLines += 1),
    event: (bytes, number) => add(decodeAlone(bytes, decodeEvent), number, bytes),
    largeEvent: (number) => add(EVENT_TOO_LARGE, number, null),
    endless: (start, number) => add({ reason: problemOfEndless(start) }, number, start),
    passedLine: () => (filledLines += 1),
  });
  let reservedBytes = 0;

  const end = await streamBody(request, { maxBytes, scheduler }, function* (chunk) {
    bodyHash.update(chunk);
    yield* splitter.push(chunk);
    return keepWithinLimits();
  });
  if (end !== null) return end;
  await runInTurns(splitter.end(), scheduler);
  return keepWithinLimits() ?? { decoded: collected.finish(), bodyHash: bodyHash.digest('hex') };

  function keepWithinLimits(): Refusal | null {
    // Rejected and blank lines cost time as well: ten kilobytes of gzip can hold ten million lines.
    const events = Math.max(collected.accepted(), filledLines);
    if (!couldHold(events, collected.rowBytes())) return { refused: 'body_too_large', message: TOO_MANY };
    if (!couldHold(blankLines, 0)) return { refused: 'body_too_large', message: TOO_MANY_BLANK };
    const heldBytes = Math.max(reservedBytes, collected.rowBytes() + splitter.heldBytes());
    if (!reservation.grow(heldBytes - reservedBytes)) return { refused: 'channel_full' };
    reservedBytes = heldBytes;
    return null;
  }
}

export type LineReading = {
  readonly decodeEvent: DecodeEvent;
  /** Told of each rejected event; `read` gives it as it was sent, as byte text, null of one that is too large. */
  readonly onRejected?: ((number: number, reason: string, read: () => string | null) => void) | null;
  readonly reservation: Reservation;
  /** Whether that many events and bytes could ever be accepted at once. */
  readonly couldHold: (eventCount: number, byteCount: number) => boolean;
  /** Schedules the work on large chunks, and on many lines. */
  readonly scheduler: FairScheduler;
};

const TOO_MANY_BLANK = 'more blank lines than this service could ever hold events at once; leave them out';
const LINE_TOO_LONG: EventRefusal = { reason: 'line too long' };
const EVENT_TOO_LARGE: EventRefusal = { reason: TOO_LARGE };
const NOT_UTF8: EventRefusal = { reason: 'line must be valid UTF-8' };

/**
 * Returns how many were added; null, without adding anything, where the line may be the beginning of something longer.
 */
type DecodeLine = (line: Buffer, add: (row: string | EventRefusal) => void) => number | null;

/** Every line is scanned into the same memory: allocating it for each would take longer than reading a short line. */
function lineDecoder(decodeEvent: DecodeEvent): DecodeLine {
  return (line, add) => {
    const scanner = isUtf8(line) ? createScanner(line) : null;
    const tape = scanner && createJsonTape(scanner);
    const isJson = scanner !== null && recordValue(scanner, tape!) && isAtEnd(scanner);
    const value = tape && firstValue(tape);
    let count: number | null = 1;
    if (isJson && isObject(value!)) add(decodeEvent(value!));
    // A value without an end has nothing to report yet.
    else if (!isJson && isUnfinished(line)) count = null;
    else {
      const several = decodeSeveral(line, add);
      if (several !== null) count = several;
      else if (isJson) add(decodeEvent(value!));
      else add(scanner === null ? NOT_UTF8 : { reason: scanner.problem ?? 'invalid JSON' });
    }
    if (tape) discardJsonTape(tape);
    return count;
  };

  /** A line that holds an array of events, or several in a row. Null, without adding anything, for any other. */
  function decodeSeveral(line: Buffer, add: (row: string | EventRefusal) => void): number | null {
    const scanner = finish(openBody(line));
    if (isBodyProblem(scanner)) return null;
    const events = createJsonTape(scanner);
    const isList = isAtArray(scanner) ? finish(scanEvents(scanner, events, Infinity)) : scanObjects(scanner, events);
    if (isList && isAtEnd(scanner)) {
      const event = firstValue(events);
      for (let index = 0; index < events.count; index += 1) {
        add(decodeEvent(event));
        moveToNextValue(event);
      }
    }
    discardJsonTape(events);
    return scanner.problem === null ? events.count : null;
  }
}

/** Records consecutive objects. False for a single one, and when anything else stands between them. */
function scanObjects(scanner: Scanner, events: JsonTape): boolean {
  while (isAtObject(scanner)) {
    const { at: start } = scanner;
    const { length: head } = events;
    if (!recordUsable(scanner, events) && !finish(recordUnusable(scanner, events, start, head))) return false;
    scanner.at = skipSpace(scanner.bytes, scanner.at);
  }
  if (events.count > 1) return true;
  scanner.problem ??= 'invalid JSON';
  return false;
}

/** As `decode`, handing over each rejected event. */
function noting(decode: DecodeEvent, note: (event: Members) => void): DecodeEvent {
  return (event) => {
    const row = decode(event);
    if (typeof row !== 'string') note(event);
    return row;
  };
}

/** An event that was found among others, or on several lines. */
export function decodeAlone(bytes: Buffer, decodeEvent: DecodeEvent): string | EventRefusal {
  const scanner = finish(openBody(bytes));
  if (isBodyProblem(scanner)) return { reason: scanner.message };
  const tape = createJsonTape(scanner);
  const isJson = recordValue(scanner, tape) && isAtEnd(scanner);
  const row = isJson ? decodeEvent(firstValue(tape)) : { reason: scanner.problem ?? 'invalid JSON' };
  discardJsonTape(tape);
  return row;
}

const CONTRADICTORY = 'invalid JSON: cannot tell where it ends';

/**
 * What is wrong with a value without an end; `start` is its part of the first line; null where it contradicts itself
 * there.
 */
function problemOfEndless(start: Buffer | null): string {
  const scanner = start && createScanner(start);
  return scanner === null || scanValue(scanner) ? CONTRADICTORY : (scanner.problem ?? CONTRADICTORY);
}
