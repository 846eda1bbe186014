/**
 * Reads a body of one JSON value a line and decodes every line as it arrives:
 * what is held is the line being read and the rows made so far, never the body.
 */
import { type Hash, createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { type DecodeEvent, type Decoded, createCollector } from '../event/decode.ts';
import { createScanner, isAtEnd } from '../event/json.ts';
import { createTape, discardTape, firstValue, recordValue } from '../event/members.ts';
import type { Refusal as EventRefusal } from '../event/text.ts';
import type { Reservation } from '../pipeline/channel.ts';
import { streamBody } from './body.ts';
import type { DoorRequest } from './door-request.ts';
import { gatherPieces } from './pieces.ts';
import type { Refusal as AnyRefusal } from './refusals.ts';

type Refusal = AnyRefusal<'body_too_large' | 'unsupported_encoding' | 'invalid_encoding' | 'channel_full'>;

/** A line that is longer is rejected without being read to its end. */
const MAX_LINE_BYTES = 1024 * 1024;
const LINE_END = 0x0a;

export type LinesRead = { readonly decoded: Decoded; readonly bodyHash: string };

/** Rejections are named by the number of their line, from 1; blank lines are counted and mean nothing. */
export async function readLines(
  request: Pick<DoorRequest, 'headers' | 'body'>,
  { decodeEvent, reservation, couldHold }: LineReading,
  limits: { maxBytes: number },
): Promise<LinesRead | Refusal | 'aborted'> {
  const bodyHash: Hash = createHash('sha256');
  const collected = createCollector();
  const decodeLine = lineDecoder(decodeEvent);
  const splitter = createSplitter((line, number) => {
    if (line === null) collected.add(number, LINE_TOO_LONG);
    else if (!isBlank(line)) collected.add(number, decodeLine(line));
  });
  let reservedBytes = 0;

  const end = await streamBody(request, limits, (chunk) => {
    bodyHash.update(chunk);
    splitter.push(chunk);
    return keepWithinLimits();
  });
  if (end !== null) return end;
  splitter.end();
  return keepWithinLimits() ?? { decoded: collected.finish(), bodyHash: bodyHash.digest('hex') };

  function keepWithinLimits(): Refusal | null {
    if (!couldHold(collected.accepted(), collected.rowBytes())) return { refused: 'body_too_large', message: TOO_MANY };
    const heldBytes = Math.max(reservedBytes, collected.rowBytes() + splitter.heldBytes());
    if (!reservation.grow(heldBytes - reservedBytes)) return { refused: 'channel_full' };
    reservedBytes = heldBytes;
    return null;
  }
}

export type LineReading = {
  readonly decodeEvent: DecodeEvent;
  readonly reservation: Reservation;
  /** Whether that many events and bytes could ever be taken at once. */
  readonly couldHold: (eventCount: number, byteCount: number) => boolean;
};

export const TOO_MANY = 'more events than this service could ever hold at once; send them in parts';
const LINE_TOO_LONG: EventRefusal = { reason: 'line too long' };
const NOT_UTF8: EventRefusal = { reason: 'line must be valid UTF-8' };

/** Every line is scanned into the same memory: one of its own would take longer to get than a short line to read. */
function lineDecoder(decodeEvent: DecodeEvent): (line: Buffer) => string | EventRefusal {
  return (line) => {
    if (!isUtf8(line)) return NOT_UTF8;
    const scanner = createScanner(line);
    const tape = createTape(scanner);
    const isJson = recordValue(scanner, tape) && isAtEnd(scanner);
    const decoded = isJson ? decodeEvent(firstValue(tape)) : { reason: scanner.problem ?? 'invalid JSON' };
    discardTape(tape);
    return decoded;
  };
}

type Splitter = {
  push(chunk: Buffer): void;
  /** The last line need not be ended. */
  end(): void;
  /** The bytes of the line that is not complete yet. */
  heldBytes(): number;
};

/** Tells lines, without their ends, with their number; null for one that is too long. */
function createSplitter(onLine: (line: Buffer | null, number: number) => void): Splitter {
  const parts = gatherPieces();
  let partBytes = 0;
  let isTooLong = false;
  let number = 1;

  return { push, end, heldBytes: () => (isTooLong ? 0 : partBytes) };

  function push(chunk: Buffer) {
    let start = 0;
    for (let at = chunk.indexOf(LINE_END); at >= 0; at = chunk.indexOf(LINE_END, start)) {
      hold(chunk.subarray(start, at));
      complete();
      start = at + 1;
    }
    // A piece of its own: the rest of the chunk must not stay because of the beginning of a line.
    if (start < chunk.length) hold(start === 0 ? chunk : Buffer.from(chunk.subarray(start)));
  }

  function hold(part: Buffer) {
    partBytes += part.length;
    isTooLong ||= partBytes > MAX_LINE_BYTES;
    if (isTooLong) parts.take();
    else parts.add(part);
  }

  function complete() {
    onLine(isTooLong ? null : parts.take(), number);
    number += 1;
    partBytes = 0;
    isTooLong = false;
  }

  function end() {
    if (partBytes > 0) complete();
  }
}

/** Whether there is nothing but white space. */
function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x0d && byte !== 0x09) return false;
  return true;
}
