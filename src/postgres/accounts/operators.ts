import { and, asc, eq, isNull, sql } from '../connection/drizzle.ts';
import { answerOf } from '../connection/errors.ts';
import type { Database, Transaction } from '../connection/pool.ts';
import { NO_DEAD_LETTER, consoleSessions, failedEventsAudit, operators } from '../connection/schema.ts';

export type OperatorRole = 'viewer' | 'operator';

export type OperatorAccount = {
  readonly name: string;
  readonly role: OperatorRole;
  readonly createdAt: Date;
  /** null for one that may sign in. */
  readonly disabledAt: Date | null;
};

type Change = Partial<Pick<typeof operators.$inferInsert, 'role' | 'passwordHash'>> & {
  /** Whether the account may not sign in. */
  readonly isDisabled?: boolean;
};

/** The accounts of the console. Every change is in the audit, under the name of `actor`. Throws `PostgresFailure`. */
export type Operators = {
  /** False when there is an account of that name, disabled or not. */
  add(account: { name: string; role: OperatorRole; passwordHash: string }): Promise<boolean>;
  /** By name, including disabled ones. */
  list(): Promise<OperatorAccount[]>;
  /** Ends the sessions of the account with the same step. False when there is none of that name. */
  change(name: string, change: Change, action: string): Promise<boolean>;
};

const COLUMNS = {
  name: operators.name,
  role: operators.role,
  createdAt: operators.createdAt,
  disabledAt: operators.disabledAt,
};

export function createOperators(db: Database, { actor }: { actor: string }): Operators {
  return {
    add: ({ name, role, passwordHash }) =>
      answerOf(
        db.transaction(async (tx) => {
          const added = await tx
            .insert(operators)
            .values({ name, role, passwordHash })
            .onConflictDoNothing()
            .returning({ name: operators.name });
          if (added.length === 0) return false;
          await note(tx, 'operator added', { name, role });
          return true;
        }),
      ),
    list: () => answerOf(db.select(COLUMNS).from(operators).orderBy(asc(operators.name))),
    change: (name, { isDisabled, ...change }, action) =>
      answerOf(
        db.transaction(async (tx) => {
          const disabledAt = isDisabled === undefined ? {} : { disabledAt: isDisabled ? sql`now()` : null };
          const changed = await tx
            .update(operators)
            .set({ ...change, ...disabledAt })
            .where(eq(operators.name, name))
            .returning({ role: operators.role });
          if (changed.length === 0) return false;
          await tx.delete(consoleSessions).where(eq(consoleSessions.operator, name));
          await note(tx, action, { name, role: changed[0]!.role });
          return true;
        }),
      ),
  };

  async function note(tx: Transaction, action: string, detail: { name: string; role: OperatorRole }) {
    await tx.insert(failedEventsAudit).values({ failedEventId: NO_DEAD_LETTER, action, actor, eventCount: 0, detail });
  }
}

/** The role and the hash of the password of an account that may sign in; null when there is none of that name. */
export async function findSignIn(
  db: Database,
  name: string,
): Promise<{ readonly role: OperatorRole; readonly passwordHash: string } | null> {
  const [found] = await answerOf(
    db
      .select({ role: operators.role, passwordHash: operators.passwordHash })
      .from(operators)
      .where(and(eq(operators.name, name), isNull(operators.disabledAt))),
  );
  return found ?? null;
}
