import { hash, randomBytes } from 'node:crypto';
import { and, eq, lt, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database } from '../connection/pool.ts';
import { consoleLinks } from '../connection/schema.ts';

/** Links that sign in to the console once. Throws `PostgresFailure`. */
export type ConsoleLinks = {
  /** Returns the link's secret, of which only a hash is kept. */
  make(link: { readonly name: string; readonly validMs: number }): Promise<string>;
  /** The name of who made it; null when there is no such link, it is too old, or it was used. */
  use(secret: string): Promise<string | null>;
};

const SECRET_BYTES = 32;

export function createConsoleLinks(db: Database): ConsoleLinks {
  return {
    async make({ name, validMs }) {
      await answerOf(db.delete(consoleLinks).where(lt(consoleLinks.expiresAt, sql`now()`)));
      const secret = randomBytes(SECRET_BYTES).toString('base64url');
      const expiresAt = sql`now() + ${validMs} * interval '1 millisecond'`;
      await answerOf(db.insert(consoleLinks).values({ secretHash: hashOf(secret), name, expiresAt }));
      return secret;
    },
    async use(secret) {
      const [used] = await answerOf(
        db
          .delete(consoleLinks)
          .where(and(eq(consoleLinks.secretHash, hashOf(secret)), sql`${consoleLinks.expiresAt} > now()`))
          .returning({ name: consoleLinks.name }),
      );
      return used?.name ?? null;
    },
  };
}

const hashOf = (secret: string) => hash('sha256', secret);
