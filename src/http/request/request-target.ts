import { hasTooManyFields, readForm } from '../../event/form.ts';

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

/** The parameters of a target, no more than a form may have; none where it has no query. */
export function queryOf(target: string): URLSearchParams {
  return readForm(queryIn(target));
}

/** As `queryOf`, read when they are first asked for. */
export function queryReader(target: string): () => URLSearchParams {
  if (!target.includes('?')) return noParameters;
  let query: URLSearchParams | null = null;
  return () => (query ??= queryOf(target));
}

const noParameters = () => readForm('');

export function hasTooManyParameters(target: string): boolean {
  return target.includes('?') && hasTooManyFields(queryIn(target));
}

function queryIn(target: string): string {
  const at = target.indexOf('?');
  return at < 0 ? '' : target.slice(at + 1);
}

const PLAIN_PATH = /^(?:\/[\w-]+)+$/;
/** The part before the path when a target is sent to a proxy. */
const WITH_HOST = /^https?:\/\/[^/?#\\]+/i;
