import { createConsoleLinks } from '../postgres/accounts/console-links.ts';
import type { Database } from '../postgres/connection/pool.ts';

/** How long a link is valid that somebody asked for. */
export const LINK_VALID_MS = 10 * 60_000;

/**
 * A link that signs in to the console at `origin`, once, under that name. The secret is in the fragment, which browsers
 * send to nobody. Throws `PostgresFailure`.
 */
export async function makeConsoleLink(
  db: Database,
  { origin, name, validMs }: { origin: string; name: string; validMs: number },
): Promise<string> {
  return `${origin}/#link=${await createConsoleLinks(db).make({ name, validMs })}`;
}
