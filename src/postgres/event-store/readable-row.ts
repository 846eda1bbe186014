/**
 * What Postgres cannot read: U+0000, and halves of surrogate pairs, both only as escapes; and numbers with more digits
 * than its type has. One of them in a document would fail every insert, or every look into it. In texts they become
 * U+2400, the symbol for NULL, and U+FFFD, and such numbers become texts of their digits; what was sent stands beside
 * the readable document (decision 53).
 */
import { membersOf } from '../../event/extras.ts';
import { rawStringOf, stringOf } from '../../event/raw-json.ts';

/** What is behind two backslashes may be no first half. */
const SUSPECT_ESCAPE = /\\u(?:0000|[dD][89abAB](?!..\\u[dD][c-fC-F]))|(?<!(?<!\\)\\u[dD][89abAB]..)\\u[dD][c-fC-F]/;
/** An exponent of four digits; the type ends at 16 383 digits behind the point. */
const SUSPECT_NUMBER = /[eE][+-]?0*[1-9][0-9]{3}/;
/** The same where a value ends: ids in hexadecimal digits are full of such places. */
const SUSPECT_END = new RegExp(String.raw`${SUSPECT_NUMBER.source}[0-9]*[\s,\]}]`);

/** A text, or a number. */
const VALUE = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+-]*/g;

/**
 * One escape, whole: a surrogate pair, what cannot be read, or any other. Only from one to the next is it certain that
 * a backslash begins one.
 */
const ESCAPE = /\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u(0000|[dD][89a-fA-F]..)|\\./g;

/** Documents, and the member that has one as it was sent. */
const SENT = new Map([
  ['properties', 'properties_sent'],
  ['extras', 'extras_sent'],
]);
const SENT_NAMES = new Set(SENT.values());

/** Whether NDJSON, as byte text, may hold something that Postgres cannot read. */
export const hasUnreadable = (ndjson: string): boolean => hasUnreadableText(ndjson) || SUSPECT_END.test(ndjson);

const hasUnreadableText = (raw: string): boolean => raw.includes(String.raw`\u`) && SUSPECT_ESCAPE.test(raw);

/** The row, or the same in a form that Postgres can read. */
export function readableRow(row: Buffer): Buffer {
  const raw = row.toString('latin1');
  return hasUnreadable(raw) ? Buffer.from(`${readableMembers(raw)}\n`, 'latin1') : row;
}

function readableMembers(row: string): string {
  const members = new Map<string, string>();
  for (const { key, value } of membersOf(row)) members.set(stringOf(key), value);
  for (const [document, sent] of SENT) {
    const raw = members.get(document);
    const readable = raw === undefined ? undefined : readableText(raw);
    if (raw === readable || members.has(sent)) continue;
    members.set(sent, raw!);
  }
  const parts = Array.from(members, ([name, value]) => {
    const readable = readableText(value);
    // As a text: it is not to be read.
    const written = readable !== value && SENT_NAMES.has(name) ? JSON.stringify(value) : readable;
    return `${rawStringOf(name)}:${written}`;
  });
  return `{${parts.join(',')}}`;
}

/** A raw text or document, as byte text, in a form that Postgres can read. */
export const readableText = (raw: string): string =>
  raw.replaceAll(VALUE, (value) => {
    if (value[0] !== '"') return SUSPECT_NUMBER.test(value) ? `"${value}"` : value;
    return hasUnreadableText(value) ? value.replaceAll(ESCAPE, readableEscape) : value;
  });

function readableEscape(escape: string, unreadable?: string): string {
  if (unreadable === undefined) return escape;
  return unreadable === '0000' ? String.raw`\u2400` : String.raw`\ufffd`;
}
