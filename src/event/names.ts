/** Finds which of a few names stands in a document, without making a string of it. */
import { stringOf } from './raw-json.ts';

/** The place of the name between `start` and `end`, without quotes; -1 for none. */
export type FindName = (bytes: Uint8Array, start: number, end: number) => number;

/** The place of the name that a key between `start` and `end`, quotes included, spells; -1 for none. */
export type FindKey = (bytes: Uint8Array, text: string, start: number, end: number) => number;

type Candidate = { readonly place: number; readonly bytes: Buffer };

/** The length of a name distinguishes nearly all of them. */
export function createNameFinder(names: readonly string[]): FindName {
  const ofLength: Candidate[][] = [];
  for (const [place, name] of names.entries()) {
    const bytes = Buffer.from(name);
    (ofLength[bytes.length] ??= []).push({ place, bytes });
  }
  const candidatesOf = Array.from(ofLength, (candidates) => candidates ?? []);

  return (bytes, start, end) => {
    const candidates = candidatesOf[end - start];
    if (candidates === undefined) return -1;
    for (const candidate of candidates) if (isAt(bytes, start, candidate.bytes)) return candidate.place;
    return -1;
  };
}

/** As `createNameFinder`, for keys: escapes may spell a name in another way. `text`: the bytes as byte text. */
export function createKeyFinder(names: readonly string[]): FindKey {
  const findName = createNameFinder(names);
  return (bytes, text, start, end) => {
    const place = findName(bytes, start + 1, end - 1);
    if (place >= 0 || !hasEscape(bytes, start, end)) return place;
    return names.indexOf(stringOf(text.slice(start, end)));
  };
}

function isAt(bytes: Uint8Array, start: number, name: Buffer): boolean {
  const { length } = name;
  for (let i = 0; i < length; i += 1) if (bytes[start + i] !== name[i]) return false;
  return true;
}

/** A text of at least four bytes that is looked for in a document, four bytes at a time. */
export type Pattern = { readonly length: number; readonly words: readonly number[]; readonly last: number };

const WORD = 4;

export function createPattern(text: string): Pattern {
  const bytes = Buffer.from(text);
  const words = Array.from({ length: Math.floor(bytes.length / WORD) }, (_, index) => bytes.readInt32LE(WORD * index));
  return { length: bytes.length, words, last: bytes.readInt32LE(bytes.length - WORD) };
}

/** Whether the pattern stands there in the document. */
export function matchesAt(document: DataView, at: number, { length, words, last }: Pattern): boolean {
  if (at + length > document.byteLength) return false;
  for (let i = 0; i < words.length; i += 1) if (document.getInt32(at + WORD * i, true) !== words[i]) return false;
  return document.getInt32(at + length - WORD, true) === last;
}

/** Whether an escape stands there, by which a name may be spelt in another way. */
function hasEscape(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (bytes[at] === BACKSLASH) return true;
  return false;
}

const BACKSLASH = 0x5c;
