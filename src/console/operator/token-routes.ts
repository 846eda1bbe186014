/** The tokens that clients send. */
import * as v from 'valibot';
import { createToken } from '../../operations/create-token.ts';
import { findProject } from '../../operations/find-project.ts';
import { checkImportedKey } from '../../operations/imported-key.ts';
import { revokeToken } from '../../operations/revoke-token.ts';
import { createTokens } from '../../postgres/accounts/tokens.ts';
import { AfterId, Limit } from './fields.ts';
import type { OperatorDeps } from './operator-deps.ts';
import { type OperatorRoute, route } from './route.ts';
import * as schemas from './schemas.ts';

const NewToken = v.strictObject({
  kind: v.picklist(['public', 'secret'], 'must be public or secret'),
  name: v.optional(v.nullable(v.pipe(v.string('must be a text'), v.maxLength(1_000))), null),
  /** A key that clients of another service already use. */
  import: v.optional(v.pipe(v.string('must be a text'), v.maxLength(1_000))),
});

export function tokenRoutes({ db }: OperatorDeps): OperatorRoute[] {
  const tag = 'Projects';
  return [
    route({
      method: 'GET',
      path: '/projects/:id/tokens',
      tag,
      summary: 'List the tokens of a project, without their plaintext, oldest first.',
      query: v.strictObject({ limit: Limit, after: AfterId }),
      answer: schemas.TokenPage,
      says: 'Tokens, revoked ones included, as `weir token list --json`.',
      refusals: ['not_found'],
      async handle({ id, query: { limit, after = null } }) {
        await findProject(db, id);
        const found = await createTokens(db).page(id, after, limit + 1);
        const tokens = found.slice(0, limit);
        return { tokens, next: found.length > limit ? tokens.at(-1)!.id : null };
      },
    }),
    route({
      method: 'POST',
      path: '/projects/:id/tokens',
      tag,
      summary: 'Make a token, or import the key of another service.',
      body: NewToken,
      status: 201,
      answer: schemas.NewToken,
      says: 'Its id and, this once, the token; `isGuessable`: an imported key that is too short to be safe.',
      refusals: ['not_found', 'conflict'],
      async handle({ id, body: { kind, name, import: imported }, operator }) {
        const isGuessable = imported !== undefined && checkImportedKey(imported, kind).isGuessable;
        const wanted = { projectId: id, kind, name, imported: imported ?? null };
        const created = await createToken(db, wanted, { actor: operator.name });
        return { id: created.id, ...(imported === undefined && { token: created.plaintext }), isGuessable };
      },
    }),
    route({
      method: 'DELETE',
      path: '/tokens/:id',
      tag,
      summary: 'Revoke a token: it stops working within a minute, for good.',
      answer: schemas.TokenRevoked,
      says: 'Its id.',
      refusals: ['not_found'],
      async handle({ id, operator }) {
        await revokeToken(db, id, { actor: operator.name });
        return { revoked: id };
      },
    }),
  ];
}
