/**
 * Instants as other services' clients write them: in addition to the one rule, a date-time without an offset, which is
 * UTC.
 */
import { stringOf } from './raw-json.ts';
import { isNumber } from './text.ts';
import { DIGITS, parseEpoch, parseInstant } from './timestamp.ts';

const WITHOUT_OFFSET = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?$/i;
const MAX_INSTANT_BYTES = 100;
const WHOLE = /^\d+$/;
/** How many digits are finer than a millisecond. */
const FINER_DIGITS = { µs: 3, ns: 6 } as const;
/** An older age than this is not believed. */
const MAX_AGO_MS = 7 * 24 * 60 * 60_000;

/** The epoch milliseconds of a raw JSON value; null where it is no instant, or lies before 1970. */
export function readLenientInstant(raw: string): number | null {
  if (raw.length > MAX_INSTANT_BYTES) return null;
  const instant = raw[0] === '"' ? parse(raw) : isNumber(raw) ? parseEpoch(raw) : null;
  return typeof instant === 'number' && instant >= 0 ? instant : null;
}

function parse(raw: string) {
  const text = raw.includes('\\') ? stringOf(raw) : raw.slice(1, -1);
  // As nearly all of them are written.
  const instant = parseInstant(text);
  if (instant !== 'invalid') return instant;
  const words = text.trim();
  if (DIGITS.test(words)) return parseEpoch(words);
  return parseInstant(WITHOUT_OFFSET.test(words) ? `${words}Z` : words);
}

/** As `readLenientInstant`, for whole microseconds or nanoseconds. */
export function readParts(raw: string, unit: keyof typeof FINER_DIGITS): number | null {
  const digits = raw[0] === '"' ? raw.slice(1, -1) : raw;
  return digits.length <= 20 && WHOLE.test(digits) ? Number(digits.slice(0, -FINER_DIGITS[unit])) : null;
}

/** The age of an event in milliseconds when its request was sent; null where it is none. */
export function readAgo(raw: string): number | null {
  const ms = /^\d+(?:\.\d+)?$/.test(raw) ? Math.floor(Number(raw)) : -1;
  return ms >= 0 && ms <= MAX_AGO_MS ? ms : null;
}
