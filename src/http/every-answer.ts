/** What every answer of Weir carries, whoever makes it: the request's id, and what browsers want to know. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Flags } from '../pipeline/flags.ts';
import type { Headers } from './reply.ts';

export type EveryAnswer = {
  /** The id that the client gave the request, when it is well-formed; otherwise a new one. */
  requestId(headers: IncomingHttpHeaders): string;
  /** To be asked when the answer is made: a shutdown may have begun. */
  headers(request: IncomingHttpHeaders, requestId: string): Headers;
  /** The answer to a browser that asks whether a page may send a request. */
  readonly preflight: Readonly<Record<string, string>>;
};

const WELL_FORMED_ID = /^[\w.:@/+=-]{1,128}$/;
const EXPOSED = 'Retry-After,X-Request-Id,Weir-Ack';

/** `allowedOrigins`: none stands for all of them. */
export function createEveryAnswer(
  { flags, newRequestId }: { flags: Pick<Flags, 'facts'>; newRequestId: () => string },
  { allowedOrigins }: { allowedOrigins: readonly string[] },
): EveryAnswer {
  const allowed = new Set(allowedOrigins);
  return {
    requestId({ 'x-request-id': given }) {
      return typeof given === 'string' && WELL_FORMED_ID.test(given) ? given : newRequestId();
    },
    headers({ origin }, requestId) {
      const headers: [string, string][] = [
        ['X-Request-Id', requestId],
        ['X-Content-Type-Options', 'nosniff'],
        ['Access-Control-Expose-Headers', EXPOSED],
      ];
      if (allowed.size === 0) headers.push(['Access-Control-Allow-Origin', '*']);
      else {
        headers.push(['Vary', 'Origin']);
        if (origin !== undefined && allowed.has(origin)) headers.push(['Access-Control-Allow-Origin', origin]);
      }
      // A client that keeps its connection would keep sending here.
      if (flags.facts().intake === 'draining') headers.push(['Connection', 'close']);
      return headers;
    },
    preflight: {
      'Access-Control-Allow-Methods': 'GET,POST,OPTIONS',
      'Access-Control-Allow-Headers':
        'Authorization,Content-Type,Content-Encoding,X-Api-Key,X-Request-Id,Idempotency-Key',
      'Access-Control-Max-Age': '86400',
    },
  };
}
