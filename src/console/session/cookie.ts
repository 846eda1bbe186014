/** The cookie of a session, and the token that its changes need besides. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { SESSION_HOURS } from '../../postgres/accounts/console-sessions.ts';

const NAME = 'weir_console';
/** 32 bytes in base64url. */
const SESSION_ID = /^[\w-]{43}$/;
const SECONDS_PER_HOUR = 3_600;

/**
 * The session's id in a `Cookie` header; null when there is none. Also null where there are two: another service on this
 * host, or on a host beneath, has set one, and which is the browser's own cannot be told.
 */
export function sessionIdIn(header: string | undefined): string | null {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${NAME}=`))
    .map((pair) => pair.slice(NAME.length + 1));
  return values.length === 1 && SESSION_ID.test(values[0]!) ? values[0]! : null;
}

/** A `Set-Cookie` header that begins a session. */
export const cookieOf = (id: string, isSecure: boolean): string =>
  setCookie(id, SESSION_HOURS * SECONDS_PER_HOUR, isSecure);

/** A `Set-Cookie` header that takes the cookie away. */
export const noCookie = (isSecure: boolean): string => setCookie('', 0, isSecure);

function setCookie(value: string, maxAgeS: number, isSecure: boolean): string {
  const secure = isSecure ? '; Secure' : '';
  return `${NAME}=${value}; Path=/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`;
}

/** What `X-Weir-Csrf` must hold: only whoever can read this session's answers knows it. */
export function csrfOf(id: string): string {
  return createHmac('sha256', id).update('weir console: changes').digest('base64url');
}

export function isCsrf(given: string | undefined, id: string): boolean {
  const expected = Buffer.from(csrfOf(id));
  const bytes = Buffer.from(given ?? '');
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}
