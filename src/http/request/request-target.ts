/**
 * The path that the target of a request names, with escapes and dots resolved; empty when it names none. A target that
 * begins with a slash is a path from its first character to its last: text between two slashes is no host, and a
 * backslash is no slash, whatever an address bar makes of them.
 */
export function pathIn(target: string): string {
  const end = target.indexOf('?');
  const whole = end < 0 ? target : target.slice(0, end);
  if (PLAIN_PATH.test(whole)) return whole;
  const path = whole.replace(WITH_HOST, '') || '/';
  if (!path.startsWith('/') || path.includes('\\')) return '';
  try {
    return decodeURI(new URL(`http://localhost${path}`).pathname);
  } catch {
    return ''; // Escapes of nothing.
  }
}

/** A path without empty segments: neither two slashes next to each other, nor one at the end. */
export function foldedPath(path: string): string {
  return path.replaceAll(EMPTY_SEGMENTS, '') || '/';
}

const EMPTY_SEGMENTS = /\/(?=\/|$)/g;

/** The parameters of a target; none where it has no query. */
export function queryOf(target: string): URLSearchParams {
  const at = target.indexOf('?');
  return new URLSearchParams(at < 0 ? '' : target.slice(at));
}

const PLAIN_PATH = /^(?:\/[\w-]+)+$/;
/** The part before the path when a target is sent to a proxy. */
const WITH_HOST = /^https?:\/\/[^/?#\\]+/i;
