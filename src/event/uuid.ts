import { hash } from 'node:crypto';
import { isHexDigit } from './json.ts';

/** 1 for the code of a hexadecimal digit, in either case. */
const HEX = Uint8Array.from({ length: 256 }, (_, code) => (isHexDigit(code) ? 1 : 0));
const DASH = 0x2d;
const DASHES = [8, 13, 18, 23] as const;
const UUID_LENGTH = 36;
const DIGITS = UUID_LENGTH - DASHES.length;

/** Whether the text is a UUID, in either case. */
export function isUuid(text: string): boolean {
  if (text.length !== UUID_LENGTH) return false;
  let digits = 0;
  for (let at = 0; at < UUID_LENGTH; at += 1) digits += HEX[text.charCodeAt(at)] ?? 0;
  return digits === DIGITS && DASHES.every((at) => text[at] === '-');
}

/**
 * Whether the bytes between two places are a UUID, in either case. Called for every event: looking at the characters of
 * a text that was cut out of another takes three times as long.
 */
export function isUuidIn(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== UUID_LENGTH) return false;
  let digits = 0;
  for (let at = start; at < end; at += 1) digits += HEX[bytes[at]!]!;
  return digits === DIGITS && DASHES.every((at) => bytes[start + at] === DASH);
}

/** The same 128 bits as other systems write them: without dashes, in braces, as a URN. */
const OTHER_SPELLING =
  /^(?:urn:uuid:)?(\{?)([0-9a-f]{8})(-?)([0-9a-f]{4})\3([0-9a-f]{4})\3([0-9a-f]{4})\3([0-9a-f]{12})(\}?)$/i;
const MAX_SPELLING_LENGTH = 'urn:uuid:{}'.length + UUID_LENGTH;

/** The UUID that the text spells, in its usual spelling; null when it spells none. */
export function readUuid(text: string): string | null {
  if (isUuid(text)) return text.toLowerCase();
  if (text.length < UUID_LENGTH - 4 || text.length > MAX_SPELLING_LENGTH) return null;
  const [, open, a, , b, c, d, e, close] = OTHER_SPELLING.exec(text) ?? [];
  if ((open === '{') !== (close === '}') || a === undefined) return null;
  return `${a}-${b}-${c}-${d}-${e}`.toLowerCase();
}

/** A UUID (version 8, RFC 9562) derived from these bytes: always the same for the same bytes. */
export function uuidOf(bytes: string | Buffer): string {
  const hex = hash('sha256', bytes, 'hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A UUID (version 7, RFC 9562) of that instant, in epoch milliseconds, derived from these bytes. */
export function timedUuidOf(epochMs: number, bytes: string | Buffer): string {
  const time = Math.max(0, Math.floor(epochMs)).toString(16).padStart(12, '0').slice(-12);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${uuidOf(bytes).slice(15)}`;
}
