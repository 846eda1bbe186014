/** Which page is shown: what follows `#/` in the address, as segments and a query. */
import { signal } from '@preact/signals';

export type Route = { readonly path: readonly string[]; readonly query: URLSearchParams };

export const route = signal<Route>(read());

/** What a one-time link has in the place of a page. */
const LINK = /^#link=(.+)$/;

// A link is nobody's page: `takeLink` takes it out of the address.
addEventListener('hashchange', () => {
  if (!hasLink()) route.value = read();
});

/** Calls `run` whenever a one-time link is put into the address of the open page. The returned function ends it. */
export function onLink(run: () => void): () => void {
  const look = () => {
    if (hasLink()) run();
  };
  addEventListener('hashchange', look);
  return () => removeEventListener('hashchange', look);
}

const hasLink = () => LINK.test(location.hash);

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
  const [, link] = LINK.exec(location.hash) ?? [];
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
