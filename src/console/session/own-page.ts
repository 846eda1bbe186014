/**
 * Only the console's own page may talk to it. A name that somebody points at this address (DNS rebinding) is refused by
 * the request's `Host`; other sites' pages by what browsers say of where a request comes from.
 */
import type { MiddlewareHandler } from 'hono';
import type { ConsoleEnv } from '../env.ts';
import { hostInUrl, isEveryAddress } from '../../net/hosts.ts';
import { refuse } from '../refusals.ts';

/** Where the console is reached. */
export type ConsoleAddress = {
  /** The address that it listens on. */
  readonly host: string;
  readonly port: number;
  /** Its origin as browsers see it behind a proxy; null where there is none. */
  readonly publicOrigin: string | null;
};

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

export const changes = (method: string): boolean => !READS.has(method);

/** The origins of the console's page, the one to give to people first. */
export function originsOf({ host, port, publicOrigin }: ConsoleAddress): string[] {
  const own = isEveryAddress(host) ? [] : [hostInUrl(host)];
  const names = new Set([...own, '127.0.0.1', 'localhost', '[::1]']);
  // As browsers write them: without the port that is the scheme's own.
  const origins = [...names].map((name) => new URL(`http://${name}:${port}`).origin);
  return publicOrigin === null ? origins : [publicOrigin, ...origins.filter((origin) => origin !== publicOrigin)];
}

/** Refuses with 421 what is asked under any other name, before anything of the request is looked at. */
export function knownHost(address: ConsoleAddress): MiddlewareHandler<ConsoleEnv> {
  const hosts = new Set(originsOf(address).map((origin) => new URL(origin).host));
  return async (c, next) => {
    const host = c.req.header('Host')?.toLowerCase();
    if (host === undefined || !hosts.has(host)) return refuse(c, { refused: 'unknown_host' });
    return next();
  };
}

/**
 * Refuses what a page of another site makes a browser send. A change has to bring the console's `Origin`, which every
 * browser sends with one and no page can forge.
 */
export function ownPage(address: ConsoleAddress): MiddlewareHandler<ConsoleEnv> {
  const origins = new Set(originsOf(address));
  return async (c, next) => {
    const origin = c.req.header('Origin');
    const site = c.req.header('Sec-Fetch-Site');
    const isForeign =
      (origin === undefined ? changes(c.req.method) : !origins.has(origin)) ||
      (site !== undefined && site !== 'same-origin' && site !== 'none');
    if (isForeign) return refuse(c, { refused: 'foreign_page' });
    return next();
  };
}
