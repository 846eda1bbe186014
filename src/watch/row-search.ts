/**
 * Finds rows by what stands at their beginning, as bytes: parsing them would cost more than accepting them did. What it
 * finds is a candidate: an event's properties may hold the same bytes, so whoever shows it reads it.
 */
import { spellingsOf } from './spellings.ts';
import type { EventFilter } from './messages.ts';

export type FoundRow = {
  /** In bytes, with its line end. */
  readonly start: number;
  readonly end: number;
};

export type RowSearch = {
  /** How many times the rows are read through. */
  readonly passes: number;
  /** The first rows that match, in order, at most `most`. */
  find(rows: Buffer, most: number): readonly FoundRow[];
};

const LINE_END = 0x0a;

/** Ways to spell what a row must contain, one of them. */
type Needles = readonly Buffer[];

/** null where every row matches. The project is not looked at: an envelope has one. */
export function rowSearchOf({ id, event, user }: Pick<EventFilter, 'id' | 'event' | 'user'>): RowSearch | null {
  const wanted = [
    ...(id === undefined ? [] : [needlesFor([`"event_id":${JSON.stringify(id.toLowerCase())},`])]),
    ...(user === undefined
      ? []
      : [
          needlesFor(
            spellingsOf(user).flatMap((text) => [
              `"anonymous_id":${text},"user_id":`,
              `"user_id":${text},"timestamp":`,
            ]),
          ),
        ]),
    ...(event === undefined ? [] : [needlesFor(spellingsOf(event).map((text) => `"event":${text},"anonymous_id":`))]),
  ];
  return wanted.length === 0 ? null : searchFor(wanted);
}

/** Rows of any of the events. */
export const rowSearchOfIds = (ids: readonly string[]): RowSearch =>
  searchFor([needlesFor(ids.map((id) => `"event_id":${JSON.stringify(id.toLowerCase())},`))]);

function searchFor([first, ...others]: readonly Needles[]): RowSearch {
  const primary = first!;
  return { passes: primary.length, find };

  function find(rows: Buffer, most: number): readonly FoundRow[] {
    const found = new Map<number, FoundRow>();
    for (const needle of primary) {
      for (let from = 0, hits = 0; hits < most;) {
        const at = rows.indexOf(needle, from);
        if (at < 0) break;
        const row = rowAround(rows, at);
        from = row.end;
        if (!others.every((needles) => containsAny(rows.subarray(row.start, row.end), needles))) continue;
        found.set(row.start, row);
        hits += 1;
      }
    }
    return [...found.values()].sort((a, b) => a.start - b.start).slice(0, most);
  }
}

const needlesFor = (texts: readonly string[]): Needles => texts.map((text) => Buffer.from(text));

const containsAny = (row: Buffer, needles: Needles) => needles.some((needle) => row.includes(needle));

function rowAround(rows: Buffer, at: number): FoundRow {
  const end = rows.indexOf(LINE_END, at);
  return { start: rows.lastIndexOf(LINE_END, at) + 1, end: end < 0 ? rows.length : end + 1 };
}

/** The first rows, whatever they are. */
export function firstRows(rows: Buffer, most: number): readonly FoundRow[] {
  const found: FoundRow[] = [];
  for (let start = 0; start < rows.length && found.length < most;) {
    const end = rows.indexOf(LINE_END, start);
    const next = end < 0 ? rows.length : end + 1;
    found.push({ start, end: next });
    start = next;
  }
  return found;
}

/** The number of the row that begins there. */
export function placeOf(rows: Buffer, start: number): number {
  let place = 0;
  for (let at = rows.indexOf(LINE_END); at >= 0 && at < start; at = rows.indexOf(LINE_END, at + 1)) place += 1;
  return place;
}

/** The most of a row that is shown, in bytes. */
const MAX_SHOWN = 8 * 1024;

/** A row as text, or its beginning. */
export function shownRow(rows: Buffer, { start, end }: FoundRow): { readonly row: string; readonly isCut: boolean } {
  const isCut = end - start > MAX_SHOWN;
  return { row: rows.toString('utf8', start, isCut ? start + MAX_SHOWN : end).trimEnd(), isCut };
}
