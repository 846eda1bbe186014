/**
 * Which pages may call: what a browser sends as `Origin`, and patterns for some of them. An exact origin of the web or
 * of an app (`capacitor://localhost`, `chrome-extension://…`), or all hosts beneath a domain: `https://*.example.com`,
 * which excludes `https://example.com` itself.
 */

export const ORIGIN_EXAMPLES =
  'https://app.example.com, https://*.example.com for every host beneath it, or capacitor://localhost';

export const ORIGIN_RULE = `An origin such as ${ORIGIN_EXAMPLES}; no path.`;

const MAX_CHARACTERS = 253 + 64;
const LABELS = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*';
/** A domain of at least two labels, or one that means this machine: nobody owns all of `*.com`. */
const BENEATH = new RegExp(`^https?://\\*\\.(?:${LABELS}\\.[a-z0-9-]*[a-z0-9]|localhost)(?::[1-9]\\d{0,4})?$`);
const HOSTS = new RegExp(`^${LABELS}$`);
/** Origins of apps and extensions; a browser takes their hosts as written. */
const APP = /^(?!https?:|file:|data:|javascript:|about:|blob:)[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9._-]+(?::[1-9]\d{0,4})?$/;

/** Whether the text is an origin, or a pattern of origins, that can ever match. */
export function isOriginPattern(text: string): boolean {
  if (text.length > MAX_CHARACTERS) return false;
  return isWebOrigin(text) || APP.test(text) || BENEATH.test(text);
}

/** Whether one of the patterns matches the page's origin. */
export function isOriginOf(origin: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => pattern === origin || isBeneath(origin, pattern));
}

function isBeneath(origin: string, pattern: string): boolean {
  const star = pattern.indexOf('*');
  if (star === -1 || origin.length > MAX_CHARACTERS) return false;
  const start = pattern.slice(0, star);
  const end = pattern.slice(star + 1);
  if (origin.length <= start.length + end.length || !origin.startsWith(start) || !origin.endsWith(end)) return false;
  return HOSTS.test(origin.slice(start.length, -end.length));
}

/** Whether a browser would send exactly this text for a page of the web. */
function isWebOrigin(text: string): boolean {
  // The parser would take the star of a pattern for part of a host.
  if (text.includes('*') || !URL.canParse(text)) return false;
  const parsed = new URL(text);
  return (parsed.protocol === 'https:' || parsed.protocol === 'http:') && parsed.origin === text;
}
