/**
 * Finds the token of a native request before its events are scanned, so that no client can have a large body scanned
 * without a token. Looks where clients write it: among the short members before or behind the events. The result is
 * only a first check: the scan of the whole envelope decides.
 */
import { createScanner, enter, isAtArray, isAtEnd, isAtObject, nextKey, scanValue, type Scanner } from './json.ts';

/** The envelope's short members fit into this, even with every character escaped. */
const MAX_END_BYTES = 4 * 1024;
const KEY = '"token"';
/** Tokens are visible ASCII and need no escapes. */
const PLAIN_TOKEN = /^"[\x21\x23-\x5b\x5d-\x7e]+"$/;
/** A client that imitates a token within its events only loses its own request. */
const MAX_TRIES = 4;

/** The token; null when it is written in an unusual way, or there is none. Never reads more than a few kilobytes. */
export function findToken(body: Buffer): string | null {
  const scanner = createScanner(body.subarray(0, MAX_END_BYTES));
  if (!isAtObject(scanner)) return null;
  return tokenInMembers(scanner) ?? tokenBehind(body.subarray(-MAX_END_BYTES));
}

/** Behind the last event: the rest of the envelope must follow, and nothing else. */
function tokenBehind(rest: Buffer): string | null {
  let at = rest.lastIndexOf(KEY);
  for (let tries = 0; at >= 0 && tries < MAX_TRIES; tries += 1) {
    const scanner = createScanner(Buffer.concat([OPENING, rest.subarray(at)]));
    const token = tokenInMembers(scanner);
    if (token !== null) {
      while (nextKey(scanner) && !isContainer(scanner) && scanValue(scanner));
      if (scanner.problem === null && isAtEnd(scanner)) return token;
    }
    at = at === 0 ? -1 : rest.lastIndexOf(KEY, at - 1);
  }
  return null;
}

const OPENING = Buffer.from('{');

/** Reads the members of the object at the cursor up to the token, in front of the first array or object. */
function tokenInMembers(scanner: Scanner): string | null {
  enter(scanner);
  while (nextKey(scanner) && !isContainer(scanner)) {
    const { keyStart, keyEnd, at } = scanner;
    if (!scanValue(scanner)) return null;
    if (scanner.text.slice(keyStart, keyEnd) !== KEY) continue;
    const raw = scanner.text.slice(at, scanner.at);
    return PLAIN_TOKEN.test(raw) ? raw.slice(1, -1) : null;
  }
  return null;
}

const isContainer = (scanner: Scanner) => isAtObject(scanner) || isAtArray(scanner);
