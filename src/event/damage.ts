/**
 * Finds where a value that is not JSON ends, so that a damaged event costs only itself. Anything may stand between
 * separators: `NaN`, raw control characters, unknown escapes, a missing value, a surplus comma. The separators
 * themselves, brackets and quotation marks have to match, because a wrong end is worse than none: it would merge
 * events, or turn part of a text into one.
 *
 * Above all, nothing but a separator may follow a text. Where a missing or surplus quotation mark turns texts inside
 * out, the name of the next event's first field follows, and the end counts as unknown.
 */
import { grown } from './json.ts';
import { BYTES_A_STEP, type Steps } from './steps.ts';

/** The value contradicts itself or its neighbours: its end cannot be determined. */
export const UNKNOWN_END = -1;
/** The bytes end within the value. */
export const UNFINISHED = -2;

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const COMMA = 0x2c;
const SLASH = 0x2f;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What has been read of the current part, between two separators. */
type Part = 'nothing' | 'word' | 'closed';

/** Finds the end of one value, which may arrive in chunks. */
export type EndFinder = {
  /**
   * Reads on from `at` to `to`, each byte once. Returns the end of the value, where reading stops, or one of the two
   * reasons why there is none; after `UNFINISHED` it continues with the following bytes.
   */
  read(bytes: Buffer, at: number, to: number): number;
  /** Whether the bytes so far end within a text. */
  isInText(): boolean;
};

export function createEndFinder(): EndFinder {
  let open = new Uint8Array(64);
  let depth = 0;
  let part: Part = 'nothing';
  let isKey = false;
  /** The quotation mark that ends the text being read; 0 outside of one. */
  let mark = 0;
  let isEscaped = false;

  return { read, isInText: () => mark !== 0 };

  function read(bytes: Buffer, start: number, to: number): number {
    let at = start;
    while (at < to) {
      if (mark !== 0) {
        at = mark === QUOTE ? passText(bytes, at, to) : passQuoted(bytes, at, to);
        if (at < 0) return at;
        continue;
      }
      const byte = bytes[at]!;
      switch (byte) {
        case 0x20:
        case 0x09:
        case 0x0a:
        case 0x0d:
          break;
        case OPEN_BRACE:
        case OPEN_BRACKET:
          if (part !== 'nothing' || isKey) return UNKNOWN_END;
          if (depth === open.length) open = grown(open);
          open[depth] = byte;
          depth += 1;
          isKey = byte === OPEN_BRACE;
          break;
        case CLOSE_BRACE:
        case CLOSE_BRACKET:
          if (depth === 0) return part === 'nothing' ? UNKNOWN_END : at;
          // In ASCII a closing bracket or brace stands two behind its opening one.
          depth -= 1;
          if (open[depth] !== byte - 2) return UNKNOWN_END;
          if (depth === 0) return at + 1;
          part = 'closed';
          isKey = false;
          break;
        case COMMA:
          if (depth === 0) return part === 'nothing' ? UNKNOWN_END : at;
          part = 'nothing';
          isKey = open[depth - 1] === OPEN_BRACE;
          break;
        case COLON:
          if (!isKey || part === 'nothing') return UNKNOWN_END;
          part = 'nothing';
          isKey = false;
          break;
        case QUOTE:
        case APOSTROPHE:
          if (part !== 'nothing') return UNKNOWN_END;
          part = 'closed';
          mark = byte;
          break;
        default:
          if (part === 'closed' || !isWordByte(byte)) return UNKNOWN_END;
          part = 'word';
      }
      at += 1;
    }
    return UNFINISHED;
  }

  /** Moves to the end of a text in double quotes: it may contain any byte, and escape any. */
  function passText(bytes: Buffer, start: number, to: number): number {
    for (let at = start; at < to; at += 1) {
      const byte = bytes[at];
      if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else if (byte === QUOTE) {
        mark = 0;
        return at + 1;
      }
    }
    return UNFINISHED;
  }

  /**
   * Moves to the end of a text in apostrophes, as other languages write them. Its content must leave no doubt that it
   * is one.
   */
  function passQuoted(bytes: Buffer, start: number, to: number): number {
    for (let at = start; at < to; at += 1) {
      const byte = bytes[at]!;
      if (byte === APOSTROPHE) {
        mark = 0;
        return at + 1;
      }
      if (byte === QUOTE || byte === BACKSLASH || byte === 0x0a || isBracket(byte)) return UNKNOWN_END;
    }
    return UNFINISHED;
  }
}

/** The end of the value at `start`, or one of the two reasons why there is none. */
export function* endOfDamaged(bytes: Buffer, start: number): Steps<number> {
  const finder = createEndFinder();
  for (let at = start; at < bytes.length; at += BYTES_A_STEP) {
    const end = finder.read(bytes, at, Math.min(at + BYTES_A_STEP, bytes.length));
    if (end !== UNFINISHED) return end;
    yield;
  }
  return UNFINISHED;
}

/** Whether a byte may be part of a word, such as `NaN` or a key without quotes. A slash may begin a comment. */
function isWordByte(byte: number): boolean {
  if (byte === 0x0b || byte === 0x0c) return false;
  if (byte === QUOTE || byte === APOSTROPHE || byte === COMMA || byte === COLON || byte === SLASH) return false;
  return !isBracket(byte);
}

function isBracket(byte: number): boolean {
  return byte === OPEN_BRACE || byte === CLOSE_BRACE || byte === OPEN_BRACKET || byte === CLOSE_BRACKET;
}
