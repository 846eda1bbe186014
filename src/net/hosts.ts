/** What a server listens on, an address or a name, and how it stands in a URL. */

/** An IPv6 address stands in brackets. */
export const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/**
 * Whether the text is an address or a name that a URL can have. None can have a zone (`fe80::1%eth0`), which has a
 * meaning on one machine only.
 */
export function isListenHost(text: string): boolean {
  return /^[\w.:-]+$/.test(text) && URL.canParse(`http://${hostInUrl(text)}`);
}

/** Whether it stands for all addresses of the machine, however it is written; then it says nothing about names. */
export function isEveryAddress(host: string): boolean {
  const { hostname } = new URL(`http://${hostInUrl(host)}`);
  return hostname === '0.0.0.0' || hostname === '[::]';
}
