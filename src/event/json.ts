/**
 * A strict JSON (RFC 8259) scanner. It finds where values begin and end and
 * never builds them, so that what a client wrote can be copied byte for byte.
 *
 * It reads bytes, not characters: every byte that JSON gives a meaning to is
 * ASCII, and validity as UTF-8 is checked elsewhere, once. Pieces are cut out of
 * a latin1 decoding of the same bytes, in which one character is one byte
 * ("byte text"). Looking at bytes in the Buffer is about five times as fast as
 * `charCodeAt`; cutting strings is far cheaper than cutting Buffers.
 *
 * Nothing recurses: ten million open brackets cost ten million bytes of stack
 * kept on the heap, and no call frames.
 */

/** A place in a document. The functions below move it forward. */
export type Scanner = {
  readonly bytes: Buffer;
  /** The same bytes as byte text. */
  readonly text: string;
  /** The next byte to read. */
  at: number;
  /** The raw key found by the last `nextKey`, quotes included. */
  keyStart: number;
  keyEnd: number;
  /** How many containers deep the last scanned value is: 0 for a scalar, 1 for `{}`. */
  deepest: number;
  /** Why the document is not JSON; null while it may still be. Never quotes the document. */
  problem: string | null;
  /** Whether the cursor stands right behind the opening bracket of a container that was entered. */
  isFirst: boolean;
};

/**
 * The opening brackets of the containers that `scanValue` is inside of, as long as there are few. One for all scans:
 * none begins inside another, and each of them would otherwise begin with new memory.
 */
const SHALLOW = new Uint8Array(64);

const END = -1;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** A scanner of raw JSON that was read before, such as a member's value. */
export const scannerOf = (raw: string): Scanner => createScanner(Buffer.from(raw, 'latin1'), raw);

/**
 * Starts at the first value of the document, behind a byte order mark if there is one. `text`: the same as byte text.
 */
export function createScanner(bytes: Buffer, text: string = bytes.toString('latin1')): Scanner {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return {
    bytes,
    text,
    at: skipSpace(bytes, hasMark ? 3 : 0),
    keyStart: 0,
    keyEnd: 0,
    deepest: 0,
    problem: null,
    isFirst: false,
  };
}

export function isAtObject(scanner: Scanner): boolean {
  return scanner.bytes[scanner.at] === OPEN_BRACE;
}

export function isAtArray(scanner: Scanner): boolean {
  return scanner.bytes[scanner.at] === OPEN_BRACKET;
}

/** Steps into the object or array the cursor stands at; `nextKey` or `nextElement` follows. */
export function enter(scanner: Scanner): void {
  scanner.at += 1;
  scanner.isFirst = true;
}

/**
 * Moves to the value of the entered object's next member, and notes its key.
 * False behind the end of the object, and when there is a `problem`.
 */
export function nextKey(scanner: Scanner): boolean {
  if (!nextPart(scanner, CLOSE_BRACE)) return false;
  const end = keyEndAt(scanner, scanner.at);
  if (end < 0) return false;
  scanner.keyStart = scanner.at;
  scanner.keyEnd = end;
  scanner.at = valueAfterKey(scanner, end);
  return scanner.at >= 0;
}

/** Moves to the entered array's next element. False behind the end of the array, and when there is a `problem`. */
export function nextElement(scanner: Scanner): boolean {
  return nextPart(scanner, CLOSE_BRACKET);
}

/** Whether nothing but white space is left; anything else is a `problem`. */
export function isAtEnd(scanner: Scanner): boolean {
  const at = skipSpace(scanner.bytes, scanner.at);
  if (at === scanner.bytes.length) return true;
  fail(scanner, at, 'expected nothing behind the document');
  return false;
}

