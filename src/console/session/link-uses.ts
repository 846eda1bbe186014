/** Looks up links, few at a time: a flood of wrong ones takes neither every connection nor memory without end. */
import type { ConsoleLinks } from '../../postgres/accounts/console-links.ts';
import { createTurns } from '../../runtime/turns.ts';

export type LinkUses = {
  /** The name of who made it; `wrong` for no link, `busy` when too many are waiting. Throws what `use` throws. */
  use(secret: string): Promise<{ readonly name: string } | 'wrong' | 'busy'>;
};

/** Each is one statement by primary key. Half of the console's connections stay for those who are signed in. */
const TURNS = { maxAtOnce: 2, maxWaiting: 200 } as const;
/** 32 bytes in base64url. What is no link by its form is not looked up. */
const SECRET = /^[\w-]{43}$/;

export function createLinkUses(use: ConsoleLinks['use']): LinkUses {
  const turns = createTurns(TURNS);
  // Whoever gives up waiting has sent the link all the same.
  const never = new AbortController().signal;

  return {
    async use(secret) {
      if (!SECRET.test(secret)) return 'wrong';
      if ((await turns.take(never)) !== 'taken') return 'busy';
      try {
        const name = await use(secret);
        return name === null ? 'wrong' : { name };
      } finally {
        turns.pass();
      }
    },
  };
}
