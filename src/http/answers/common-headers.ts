/** The headers of every answer: the request's id, and what browsers and caches need. */
import type { IncomingHttpHeaders } from 'node:http';
import { isOriginOf } from '../../net/origins.ts';
import { type Flags, isEnding } from '../../pipeline/flags.ts';
import { type Headers, linesOf } from './reply.ts';

/**
 * Whom an answer is for: `private`: clients with a credential, in a page or not. `page`: any page. `machine`:
 * monitoring and operations; no page may read it.
 */
export type Audience = 'private' | 'page' | 'machine';

export type AnswerHeaders = {
  /** The id that the client gave the request, when it is well-formed; otherwise a new one. */
  requestId(request: IncomingHttpHeaders): string;
  /** Call it when the answer is made: a shutdown may have begun. */
  common(request: IncomingHttpHeaders, audience: Audience): CommonHeaders;
  /** The answer to a CORS preflight. */
  preflight(request: IncomingHttpHeaders): Readonly<Record<string, string>>;
};

/** The headers that many answers have in common, built once for all of them. */
export type CommonHeaders = {
  readonly list: Headers;
  /** The same as lines. */
  readonly text: string;
  /** Whether they announce that the connection ends with this answer. */
  readonly isLast: boolean;
};

/** By audience, while intake is open and while draining. */
type Variants = Readonly<Record<Audience, { readonly open: CommonHeaders; readonly draining: CommonHeaders }>>;

export const REQUEST_ID = 'X-Request-Id';

const WELL_FORMED_ID = /^[\w.:@/+=-]{1,128}$/;
/** What a browser sends: visible ASCII, as it is echoed. */
const WELL_FORMED_ORIGIN = /^[\x21-\x7e]{1,256}$/;
const EXPOSED = 'Retry-After,X-Request-Id,Weir-Ack,Weir-Rejected';
/** Header names as a browser lists them. */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*$/;
const MAX_HEADER_NAMES = 1_024;
/** How many origins' headers are cached: pages of few origins send nearly everything. */
const MAX_ORIGINS = 200;
/** Paths that no page reads: `/internal/…` and the health paths. */
const FOR_MACHINES = /^\/(?:internal(?:\/|$)|health(?:\/|$)|healthz$|livez$|readyz$|ready$)/;

/** The audience of an answer at that path when nothing else is known. */
export const audienceAt = (path: string): Audience => (FOR_MACHINES.test(path) ? 'machine' : 'page');

/** `allowedOrigins`: an empty list allows all. */
export function createAnswerHeaders(
  { flags, newRequestId }: { flags: Pick<Flags, 'facts'>; newRequestId: () => string },
  { allowedOrigins }: { allowedOrigins: readonly string[] },
): AnswerHeaders {
  const isOpen = allowedOrigins.length === 0;
  /** For requests without a page, and for pages that are not allowed. */
  const toOthers = variantsOf(isOpen ? [[ALLOW_ORIGIN, '*'], VARY_ORIGIN] : [VARY_ORIGIN]);
  const byOrigin = new Map<string, Variants>();

  return {
    requestId({ 'x-request-id': given }) {
      return typeof given === 'string' && WELL_FORMED_ID.test(given) ? given : newRequestId();
    },
    common({ origin }, audience) {
      const { open, draining } = (origin === undefined ? toOthers : to(origin))[audience];
      return isEnding(flags.facts()) ? draining : open;
    },
    preflight({ 'access-control-request-headers': asked }) {
      // Tracing libraries add headers of their own to every request: a page may send any header.
      const isAsked = asked !== undefined && asked.length <= MAX_HEADER_NAMES && HEADER_NAMES.test(asked);
      return isAsked ? { ...PREFLIGHT, [ALLOW_HEADERS]: asked } : PREFLIGHT;
    },
  };

  function to(origin: string): Variants {
    const known = byOrigin.get(origin);
    if (known) return known;
    if (!WELL_FORMED_ORIGIN.test(origin) || !(isOpen || isOriginOf(origin, allowedOrigins))) return toOthers;
    // By name and with credentials, as a JSON beacon requires; Weir uses no cookies that this could expose.
    const made = variantsOf([[ALLOW_ORIGIN, origin], ['Access-Control-Allow-Credentials', 'true'], VARY_ORIGIN]);
    if (byOrigin.size >= MAX_ORIGINS) byOrigin.clear();
    byOrigin.set(origin, made);
    return made;
  }
}

const ALLOW_ORIGIN = 'Access-Control-Allow-Origin';
const ALLOW_HEADERS = 'Access-Control-Allow-Headers';
/** Tells caches that another page may get another answer. */
const VARY_ORIGIN = ['Vary', 'Origin'] as const;

const NOT_KEPT = ['Cache-Control', 'no-store'] as const;

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET,POST,OPTIONS',
  [ALLOW_HEADERS]: 'Authorization,Content-Type,Content-Encoding,X-Api-Key,X-Request-Id,Idempotency-Key',
  'Access-Control-Max-Age': '86400',
  Vary: 'Access-Control-Request-Headers',
};

function variantsOf(cors: Headers): Variants {
  const page: Headers = [['Access-Control-Expose-Headers', EXPOSED], ...cors];
  return {
    private: whileOpenOrNot([...page, NOT_KEPT]),
    page: whileOpenOrNot(page),
    machine: whileOpenOrNot([NOT_KEPT]),
  };
}

function whileOpenOrNot(own: Headers): { readonly open: CommonHeaders; readonly draining: CommonHeaders } {
  const list: Headers = [['X-Content-Type-Options', 'nosniff'], ...own];
  // A client that keeps its connection would keep sending here.
  const last: Headers = [...list, ['Connection', 'close']];
  return {
    open: { list, text: linesOf(list), isLast: false },
    draining: { list: last, text: linesOf(last), isLast: true },
  };
}
