/** Lets nobody in without a session, and nobody change anything without its token and the role for it. */
import type { MiddlewareHandler } from 'hono';
import type { SessionOwner } from '../../postgres/accounts/console-sessions.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ConsoleEnv, Operator } from '../env.ts';
import { refuse } from '../refusals.ts';
import { isCsrf, sessionIdIn } from './cookie.ts';
import { endingWith, goesOn } from './ending-streams.ts';
import { changes } from './own-page.ts';
import type { RememberedSessions } from './remembered-sessions.ts';

/** Who sees the contents of events: `CONSOLE_SHOW_EVENTS`. */
export type ShowEvents = 'operators' | 'everyone' | 'off';

type Deps = {
  readonly sessions: Pick<RememberedSessions, 'find' | 'findOrRemember'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly showEvents: ShowEvents;
  /** Paths whose POST changes nothing, with `:name` for any part: a viewer may send it. */
  readonly readingPosts: readonly string[];
};

/**
 * Refuses requests without a live session, changes without the session's token, and what viewers must not do; no route
 * can forget it. While Postgres is away, a session that was found lately still reads.
 */
export function signedIn({ sessions, clock, showEvents, readingPosts }: Deps): MiddlewareHandler<ConsoleEnv> {
  const reading = readingPosts.map((path) => new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`));

  return async (c, next) => {
    const id = sessionIdIn(c.req.header('Cookie'));
    const isChange = changes(c.req.method);
    // Whoever wants to be forgotten needs no Postgres for that.
    const mayBeRemembered = !isChange || isSignOut(c.req.method, c.req.path);
    const owner = id === null ? null : await (mayBeRemembered ? sessions.findOrRemember(id) : sessions.find(id));
    if (id === null || owner === null) return refuse(c, { refused: 'not_signed_in' });
    if (isChange && !isCsrf(c.req.header('X-Weir-Csrf'), id)) return refuse(c, { refused: 'invalid_csrf' });
    if (isChange && owner.role === 'viewer' && !mayView(c.req.method, c.req.path)) {
      return refuse(c, { refused: 'forbidden' });
    }
    c.set('operator', operatorOf(owner, showEvents));
    await next();
    // In an outage, a stream goes on for as long as its session is remembered.
    const isLive = async () => (await sessions.findOrRemember(id).catch(() => null)) !== null;
    if (goesOn(c.res)) c.res = endingWith(c.res, { isLive, clock });
    return undefined;
  };

  /** Everybody may sign out. */
  function mayView(method: string, path: string): boolean {
    if (isSignOut(method, path)) return true;
    return method === 'POST' && reading.some((pattern) => pattern.test(path));
  }
}

const isSignOut = (method: string, path: string) => method === 'DELETE' && path.endsWith('/operator/session');

/** What a handler knows of whoever is signed in. */
export function operatorOf({ name, role }: SessionOwner, showEvents: ShowEvents): Operator {
  return { name, role, showsEvents: showEvents === 'everyone' || (showEvents === 'operators' && role === 'operator') };
}
