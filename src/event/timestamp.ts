/**
 * The one rule for instants: an RFC 3339 string with an offset, or a number, also in quotes, which is epoch seconds
 * below 1e11 and epoch milliseconds from there on. From ISO 8601 it adds only what cannot be misread: offsets without a
 * colon or minutes, and a comma before the fraction. Anything finer than a millisecond is cut off, never rounded.
 */
import { stringOf } from './raw-json.ts';

/** Epoch milliseconds, or why there are none. */
export type Instant = number | 'invalid' | 'out of range';

/** The last millisecond whose year has four digits, the most that RFC 3339 can write. */
export const LATEST_INSTANT_MS = 253_402_300_799_999;

/** From here on a number counts milliseconds: 1e11 s is the year 5138, 1e11 ms is 1973. */
const MILLISECONDS_FROM = 100_000_000_000;
const DAY_MS = 86_400_000;
const POWERS_OF_TEN = [1, 10, 100, 1000];

/**
 * Reads the raw JSON value (byte text) of an instant, which must be neither later than `latestMs` nor before 1970.
 * `skewMs`: how slow the sender's clock is; the instant is corrected first.
 */
export function readInstant(raw: string, latestMs: number, skewMs: number = 0): Instant {
  const first = raw.charCodeAt(0);
  if (first === 0x22) return within(parseText(raw.includes('\\') ? stringOf(raw) : raw.slice(1, -1)), latestMs, skewMs);
  const isNumber = first === 0x2d || (first >= 0x30 && first <= 0x39);
  return isNumber ? within(parseEpoch(raw), latestMs, skewMs) : 'invalid';
}

function parseText(text: string): Instant {
  const instant = parseInstant(text);
  return instant === 'invalid' && DIGITS.test(text) ? parseEpoch(text) : instant;
}

/** A number as texts hold it: without an exponent. */
export const DIGITS = /^-?\d+(?:\.\d+)?$/;

/** The corrected instant, if it is in the accepted range. */
function within(sent: Instant, latestMs: number, skewMs: number): Instant {
  if (typeof sent === 'string') return sent;
  const instant = sent + skewMs;
  return instant < 0 || instant > Math.min(latestMs, LATEST_INSTANT_MS) ? 'out of range' : instant;
}

/** The epoch milliseconds of an RFC 3339 text with an offset. They may be negative. */
export function parseInstant(text: string): number | 'invalid' {
  const year = digitsAt(text, 0, 4);
  const month = digitsAt(text, 5, 2);
  const day = digitsAt(text, 8, 2);
  const hour = digitsAt(text, 11, 2);
  const minute = digitsAt(text, 14, 2);
  const second = digitsAt(text, 17, 2);
  if (year < 0 || !isDashAt(text, 4) || !isDashAt(text, 7) || !isColonAt(text, 13) || !isColonAt(text, 16)) {
    return 'invalid';
  }
  if (!isSeparator(text.charCodeAt(10))) return 'invalid';
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return 'invalid';
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return 'invalid';

  let at = 19;
  const point = text.charCodeAt(at);
  if (point === 0x2e || point === 0x2c) {
    at += 1;
    while (isDigit(text.charCodeAt(at))) at += 1;
    if (at === 20) return 'invalid';
  }
  const fractionMs = fractionAt(text, 20, at);
  const offsetMs = offsetAt(text, at);
  if (offsetMs === 'invalid') return 'invalid';
  const minuteMs = daysBefore(year, month, day) * DAY_MS + (hour * 60 + minute) * 60_000 - offsetMs;
  if (second === 60 && !isLastMinuteOfMonth(minuteMs)) return 'invalid';
  return minuteMs + second * 1000 + fractionMs;
}

/** Where leap seconds are inserted. Epoch time has none: such an instant becomes that of the following second. */
function isLastMinuteOfMonth(ms: number): boolean {
  const next = new Date(ms + 60_000);
  return next.getUTCDate() === 1 && next.getUTCHours() === 0 && next.getUTCMinutes() === 0;
}

/**
 * The epoch milliseconds of a number as JSON writes it. Exact for every number in range: 1700000000.123 s has no exact
 * binary form, so the decimal point is moved in the text.
 */
