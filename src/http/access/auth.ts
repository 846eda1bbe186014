import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { isOriginOf } from '../../net/origins.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import type { Credential } from '../../pipeline/ports.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';
import type { Credentials } from './credentials.ts';
import { isRefusal, type Refusal as AnyRefusal } from '../answers/refusals.ts';

/** Why a credential may be refused. */
type Refusal = AnyRefusal<'unauthorized' | 'forbidden' | 'internal'>;

/** A token as the client presented it, with the project that it names, if any. */
export type Presented = { readonly token: string; readonly projectId: string | null };

/** The prefixes of tokens that Weir generates; the native door looks up no others. */
const OWN_PREFIXES = ['mere_pub_', 'mere_sec_'];
/** Longer than any generated or imported token. */
const MAX_TOKEN_LENGTH = 512;
const PROJECT_AND_TOKEN = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}):(.+)$/i;

/**
 * The token in `Authorization: Bearer` or `X-Api-Key`; null when neither is present. A header that is present but
 * unusable is refused, not skipped.
 */
export function presentedInHeaders(headers: IncomingHttpHeaders): Presented | Refusal | null {
  const { authorization, 'x-api-key': apiKeys } = headers;
  const apiKey = typeof apiKeys === 'object' ? apiKeys.join(', ') : apiKeys;
  if (authorization !== undefined) {
    const bearer = presentedAsBearer(authorization);
    if (bearer !== null) return bearer;
    if (apiKey === undefined) {
      return {
        refused: 'unauthorized',
        challenge: 'invalid_request',
        message: 'Authorization must be: Bearer <token>',
      };
    }
  }
  return apiKey === undefined ? null : presented(apiKey);
}

/** The last header and what it presents: most clients send the same one again and again. */
let last: { readonly authorization: string; readonly bearer: Presented | Refusal | null } | null = null;

function presentedAsBearer(authorization: string): Presented | Refusal | null {
  if (last?.authorization !== authorization) {
    const [, given] = /^bearer +(\S+) *$/i.exec(authorization) ?? [];
    last = { authorization, bearer: given === undefined ? null : presented(given) };
  }
  return last.bearer;
}

/** Splits the `<project id>:<token>` form. */
export function presented(given: string): Presented | Refusal {
  if (given === '') return { refused: 'unauthorized', challenge: 'invalid_request' };
  if (given.length > MAX_TOKEN_LENGTH) return { refused: 'unauthorized', challenge: 'invalid_token' };
  const [, projectId, token] = PROJECT_AND_TOKEN.exec(given) ?? [];
  return projectId && token ? { token, projectId: projectId.toLowerCase() } : { token: given, projectId: null };
}

/** Where a door accepts only Weir's own tokens, no other shape is looked up. */
export const hasOwnPrefix = ({ token }: Presented): boolean => OWN_PREFIXES.some((prefix) => token.startsWith(prefix));

/** The credential for a presented token and the page it comes from, or the refusal. Synchronous when it is known. */
export function authorize(
  credentials: Credentials,
  { token, projectId }: Presented,
  origin: string | undefined,
): SyncOrAsync<Credential | Refusal> {
  const found = credentials.find(token);
  const judgeFound = (credential: Credential | null) => judge(credential, projectId, origin);
  return found instanceof Promise ? onceFound(found, judgeFound) : judgeFound(found);
}

/** The credential of a client without a token, or the refusal. */
export function authorizeAnonymous(
  credentials: Credentials,
  origin: string | undefined,
): SyncOrAsync<Credential | Refusal> {
  const found = credentials.anonymous();
  const judgeFound = (credential: Credential | null) =>
    credential === null ? NO_TOKEN : judge(credential, null, origin);
  return found instanceof Promise ? onceFound(found, judgeFound) : judgeFound(found);
}

/** The credential for reading: a secret token, or none where `allowsAnonymous` and a project is open to everybody. */
export async function authorizeReader(
  { headers }: Pick<IncomingMessage, 'headers'>,
  credentials: Credentials,
  { allowsAnonymous = false }: { allowsAnonymous?: boolean } = {},
): Promise<Credential | Refusal> {
  const given = presentedInHeaders(headers);
  if (given !== null && isRefusal(given)) return given;
  const { origin } = headers;
  if (given === null && !allowsAnonymous) return NO_TOKEN;
  const found = await (given ? authorize(credentials, given, origin) : authorizeAnonymous(credentials, origin));
  if (isRefusal(found)) return found;
  if (found.kind === 'public') {
    return { refused: 'forbidden', message: 'a public token may only send events; reading needs a secret one' };
  }
  return found;
}

/** The refusal for a missing token. */
export const NO_TOKEN: Refusal = {
  refused: 'unauthorized',
  challenge: 'invalid_request',
  message: 'no token: send Authorization: Bearer <token> or X-Api-Key',
};

async function onceFound(
  finding: Promise<Credential | null>,
  judgeFound: (credential: Credential | null) => Credential | Refusal,
): Promise<Credential | Refusal> {
  let credential: Credential | null = null;
  const error = await failureOf(finding.then((found) => (credential = found)));
  // A failure of Weir is never a 401: the client would discard its token.
  if (error !== null)
    return { refused: 'internal', message: 'the token could not be looked up; send the request again' };
  return judgeFound(credential);
}

function judge(
  credential: Credential | null,
  projectId: string | null,
  origin: string | undefined,
): Credential | Refusal {
  if (credential === null) return { refused: 'unauthorized', challenge: 'invalid_token' };
  if (projectId !== null && projectId !== credential.projectId)
    return { refused: 'unauthorized', challenge: 'invalid_token' };
  const { allowedOrigins } = credential;
  if (origin !== undefined && allowedOrigins.length > 0 && !isOriginOf(origin, allowedOrigins)) {
    return { refused: 'forbidden', message: 'this origin may not use the project’s tokens' };
  }
  return credential;
}
