/** Where other services' clients put their token, outside a body: the places that families list. */
import type { RequestHead, TokenPlace } from './door.ts';

type HeadPlace = Exclude<TokenPlace, 'body'>;

/** `Authorization: Bearer <token>`. */
export const bearer: HeadPlace = ({ headers: { authorization = '' } }) =>
  /^bearer +(\S+) *$/i.exec(authorization)?.[1] ?? null;

/** `Authorization: Basic`: the user's name, or the password where that is empty. */
export const basicUser: HeadPlace = ({ headers: { authorization = '' } }) => {
  const encoded = /^basic +(\S+) *$/i.exec(authorization)?.[1];
  if (encoded === undefined) return null;
  const [user = '', ...password] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
  return user || password.join(':') || null;
};

/** `X-Write-Key`, up to the first colon. */
export const writeKeyHeader: HeadPlace = ({ headers }) => textOf(headers['x-write-key'])?.split(':', 1)[0] || null;

export const apiKeyHeader: HeadPlace = ({ headers }) => textOf(headers['x-api-key']);

/** The first of these parameters that has a text. */
export const inQuery =
  (...names: readonly string[]): HeadPlace =>
  ({ query, target }: RequestHead) => {
    if (!target.includes('?')) return null;
    const parameters = query();
    for (const name of names) if (parameters.get(name)) return parameters.get(name);
    return null;
  };

function textOf(header: string | string[] | undefined): string | null {
  const text = Array.isArray(header) ? header[0] : header;
  return text?.trim() || null;
}
