/** Compares passwords with their hashes, few at a time: each costs 32 MiB and some 0.2 s of a core. */

export type PasswordChecks = {
  /** null when too many are waiting; nothing was compared then. Throws what `isPassword` throws. */
  check(password: string, stored: string): Promise<boolean | null>;
};

const AT_ONCE = 2;
const MAX_WAITING = 20;

export function createPasswordChecks(
  isPassword: (password: string, stored: string) => Promise<boolean>,
): PasswordChecks {
  const waiting: (() => void)[] = [];
  let running = 0;

  return {
    async check(password, stored) {
      if (running >= AT_ONCE) {
        if (waiting.length >= MAX_WAITING) return null;
        // Whoever ends hands its place over.
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else running += 1;
      try {
        return await isPassword(password, stored);
      } finally {
        const next = waiting.shift();
        if (next) next();
        else running -= 1;
      }
    },
  };
}
