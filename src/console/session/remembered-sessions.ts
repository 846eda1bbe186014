/**
 * Sessions as Postgres has them, and for some minutes as it had them, while it is away: that is when people look. Whoever
 * signed out is forgotten at once; that an account was disabled meanwhile, or its role changed, nobody can say then.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type ConsoleSessions, SESSION_HOURS, type SessionOwner } from '../../postgres/accounts/console-sessions.ts';
import { PostgresFailure } from '../../postgres/connection/errors.ts';
import type { Clock } from '../../runtime/clock.ts';

export type RememberedSessions = ConsoleSessions & {
  /** As `find`; while Postgres is away, the owner as it was found lately. Throws `PostgresFailure` where none was. */
  findOrRemember(id: string): Promise<SessionOwner | null>;
};

/** `since`: when it was first found. `foundAt`: last; not when it was remembered. */
type Known = { readonly owner: SessionOwner; readonly since: number; readonly foundAt: number };

/** As long as known tokens keep working without Postgres. */
export const REMEMBERED_MS = 15 * 60_000;
const SESSION_MS = SESSION_HOURS * 3_600_000;
const MAX_KNOWN = 1_000;

export function rememberSessions(
  sessions: ConsoleSessions,
  { clock }: { clock: Pick<Clock, 'elapsed'> },
): RememberedSessions {
  /** By the hash of the id. `over`: nobody's any more, whatever a look-up still answers: it may not have ended there. */
  const known = new LRUCache<string, Known | 'over'>({ max: MAX_KNOWN });
  const { beginByLink, beginByPassword } = sessions;

  return { beginByLink, beginByPassword, find, findOrRemember, end };

  async function find(id: string): Promise<SessionOwner | null> {
    const owner = await sessions.find(id);
    const key = keyOf(id);
    const before = known.peek(key);
    if (before === 'over') {
      if (owner !== null) await sessions.end(id);
      return null;
    }
    const now = clock.elapsed();
    if (owner !== null) known.set(key, { owner, since: before?.since ?? now, foundAt: now });
    // Ids that never were a session would push out those that are.
    else if (before !== undefined) known.set(key, 'over');
    return owner;
  }

  async function findOrRemember(id: string): Promise<SessionOwner | null> {
    try {
      return await find(id);
    } catch (error) {
      const owner = error instanceof PostgresFailure && error.isUnavailable ? remembered(id) : null;
      if (owner === null) throw error;
      return owner;
    }
  }

  function remembered(id: string): SessionOwner | null {
    const before = known.get(keyOf(id));
    if (before === undefined || before === 'over') return null;
    const now = clock.elapsed();
    return now - before.foundAt <= REMEMBERED_MS && now - before.since <= SESSION_MS ? before.owner : null;
  }

  async function end(id: string): Promise<void> {
    known.set(keyOf(id), 'over');
    await sessions.end(id);
  }
}

const keyOf = (id: string) => hash('sha256', id);
