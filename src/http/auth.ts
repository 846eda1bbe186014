import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { failureOf } from '../pipeline/outcome.ts';
import type { Credential } from '../pipeline/ports.ts';
import type { Awaitable } from './awaitable.ts';
import type { Credentials } from './credentials.ts';
import { isRefusal, type Refusal as AnyRefusal } from './refusals.ts';

/** What may be said against whoever asks. */
type Refusal = AnyRefusal<'unauthorized' | 'forbidden' | 'internal'>;

/** A token as the client presented it, with the project it claims to belong to if it named one. */
export type Presented = { readonly token: string; readonly projectId: string | null };

/** Tokens that Weir makes carry one of these; the native door looks up no other. */
const OWN_PREFIXES = ['mere_pub_', 'mere_sec_'];
/** Longer than any token that is made or imported. */
const MAX_TOKEN_LENGTH = 512;
const PROJECT_AND_TOKEN = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}):(.+)$/i;

/**
 * The token in `Authorization: Bearer` or `X-Api-Key`; null when there is
 * neither. A header that is there but unusable is refused, not skipped.
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

/** The header read last, and what it presents: most clients of an hour send the same. */
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

/** Only tokens of Weir's own shape may be looked up where that is all a door takes. */
export const hasOwnPrefix = ({ token }: Presented): boolean => OWN_PREFIXES.some((prefix) => token.startsWith(prefix));

/** The credential for a presented token and the page it comes from, or the refusal. At once, when it is known. */
export function authorize(
  credentials: Credentials,
  { token, projectId }: Presented,
  origin: string | undefined,
): Awaitable<Credential | Refusal> {
  const found = credentials.find(token);
  const judgeFound = (credential: Credential | null) => judge(credential, projectId, origin);
  return found instanceof Promise ? onceFound(found, judgeFound) : judgeFound(found);
}

/** The credential of whoever presented no token, or the refusal. */
export function authorizeAnonymous(
  credentials: Credentials,
  origin: string | undefined,
): Awaitable<Credential | Refusal> {
  const found = credentials.anonymous();
  const judgeFound = (credential: Credential | null) =>
    credential === null ? NO_TOKEN : judge(credential, null, origin);
  return found instanceof Promise ? onceFound(found, judgeFound) : judgeFound(found);
}

/**
 * Who asks to read: a secret token, or nobody where `allowsAnonymous` and a
 * project is open to everybody.
 */
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

/** The refusal of whoever has to have a token and sent none. */
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
  // Our own failure is never a 401: the client would throw its token away.
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
  if (origin !== undefined && allowedOrigins.length > 0 && !allowedOrigins.includes(origin)) {
    return { refused: 'forbidden', message: 'this origin may not use the project’s tokens' };
  }
  return credential;
}
