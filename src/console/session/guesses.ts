/**
 * Slows down whoever guesses passwords: after a few wrong ones, each further one has to wait longer. Links are no part of
 * this: nobody can guess one, and whoever is kept out by the guesses of others gets in by one.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';

export type Guesses = {
  /**
   * Counts an attempt as wrong, until `succeeded` or `unjudged` says otherwise: attempts at the same time count as well.
   * Returns how long to wait before one is allowed; 0 when this one is.
   */
  begin(attempt: Attempt): number;
  succeeded(attempt: Attempt): void;
  /** Nobody looked at the attempt: a store was away, or the process busy. */
  unjudged(attempt: Attempt): void;
};

/** `name`: the account's. `address`: of the client, or of the proxy in front. */
export type Attempt = { readonly name: string; readonly address: string };

type Failures = { count: number; lastAt: number };

/** Wrong ones that cost nothing, by name and by address: people mistype, and behind a proxy all have one address. */
const FREE = { name: 5, address: 30 } as const;
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
const FORGOTTEN_AFTER_MS = 15 * 60_000;
/** The least recently guessed are forgotten first: some megabytes at most. */
const MAX_REMEMBERED = 10_000;

export function createGuesses({ clock }: { clock: Pick<Clock, 'elapsed'> }): Guesses {
  const byName = new LRUCache<string, Failures>({ max: MAX_REMEMBERED });
  const byAddress = new LRUCache<string, Failures>({ max: MAX_REMEMBERED });
  const kept = ({ name, address }: Attempt) => [
    { failures: byName, key: name, free: FREE.name },
    { failures: byAddress, key: address, free: FREE.address },
  ];

  return {
    begin(attempt) {
      const now = clock.elapsed();
      const waits = kept(attempt).map(({ failures, key, free }) => waitOf(recent(failures, key, now), free, now));
      const wait = Math.max(...waits);
      if (wait > 0) return wait;
      for (const { failures, key } of kept(attempt)) {
        failures.set(key, { count: (recent(failures, key, now)?.count ?? 0) + 1, lastAt: now });
      }
      return 0;
    },
    succeeded(attempt) {
      // Whoever has one account could otherwise guess the others' without end.
      byName.delete(attempt.name);
      takeBack(byAddress, attempt.address);
    },
    unjudged(attempt) {
      for (const { failures, key } of kept(attempt)) takeBack(failures, key);
    },
  };
}

function recent(failures: LRUCache<string, Failures>, key: string, now: number): Failures | undefined {
  const found = failures.get(key);
  return found && now - found.lastAt < FORGOTTEN_AFTER_MS ? found : undefined;
}

function waitOf(failures: Failures | undefined, free: number, now: number): number {
  if (failures === undefined || failures.count < free) return 0;
  const wait = Math.min(FIRST_WAIT_MS * 2 ** (failures.count - free), MAX_WAIT_MS);
  return Math.max(0, failures.lastAt + wait - now);
}

function takeBack(failures: LRUCache<string, Failures>, key: string): void {
  const found = failures.get(key);
  if (found) failures.set(key, { ...found, count: Math.max(0, found.count - 1) });
}
