/** Texts of events as clients send them: numbers and booleans count as written, and a text that is too long is cut. */
import { rawStringOf, stringOf } from './raw-json.ts';
import { isRefusal, MAX_TEXT_LENGTH, readText } from './text.ts';

export type LenientText = {
  /** The raw string to store. */
  readonly raw: string;
  /** Whether it represents everything that was sent. */
  readonly isWhole: boolean;
  /** The event's member that it is; -1 where it is a part of one. */
  readonly member: number;
};

/** The text that a raw JSON value stands for; null for null, `""`, objects and arrays. */
export function readLenient(raw: string, member: number): LenientText | null {
  const first = raw[0];
  if (raw === 'null' || first === '{' || first === '[') return null;
  const quoted = first === '"' ? raw : `"${raw}"`;
  const read = readText(quoted, MAX_TEXT_LENGTH);
  if (read === null) return null;
  if (!isRefusal(read)) return { raw: read, isWhole: true, member };
  return { raw: rawStringOf(cut(stringOf(quoted))), isWhole: false, member };
}

/** The first code points of a text, as many as a column holds. */
function cut(text: string): string {
  return Array.from(text.slice(0, 2 * MAX_TEXT_LENGTH))
    .slice(0, MAX_TEXT_LENGTH)
    .join('');
}

/** The value of a text. */
export const wordsOf = (text: LenientText | null): string | null => (text === null ? null : stringOf(text.raw));
