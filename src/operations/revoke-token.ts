import { createTokens } from '../postgres/accounts/tokens.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { OperationRefused } from './refused.ts';

/** Ends a token for good, within a minute. Throws `OperationRefused` when there is no live token with that id, and `PostgresFailure`. */
export async function revokeToken(db: Database, id: string, { actor }: { actor: string }): Promise<void> {
  if (await createTokens(db, { actor }).revoke(id)) return;
  throw new OperationRefused('not-found', `There is no active token ${id}. See \`weir token list\`.`);
}
