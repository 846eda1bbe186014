/** What a line of a JSON body shows without a scan of its values. */
import { createEndFinder, UNFINISHED } from '../../event/damage.ts';
import { skipSpace } from '../../event/json.ts';

const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;

/** Whether a line ends within an object or a list, without a contradiction before. */
export function isUnfinished(sent: Buffer): boolean {
  const line = withoutByteOrderMark(sent);
  let isInList = false;
  for (let at = skipSpace(line, 0); at < line.length; at = skipSpace(line, at)) {
    const byte = line[at];
    if (isInList && (byte === COMMA || byte === CLOSE_BRACKET)) {
      isInList = byte === COMMA;
      at += 1;
    } else if (!isInList && byte === OPEN_BRACKET) {
      isInList = true;
      at += 1;
    } else if (isInList || byte === OPEN_BRACE) {
      const finder = createEndFinder();
      const end = finder.read(line, at, line.length);
      if (end < 0) return end === UNFINISHED && !finder.isInText();
      at = end;
    } else return false;
  }
  return isInList;
}

/** Whether the beginning of a line holds a list, or an object with another one behind it. */
export function holdsSeveralValues(start: Buffer): boolean {
  const at = skipSpace(start, 0);
  if (start[at] === OPEN_BRACKET) return true;
  if (start[at] !== OPEN_BRACE) return false;
  const end = createEndFinder().read(start, at, start.length);
  return end >= 0 && start[skipSpace(start, end)] === OPEN_BRACE;
}

/** The bytes behind a byte order mark, if any. */
export function withoutByteOrderMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d;
}

/** Whether the line is only white space. */
export function isBlank(line: Buffer): boolean {
  for (const byte of line) if (!isSpace(byte)) return false;
  return true;
}
