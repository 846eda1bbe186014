/** What every answer of Weir carries, whoever makes it: the request's id, and what browsers want to know. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Flags } from '../pipeline/flags.ts';
import { type Headers, linesOf } from './reply.ts';

export type EveryAnswer = {
  /** The id that the client gave the request, when it is well-formed; otherwise a new one. */
  requestId(request: IncomingHttpHeaders): string;
  /** To be asked when the answer is made: a shutdown may have begun. */
  common(request: IncomingHttpHeaders): CommonHeaders;
  /** The answer to a browser that asks whether a page may send a request. */
  readonly preflight: Readonly<Record<string, string>>;
};

/** The headers that many answers have in common, made once for all of them. */
export type CommonHeaders = {
  readonly list: Headers;
  /** The same as lines. */
  readonly text: string;
  /** Whether they say that the connection ends with this answer. */
  readonly isLast: boolean;
};

export const REQUEST_ID = 'X-Request-Id';

const WELL_FORMED_ID = /^[\w.:@/+=-]{1,128}$/;
const EXPOSED = 'Retry-After,X-Request-Id,Weir-Ack';

/** `allowedOrigins`: none stands for all of them. */
export function createEveryAnswer(
  { flags, newRequestId }: { flags: Pick<Flags, 'facts'>; newRequestId: () => string },
  { allowedOrigins }: { allowedOrigins: readonly string[] },
): EveryAnswer {
  const toOthers = whileOpenOrNot(allowedOrigins.length === 0 ? ANY_ORIGIN : OTHER_ORIGIN);
  const toAllowed = new Map(
    allowedOrigins.map((origin) => [origin, whileOpenOrNot([...OTHER_ORIGIN, [ALLOW_ORIGIN, origin]])]),
  );
  return {
    requestId({ 'x-request-id': given }) {
      return typeof given === 'string' && WELL_FORMED_ID.test(given) ? given : newRequestId();
    },
    common({ origin }) {
      const { open, draining } = (origin === undefined ? undefined : toAllowed.get(origin)) ?? toOthers;
      return flags.facts().intake === 'draining' ? draining : open;
    },
    preflight: {
      'Access-Control-Allow-Methods': 'GET,POST,OPTIONS',
      'Access-Control-Allow-Headers':
        'Authorization,Content-Type,Content-Encoding,X-Api-Key,X-Request-Id,Idempotency-Key',
      'Access-Control-Max-Age': '86400',
    },
  };
}

const ALLOW_ORIGIN = 'Access-Control-Allow-Origin';
const ANY_ORIGIN: Headers = [[ALLOW_ORIGIN, '*']];
/** Caches are told that another page may get another answer. */
const OTHER_ORIGIN: Headers = [['Vary', 'Origin']];

function whileOpenOrNot(cors: Headers): { readonly open: CommonHeaders; readonly draining: CommonHeaders } {
  const list: Headers = [['X-Content-Type-Options', 'nosniff'], ['Access-Control-Expose-Headers', EXPOSED], ...cors];
  // A client that keeps its connection would keep sending here.
  const last: Headers = [...list, ['Connection', 'close']];
  return {
    open: { list, text: linesOf(list), isLast: false },
    draining: { list: last, text: linesOf(last), isLast: true },
  };
}
