import { type NewToken, type Token, TokenExists, createTokens } from '../postgres/accounts/tokens.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { checkedName } from './names.ts';
import { OperationRefused } from './refused.ts';
import { checkImportedKey } from './imported-key.ts';

/** The only time the plaintext is available: only its hash is stored. Throws `OperationRefused`, `PostgresFailure`. */
export async function createToken(
  db: Database,
  { name, ...rest }: NewToken,
  { actor }: { actor: string },
): Promise<Token & { readonly plaintext: string }> {
  const token = { ...rest, name: name === null ? null : checkedName(name) };
  if (token.imported !== null) checkImportedKey(token.imported, token.kind);
  const created = await createTokens(db, { actor })
    .create(token)
    .catch((error: unknown) => {
      if (!(error instanceof TokenExists)) throw error;
      throw new OperationRefused(
        'conflict',
        'This key already is a token of this or another project. See `weir token list`.',
      );
    });
  if (created !== null) return created;
  throw new OperationRefused('not-found', `There is no project ${token.projectId}. See \`weir project list\`.`);
}