/** Moves behind the value the cursor stands at and notes how deep it is. False when it is not JSON. */
export function scanValue(scanner: Scanner): boolean {
  const { bytes } = scanner;
  let { at } = scanner;
  let open = SHALLOW;
  let depth = 0;
  let deepest = 0;
  for (;;) {
    const first = bytes[at] ?? END;
    if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      if (depth === open.length) open = grown(open);
      open[depth] = first;
      depth += 1;
      if (depth > deepest) deepest = depth;
      at = skipSpace(bytes, at + 1);
      if (bytes[at] !== closingOf(first)) {
        if (first === OPEN_BRACE) at = valueAfterKey(scanner, keyEndAt(scanner, at));
        if (at < 0) return false;
        continue;
      }
    } else {
      at = first === QUOTE ? stringEnd(scanner, at) : plainEnd(scanner, at);
      if (at < 0) return false;
    }
    // Behind a value, or at the closing bracket of an empty container: close
    // what closes here, until another value is due.
    for (;;) {
      if (depth === 0) {
        scanner.at = at;
        scanner.deepest = deepest;
        return true;
      }
      at = skipSpace(bytes, at);
      const opening = open[depth - 1] ?? END;
      if (bytes[at] === closingOf(opening)) {
        depth -= 1;
        at += 1;
        continue;
      }
      if (bytes[at] !== COMMA) return fail(scanner, at, separatorsIn(opening)) > 0;
      at = skipSpace(bytes, at + 1);
      if (opening === OPEN_BRACE) at = valueAfterKey(scanner, keyEndAt(scanner, at));
      if (at < 0) return false;
      break;
    }
  }
}

/**
 * The string that a raw JSON string or key stands for: byte text and escapes
 * are resolved, so that two spellings of one name are equal.
 */
export function stringOf(raw: string): string {
  if (isPlain(raw)) return raw.slice(1, -1);
  // A scanned string token always parses, and parsing it makes nothing but a string.
  return JSON.parse(Buffer.from(raw, 'latin1').toString('utf8')) as string;
}

/** The raw JSON string, as byte text, that stands for `value`, which is made well-formed. */
export function rawStringOf(value: string): string {
  if (ITS_OWN_SPELLING.test(value)) return `"${value}"`;
  return Buffer.from(JSON.stringify(value.toWellFormed()), 'utf8').toString('latin1');
}

/**
 * Raw JSON without line ends. They can only stand between tokens, where a space
 * means the same; inside a string they must be escaped.
 */
export function onOneLine(raw: string): string {
  if (!raw.includes('\n') && !raw.includes('\r')) return raw;
  // Byte by byte: replacing by pattern takes a hundred times as long where there are many.
  const bytes = Buffer.from(raw, 'latin1');
  for (let i = 0; i < bytes.length; i += 1) if (bytes[i] === 0x0a || bytes[i] === 0x0d) bytes[i] = 0x20;
  return bytes.toString('latin1');
}

