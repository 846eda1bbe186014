/** Compares passwords with their hashes, few at a time: each costs 32 MiB and some 0.2 s of a core. */
import { createTurns } from '../../runtime/turns.ts';

export type PasswordChecks = {
  /** null when too many are waiting; nothing was compared then. Throws what `isPassword` throws. */
  check(password: string, stored: string): Promise<boolean | null>;
};

const TURNS = { maxAtOnce: 2, maxWaiting: 20 } as const;

export function createPasswordChecks(
  isPassword: (password: string, stored: string) => Promise<boolean>,
): PasswordChecks {
  const turns = createTurns(TURNS);
  // Whoever gives up waiting is compared all the same: the attempt has been counted.
  const never = new AbortController().signal;

  return {
    async check(password, stored) {
      if ((await turns.take(never)) !== 'taken') return null;
      try {
        return await isPassword(password, stored);
      } finally {
        turns.pass();
      }
    },
  };
}
