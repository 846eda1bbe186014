import { hash, randomBytes } from 'node:crypto';
import { and, eq, isNull, lt, or, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { consoleSessions, operators } from '../connection/schema.ts';
import type { OperatorRole } from './operators.ts';

/** Who a session belongs to. */
export type SessionOwner = { readonly name: string; readonly role: OperatorRole };

/** The sessions of the console. They end by the clock of Postgres. Throws `PostgresFailure`. */
export type ConsoleSessions = {
  /** For whoever used a link. Returns the session's id, which is a secret: only its hash is kept. */
  beginByLink(owner: SessionOwner): Promise<string>;
  /** For an account whose password was right; null when that password, or the account, has changed since. */
  beginByPassword(
    name: string,
    passwordHash: string,
  ): Promise<{ readonly id: string; readonly owner: SessionOwner } | null>;
  /** The owner of a live session; null when there is none of that id. Notes that it was seen. */
  find(id: string): Promise<SessionOwner | null>;
  end(id: string): Promise<void>;
};

/** How long a session lasts, however much it is used. */
export const SESSION_HOURS = 12;
/** How long it lasts without a request. */
const IDLE_HOURS = 2;

const ID_BYTES = 32;
const hours = (count: number) => sql.raw(`interval '${count} hours'`);
const isOver = or(
  lt(consoleSessions.createdAt, sql`now() - ${hours(SESSION_HOURS)}`),
  lt(consoleSessions.lastSeenAt, sql`now() - ${hours(IDLE_HOURS)}`),
);

export function createConsoleSessions(db: Database): ConsoleSessions {
  return { beginByLink, beginByPassword, find, end };

  async function beginByLink({ name, role }: SessionOwner) {
    await forgetOld();
    const id = newId();
    await answerOf(db.insert(consoleSessions).values({ idHash: hashOf(id), name, role, operator: null }));
    return id;
  }

  async function beginByPassword(name: string, passwordHash: string) {
    await forgetOld();
    const id = newId();
    return answerOf(
      db.transaction(async (tx) => {
        // Locked, so that no change of the account comes between this look and the session.
        const [found] = await tx
          .select({ role: operators.role })
          .from(operators)
          .where(and(eq(operators.name, name), eq(operators.passwordHash, passwordHash), isNull(operators.disabledAt)))
          .for('share');
        if (!found) return null;
        const owner = { name, role: found.role };
        await tx.insert(consoleSessions).values({ idHash: hashOf(id), ...owner, operator: name });
        return { id, owner };
      }),
    );
  }

  async function find(id: string) {
    const [found] = await answerOf(
      db
        .select({
          name: consoleSessions.name,
          role: consoleSessions.role,
          isUnseen: sql<boolean>`${consoleSessions.lastSeenAt} < now() - interval '1 minute'`,
        })
        .from(consoleSessions)
        .leftJoin(operators, eq(operators.name, consoleSessions.operator))
        .where(
          and(
            eq(consoleSessions.idHash, hashOf(id)),
            sql`not (${isOver})`,
            // An account's changes end its sessions; whatever else changed one counts as well.
            or(
              isNull(consoleSessions.operator),
              and(isNull(operators.disabledAt), eq(operators.role, consoleSessions.role)),
            ),
          ),
        ),
    );
    if (!found) return null;
    if (found.isUnseen) {
      await answerOf(
        db
          .update(consoleSessions)
          .set({ lastSeenAt: sql`now()` })
          .where(eq(consoleSessions.idHash, hashOf(id))),
      );
    }
    return { name: found.name, role: found.role };
  }

  async function end(id: string) {
    await answerOf(db.delete(consoleSessions).where(eq(consoleSessions.idHash, hashOf(id))));
  }

  async function forgetOld() {
    await answerOf(db.delete(consoleSessions).where(isOver));
  }
}

const newId = () => randomBytes(ID_BYTES).toString('base64url');
const hashOf = (id: string) => hash('sha256', id);
