/** A text as rows may spell it: they hold JSON strings as clients wrote them, and libraries escape differently. */

const NOT_ASCII = /[\u0080-\uffff]/g;

const hex = (character: string) => character.charCodeAt(0).toString(16).padStart(4, '0');

const slashes = (spelled: string) => spelled.replaceAll('/', '\\/');

/** JSON strings that stand for the text, each in bytes; the usual one first. */
export function spellingsOf(text: string): readonly string[] {
  const plain = JSON.stringify(text);
  const ascii = plain.replaceAll(NOT_ASCII, (one) => `\\u${hex(one)}`);
  const upper = plain.replaceAll(NOT_ASCII, (one) => `\\u${hex(one).toUpperCase()}`);
  const html = plain.replaceAll(/[<>&]/g, (one) => `\\u${hex(one)}`);
  return [...new Set([plain, ascii, upper, html, slashes(plain), slashes(ascii), slashes(upper)])];
}
