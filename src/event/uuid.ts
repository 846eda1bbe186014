import { hash } from 'node:crypto';
import { isHexDigit } from './json.ts';

/** Whether the text is a UUID, in either case. Asked of every event, so without a pattern. */
export function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let at = 0; at < 36; at += 1) {
    const code = text.charCodeAt(at);
    const isDash = at === 8 || at === 13 || at === 18 || at === 23;
    if (isDash ? code !== 0x2d : !isHexDigit(code)) return false;
  }
  return true;
}

/** The UUID (version 8, RFC 9562) that stands for these bytes: the same for the same bytes, always. */
export function uuidOf(bytes: string | Buffer): string {
  const hex = hash('sha256', bytes, 'hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
