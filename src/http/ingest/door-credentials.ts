/**
 * Determines whose request it is by what one front door accepts as a credential: in the headers, in the body, or none.
 */
import type { Credential } from '../../pipeline/ports.ts';
import type { SyncOrAsync } from '../../runtime/sync-or-async.ts';
import {
  type Presented,
  NO_TOKEN,
  authorize,
  authorizeAnonymous,
  hasOwnPrefix,
  presented,
  presentedInHeaders,
} from '../access/auth.ts';
import type { Credentials } from '../access/credentials.ts';
import { isRefusal } from '../answers/refusals.ts';
import type { DoorRequest } from '../request/door-request.ts';
import type { Door, RequestHead, TokenPlace } from './doors/door.ts';
import type { IngestRefusal } from './ingest-refusals.ts';

export type DoorCredentials = {
  /** Null where the body decides. */
  fromHeaders(request: DoorRequest, head: RequestHead): SyncOrAsync<Credential | IngestRefusal> | null;
  /** `token`: the one in the body; null for none. */
  fromBody(request: DoorRequest, token: string | null, head: RequestHead): SyncOrAsync<Credential | IngestRefusal>;
  /** The token that decides, of those in the head and of the one in the body; null for none. */
  deciding(head: RequestHead, inBody: string | null): string | null;
};

export function createDoorCredentials(
  { withoutHeader, tokenIn, tokens }: Pick<Door, 'withoutHeader' | 'tokenIn' | 'tokens'>,
  credentials: Credentials,
): DoorCredentials {
  if (tokens !== undefined) return placedCredentials(tokens, credentials);
  return { fromHeaders, fromBody, deciding };

  function fromHeaders({ headers }: DoorRequest, head: RequestHead): SyncOrAsync<Credential | IngestRefusal> | null {
    const token = tokenIn?.(head) ?? null;
    const given = token === null ? presentedInHeaders(headers) : presented(token);
    if (given !== null) return isRefusal(given) ? given : check(given, headers.origin);
    if (withoutHeader === 'token in body' || withoutHeader === 'any token in body') return null;
    return withoutHeader === 'anonymous' ? authorizeAnonymous(credentials, headers.origin) : NO_TOKEN;
  }

  function fromBody({ headers }: DoorRequest, token: string | null): SyncOrAsync<Credential | IngestRefusal> {
    if (token === null) {
      return {
        refused: 'unauthorized',
        challenge: 'invalid_request',
        message: 'no token: send Authorization: Bearer <token>, X-Api-Key, or "token" in the body',
      };
    }
    const given = presented(token);
    return isRefusal(given) ? given : check(given, headers.origin);
  }

  function deciding(head: RequestHead, inBody: string | null): string | null {
    const token = tokenIn?.(head) ?? null;
    const given = token === null ? presentedInHeaders(head.headers) : presented(token);
    const decides = given ?? presented(inBody ?? '');
    return isRefusal(decides) ? null : decides.token;
  }

  function check(given: Presented, origin: string | undefined): SyncOrAsync<Credential | IngestRefusal> {
    if (withoutHeader === 'token in body' && !hasOwnPrefix(given))
      return { refused: 'unauthorized', challenge: 'invalid_token' };
    return authorize(credentials, given, origin);
  }
}

/** For a door that names all the places of a token. */
function placedCredentials(places: readonly TokenPlace[], credentials: Credentials): DoorCredentials {
  const bodyAt = places.indexOf('body');
  const first = bodyAt < 0 ? places : places.slice(0, bodyAt);

  return {
    fromHeaders(request, head) {
      const token = firstIn(first, head, null);
      if (token !== null) return check(token, request);
      return bodyAt < 0 ? NO_TOKEN : null;
    },
    fromBody(request, inBody, head) {
      const token = firstIn(places, head, inBody);
      return token === null ? NO_TOKEN_ANYWHERE : check(token, request);
    },
    deciding(head, inBody) {
      const given = presented(firstIn(places, head, inBody) ?? '');
      return isRefusal(given) ? null : given.token;
    },
  };

  function check(token: string, { headers }: DoorRequest): SyncOrAsync<Credential | IngestRefusal> {
    const given = presented(token);
    return isRefusal(given) ? given : authorize(credentials, given, headers.origin);
  }
}

function firstIn(places: readonly TokenPlace[], head: RequestHead, inBody: string | null): string | null {
  for (const place of places) {
    const token = place === 'body' ? inBody : place(head);
    if (token !== null && token !== '') return token;
  }
  return null;
}

const NO_TOKEN_ANYWHERE: IngestRefusal = {
  refused: 'unauthorized',
  challenge: 'invalid_request',
  message: 'no token: send it where this client has its key',
};