/** Printable ASCII that JSON need not escape. */
const ITS_OWN_SPELLING = /^[ !#-[\]-~]*$/;

/** Whether a raw string is ASCII without escapes, and so already its own value. */
function isPlain(raw: string): boolean {
  return !/[\\\x80-\xff]/.test(raw);
}

/** Moves to the next part of the entered container, or behind its end. */
function nextPart(scanner: Scanner, closing: number): boolean {
  const { bytes, isFirst } = scanner;
  scanner.isFirst = false;
  scanner.at = skipSpace(bytes, scanner.at);
  if (bytes[scanner.at] === closing) {
    scanner.at += 1;
    return false;
  }
  if (isFirst) return true;
  if (bytes[scanner.at] !== COMMA) return fail(scanner, scanner.at, separatorsIn(closing - 2)) > 0;
  scanner.at = skipSpace(bytes, scanner.at + 1);
  return true;
}

function keyEndAt(scanner: Scanner, at: number): number {
  if (scanner.bytes[at] !== QUOTE) return fail(scanner, at, 'expected a key in double quotes');
  return stringEnd(scanner, at);
}

/** Where the value begins whose key ends at `keyEnd`; passes a failed key on. */
function valueAfterKey(scanner: Scanner, keyEnd: number): number {
  if (keyEnd < 0) return keyEnd;
  const { bytes } = scanner;
  const at = skipSpace(bytes, keyEnd);
  if (bytes[at] !== COLON) return fail(scanner, at, "expected ':'");
  return skipSpace(bytes, at + 1);
}

function stringEnd(scanner: Scanner, start: number): number {
  const { bytes } = scanner;
  let at = start + 1;
  for (;;) {
    const byte = bytes[at] ?? END;
    // Most characters are lower-case letters, which one comparison lets pass.
    if (byte > BACKSLASH || (byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH)) at += 1;
    else if (byte === QUOTE) return at + 1;
    else if (byte !== BACKSLASH) {
      return fail(scanner, at, byte === END ? 'expected the end of a string' : 'expected no control character');
    } else if (isEscapeAt(bytes, at)) {
      // The digits of a `\u` escape pass as ordinary characters.
      at += 2;
    } else return fail(scanner, at, 'expected a valid escape');
  }
}

function isEscapeAt(bytes: Buffer, at: number): boolean {
  switch (bytes[at + 1] ?? END) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return true;
    case 0x75: // u
      for (let i = at + 2; i < at + 6; i += 1) if (!isHexDigit(bytes[i] ?? END)) return false;
      return true;
    default:
      return false;
  }
}

/** The end of a number, `true`, `false` or `null`. */
function plainEnd(scanner: Scanner, at: number): number {
  const { bytes } = scanner;
  const byte = bytes[at] ?? END;
  if (byte === MINUS || isDigit(byte)) return numberEnd(scanner, at);
  if (byte === 0x74) return wordEnd(scanner, at, 'true');
  if (byte === 0x66) return wordEnd(scanner, at, 'false');
  if (byte === 0x6e) return wordEnd(scanner, at, 'null');
  return fail(scanner, at, 'expected a value');
}

function wordEnd(scanner: Scanner, at: number, word: string): number {
  return scanner.text.startsWith(word, at) ? at + word.length : fail(scanner, at, 'expected a value');
}

function numberEnd(scanner: Scanner, start: number): number {
  const { bytes } = scanner;
  let at = bytes[start] === MINUS ? start + 1 : start;
  if (bytes[at] === ZERO) at += 1;
  else if ((at = digitsEnd(scanner, at)) < 0) return at;
  if (bytes[at] === DOT && (at = digitsEnd(scanner, at + 1)) < 0) return at;
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    const sign = bytes[at + 1];
    at = digitsEnd(scanner, sign === 0x2b || sign === MINUS ? at + 2 : at + 1);
  }
  return at;
}

/** The end of one or more digits. */
function digitsEnd(scanner: Scanner, start: number): number {
  const { bytes } = scanner;
  let at = start;
  while (isDigit(bytes[at] ?? END)) at += 1;
  return at > start ? at : fail(scanner, at, 'expected a digit');
}

function skipSpace(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const byte = bytes[at] ?? END;
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return at;
    at += 1;
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

export function isHexDigit(byte: number): boolean {
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66);
}

/** In ASCII a closing bracket or brace stands two behind its opening one. */
function closingOf(opening: number): number {
  return opening + 2;
}

function separatorsIn(opening: number): string {
  return opening === OPEN_BRACE ? "expected ',' or '}'" : "expected ',' or ']'";
}

function grown(open: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(open.length * 2);
  larger.set(open);
  return larger;
}

/** Notes the problem; -1 stands for "nowhere" in every function that returns a place. */
function fail(scanner: Scanner, at: number, expected: string): -1 {
  const place = at >= scanner.bytes.length ? 'the end' : `byte ${at}`;
  scanner.problem = `invalid JSON at ${place}: ${expected}`;
  return -1;
}
