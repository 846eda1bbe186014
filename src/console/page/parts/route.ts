/** Which page is shown: what follows `#/` in the address, as segments and a query. */
import { signal } from '@preact/signals';

export type Route = { readonly path: readonly string[]; readonly query: URLSearchParams };

export const route = signal<Route>(read());

addEventListener('hashchange', () => (route.value = read()));

/** The address of a page, for links. Segments are encoded. */
export function linkTo(path: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const asked = new URLSearchParams(query).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${asked === '' ? '' : `?${asked}`}`;
}

export function goTo(path: readonly string[], query: Readonly<Record<string, string>> = {}): void {
  location.hash = linkTo(path, query);
}

/** The secret of a one-time link; it is taken out of the address at once, and so out of the history. */
export function takeLink(): string | null {
  const [, link] = /^#link=(.+)$/.exec(location.hash) ?? [];
  if (link === undefined) return null;
  history.replaceState(null, '', `${location.pathname}#/now`);
  route.value = read();
  return decoded(link);
}

function read(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