export function parseEpoch(text: string): Instant {
  // The usual case: digits that a number holds exactly.
  const plain = text !== '' && text.length <= 15 ? digitsAt(text, 0, text.length) : -1;
  if (plain >= 0) return msOf(plain);
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!parts) return 'invalid';
  const [, sign, whole = '', fraction = '', exponent = '0'] = parts;
  const digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return 0;
  if (sign === '-') return 'out of range';
  // The value is 0.digits × 10^point.
  const point = digits.length - fraction.length + Number(exponent);
  if (point > 15) return 'out of range';
  const value = digitsBefore(digits, point);
  return value < MILLISECONDS_FROM && !looksLikeDate(value) ? digitsBefore(digits, point + 3) : msOf(value);
}

/** The milliseconds of a whole number. */
function msOf(value: number): number | 'invalid' {
  // Ten or thirteen digits, the length of today's seconds or milliseconds, are none of the dates below.
  const isUsual = value >= 1e12 ? value < 1e13 : value >= 1e8 && value < MILLISECONDS_FROM;
  if (!isUsual && looksLikeDate(value)) return 'invalid';
  return value < MILLISECONDS_FROM ? value * 1000 : value;
}

/**
 * Whether the digits of a number are a day, a minute or a second of our centuries: 20260505, 202605051230,
 * 20260505123000. As epoch time that would be in August 1970, in 1976, or far ahead. (As 202605, a month, would be in
 * January 1970, where the clocks of reset devices are.)
 */
function looksLikeDate(value: number): boolean {
  if (value >= 1e13 && value < 1e14) return value % 100 <= 60 && looksLikeDate(Math.floor(value / 100));
  if (value >= 1e11 && value < 1e12) {
    const time = value % 10_000;
    return time % 100 < 60 && time < 2_400 && looksLikeDate(Math.floor(value / 10_000));
  }
  const year = Math.floor(value / 10_000);
  const month = Math.floor(value / 100) % 100;
  const day = value % 100;
  return year >= 1900 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month);
}

/** The whole part of 0.digits × 10^point, for a point small enough to be exact. */
function digitsBefore(digits: string, point: number): number {
  return point <= 0 ? 0 : Number(digits.slice(0, point).padEnd(point, '0'));
}

/** The milliseconds in the fraction digits between `start` and `end`; 0 when there are none. */
function fractionAt(text: string, start: number, end: number): number {
  const digitCount = Math.max(0, Math.min(end - start, 3));
  return digitsAt(text, start, digitCount) * (POWERS_OF_TEN[3 - digitCount] ?? 0);
}

/** The offset from UTC that ends the text. */
function offsetAt(text: string, at: number): number | 'invalid' {
  const sign = text.charCodeAt(at);
  if (sign === 0x5a || sign === 0x7a) return text.length === at + 1 ? 0 : 'invalid';
  if (sign !== 0x2b && sign !== 0x2d) return 'invalid';
  const minutesAt = isColonAt(text, at + 3) ? at + 4 : at + 3;
  const isHoursOnly = text.length === at + 3;
  if (!isHoursOnly && text.length !== minutesAt + 2) return 'invalid';
  const hours = digitsAt(text, at + 1, 2);
  const minutes = isHoursOnly ? 0 : digitsAt(text, minutesAt, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return 'invalid';
  return (sign === 0x2d ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function isDashAt(text: string, at: number): boolean {
  return text.charCodeAt(at) === 0x2d;
}

function isColonAt(text: string, at: number): boolean {
  return text.charCodeAt(at) === 0x3a;
}

/** `T`, `t` or a space. */
function isSeparator(code: number): boolean {
  return code === 0x54 || code === 0x74 || code === 0x20;
}

/** The number that `count` digits form; negative when they are not all digits. */
function digitsAt(text: string, start: number, count: number): number {
  let value = 0;
  for (let at = start; at < start + count; at += 1) {
    const code = text.charCodeAt(at);
    if (!isDigit(code)) return -1;
    value = value * 10 + code - 0x30;
  }
  return value;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/**
 * Days from 1970-01-01 to a date. `Date.UTC` would read the years 0 to 99 as 1900 to 1999. Years are counted from
 * March, so that the leap day is the last.
 */
function daysBefore(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
