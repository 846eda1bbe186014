import { hash } from 'node:crypto';
import { isHexDigit } from './json.ts';

/** Whether the text is a UUID, in either case. Called for every event, hence without a pattern. */
export function isUuid(text: string): boolean {
  if (text.length !== UUID_LENGTH) return false;
  for (let at = 0; at < UUID_LENGTH; at += 1) {
    const code = text.charCodeAt(at);
    const isDash = at === 8 || at === 13 || at === 18 || at === 23;
    if (isDash ? code !== 0x2d : !isHexDigit(code)) return false;
  }
  return true;
}

const UUID_LENGTH = 36;
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
