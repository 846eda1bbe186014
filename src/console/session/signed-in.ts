/** Lets nobody in without a session, and nobody change anything without its token and the role for it. */
import { hash } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { LRUCache } from 'lru-cache';
import {
  type ConsoleSessions,
  IDLE_HOURS,
  SESSION_HOURS,
  type SessionOwner,
} from '../../postgres/accounts/console-sessions.ts';
import { PostgresFailure } from '../../postgres/connection/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { ConsoleEnv, Operator } from '../env.ts';
import { refuse } from '../refusals.ts';
import { isCsrf, sessionIdIn } from './cookie.ts';
import { endingWith, goesOn } from './ending-streams.ts';
import { changes } from './own-page.ts';

/** Who sees the contents of events: `CONSOLE_SHOW_EVENTS`. */
export type ShowEvents = 'operators' | 'everyone' | 'off';

type Deps = {
  readonly find: ConsoleSessions['find'];
  readonly clock: Pick<Clock, 'elapsed' | 'sleep'>;
  readonly showEvents: ShowEvents;
  /** Paths whose POST changes nothing, with `:name` for any part: a viewer may send it. */
  readonly readingPosts: readonly string[];
};

const MS_PER_HOUR = 3_600_000;
const MAX_KNOWN = 1_000;

type Known = { readonly owner: SessionOwner; readonly since: number; seenAt: number };

/**
 * Refuses requests without a live session, changes without the session's token, and what viewers must not do; no route
 * can forget it. While Postgres is away, a session that was seen before still reads: that is when people look.
 */
export function signedIn({ find, clock, showEvents, readingPosts }: Deps): MiddlewareHandler<ConsoleEnv> {
  const reading = readingPosts.map((path) => new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`));
  const known = new LRUCache<string, Known>({ max: MAX_KNOWN });

  return async (c, next) => {
    const id = sessionIdIn(c.req.header('Cookie'));
    const isChange = changes(c.req.method);
    const owner = id === null ? null : await ownerOf(id, { mayRemember: !isChange });
    if (id === null || owner === null) return refuse(c, { refused: 'not_signed_in' });
    if (isChange && !isCsrf(c.req.header('X-Weir-Csrf'), id)) return refuse(c, { refused: 'invalid_csrf' });
    if (isChange && owner.role === 'viewer' && !mayView(c.req.method, c.req.path)) {
      return refuse(c, { refused: 'forbidden' });
    }
    c.set('operator', operatorOf(owner, showEvents));
    await next();
    // Of a stream in an outage nobody can say that its session has ended.
    const isLive = async () => (await ownerOf(id, { mayRemember: true }).catch(() => owner)) !== null;
    if (goesOn(c.res)) c.res = endingWith(c.res, { isLive, clock });
    return undefined;
  };

  /** Everybody may sign out. */
  function mayView(method: string, path: string): boolean {
    if (method === 'DELETE') return path.endsWith('/operator/session');
    return method === 'POST' && reading.some((pattern) => pattern.test(path));
  }

  async function ownerOf(id: string, { mayRemember }: { mayRemember: boolean }): Promise<SessionOwner | null> {
    const key = hash('sha256', id);
    try {
      const owner = await find(id);
      if (owner === null) known.delete(key);
      else known.set(key, { owner, since: known.peek(key)?.since ?? clock.elapsed(), seenAt: clock.elapsed() });
      return owner;
    } catch (error) {
      const before =
        mayRemember && error instanceof PostgresFailure && error.isUnavailable ? known.get(key) : undefined;
      if (before === undefined) throw error;
      const now = clock.elapsed();
      const isOver = now - before.since > SESSION_HOURS * MS_PER_HOUR || now - before.seenAt > IDLE_HOURS * MS_PER_HOUR;
      if (isOver) return null;
      before.seenAt = now;
      return before.owner;
    }
  }
}

/** What a handler knows of whoever is signed in. */
export function operatorOf({ name, role }: SessionOwner, showEvents: ShowEvents): Operator {
  return { name, role, showsEvents: showEvents === 'everyone' || (showEvents === 'operators' && role === 'operator') };
}
