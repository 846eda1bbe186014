/**
 * Rows as Postgres takes them: one JSON array for all of a batch, which it reads itself, so that nested documents keep
 * their bytes.
 */
import { monthsOf } from './arrivals.ts';
import { hasUnreadable, readableRow } from './readable-row.ts';
import { splitRows } from '../../event/rows.ts';

export type SentRows = {
  /** JSON in UTF-8. */
  readonly array: Buffer;
  readonly count: number;
  /** The months of arrival, `2026-11`, ascending; null when some row does not tell. */
  readonly months: readonly string[] | null;
};

const LINE_END = 0x0a;
const COMMA = 0x2c;
const OPEN = 0x5b;
const CLOSE = 0x5d;

/** NDJSON in chunks, as one array. */
export function sentRowsOf(chunks: readonly Buffer[]): SentRows {
  const lines = linesOf(chunks);
  const text = lines.toString('latin1');
  const months = monthsOf(text);
  const array = hasUnreadable(text) ? linesOf(splitRows(lines.subarray(1)).map(readableRow)) : lines;
  let count = 0;
  for (let at = array.indexOf(LINE_END); at >= 0; at = array.indexOf(LINE_END, at + 1)) {
    array[at] = COMMA;
    count += 1;
  }
  array[array.length - 1] = CLOSE;
  return { array, count, months };
}

/** The rows as they are, behind a bracket; the last one ends with a line end. */
function linesOf(chunks: readonly Buffer[]): Buffer {
  const isEnded = chunks.at(-1)?.at(-1) === LINE_END;
  return Buffer.concat([Buffer.of(OPEN), ...chunks, ...(isEnded ? [] : [Buffer.of(LINE_END)])]);
}
