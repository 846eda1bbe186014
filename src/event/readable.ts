/**
 * A form that ClickHouse can read of the documents that it cannot. To its functions for JSON, a document with one number
 * beyond its range, or one half of a surrogate pair, is none at all. Such numbers become texts of their digits, such
 * halves U+FFFD as in the columns; every other byte stays.
 */
import { scannerOf, scanValue } from './json.ts';
import type { RowParts } from './row.ts';

/** The parts of a row with readable documents, each with the one that was sent beside it where they differ. */
export function withReadable(parts: RowParts): RowParts {
  const properties = readableForm(parts.properties);
  const extras = readableForm(parts.extras);
  return {
    ...parts,
    properties,
    extras,
    ...(properties !== parts.properties && { propertiesSent: parts.properties }),
    ...(extras !== parts.extras && { extrasSent: parts.extras }),
  };
}

/** Raw JSON that ClickHouse can read; the same where it can read that. */
export function readableForm(raw: string): string {
  const scanner = scannerOf(raw);
  const places: number[] = [];
  scanner.unreadable = places;
  scanValue(scanner);
  const parts: string[] = [];
  let copied = 0;
  for (let i = 0; i < places.length; i += 2) {
    const start = places[i]!;
    const end = places[i + 1]!;
    parts.push(raw.slice(copied, start), raw[start] === '\\' ? REPLACEMENT : `"${raw.slice(start, end)}"`);
    copied = end;
  }
  return copied === 0 ? raw : parts.join('') + raw.slice(copied);
}

/** What stands for a half of a surrogate pair in text that is made well-formed. */
const REPLACEMENT = '\\ufffd';
