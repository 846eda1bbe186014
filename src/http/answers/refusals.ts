/**
 * Every refusal that a client can see, in one table; nothing else picks a status code. The messages are fixed: no
 * driver text, no stack, nothing of another tenant.
 */
type Row = {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 413 | 415 | 422 | 429 | 431 | 500 | 503;
  readonly retryAfterS: number | null;
  readonly message: string;
};

const REFUSALS = {
  invalid_json: { status: 400, retryAfterS: null, message: 'the body is not valid JSON' },
  invalid_encoding: {
    status: 400,
    retryAfterS: null,
    message: 'the body is not valid UTF-8, or does not match its Content-Encoding',
  },
  invalid_envelope: { status: 400, retryAfterS: null, message: 'the body is not an ingest request' },
  invalid_events: { status: 400, retryAfterS: null, message: 'none of the events could be used' },
  too_many_events: { status: 400, retryAfterS: null, message: 'too many events in one request; send them in parts' },
  invalid_query: { status: 400, retryAfterS: null, message: 'a query parameter or header is not valid' },
  invalid_request: { status: 400, retryAfterS: null, message: 'this is not a valid HTTP request' },
  query_refused: { status: 400, retryAfterS: null, message: 'this query is not allowed or not valid' },
  unauthorized: { status: 401, retryAfterS: null, message: 'a valid token is required' },
  forbidden: { status: 403, retryAfterS: null, message: 'this token is not allowed to do that' },
  not_found: { status: 404, retryAfterS: null, message: 'no such path' },
  method_not_allowed: { status: 405, retryAfterS: null, message: 'this path does not support that method' },
  request_timeout: { status: 408, retryAfterS: null, message: 'the request took too long to arrive' },
  body_too_large: { status: 413, retryAfterS: null, message: 'the body is larger than this service accepts' },
  unsupported_encoding: {
    status: 415,
    retryAfterS: null,
    message: 'Content-Encoding must be identity, gzip, deflate, br or zstd',
  },
  idempotency_mismatch: { status: 422, retryAfterS: null, message: 'this idempotency key was used with another body' },
  rate_limited: { status: 429, retryAfterS: 1, message: 'this project sends more than its share' },
  too_many_queries: { status: 429, retryAfterS: 1, message: 'too many queries are running at the moment' },
  headers_too_large: { status: 431, retryAfterS: null, message: 'the headers are larger than this service accepts' },
  internal: { status: 500, retryAfterS: 5, message: 'an internal error; the request may be sent again' },
  ingest_disabled: { status: 503, retryAfterS: 300, message: 'ingest is switched off by its operator' },
  ingest_elsewhere: {
    status: 503,
    retryAfterS: 5,
    message: 'this process takes no events (WEIR_ROLE=flush); send them to one that does',
  },
  shutting_down: { status: 503, retryAfterS: 1, message: 'this process is shutting down' },
  ingest_down: { status: 503, retryAfterS: 5, message: 'no store can accept events at the moment' },
  not_replicated: {
    status: 503,
    retryAfterS: 5,
    message: 'the brokers have not confirmed the events in time; they may arrive all the same',
  },
  channel_full: { status: 503, retryAfterS: 1, message: 'this process has no capacity at the moment' },
  store_unavailable: { status: 503, retryAfterS: 5, message: 'the store of the events does not answer at the moment' },
} as const satisfies Record<string, Row>;

export type RefusalCode = keyof typeof REFUSALS;

export const REFUSAL_CODES = Object.keys(REFUSALS) as RefusalCode[];

/**
 * Why a request is not served. `message` replaces the table's where it can be more specific. Where code lists its
 * refusal codes, the compiler checks that it uses no others.
 */
export type Refusal<Code extends RefusalCode = RefusalCode> = {
  readonly refused: Code;
  readonly message?: string;
  readonly retryAfterS?: number;
  /** The problems one by one, where that helps. */
  readonly details?: readonly object[];
  /** RFC 6750: whether the credential was missing or malformed, or well-formed but invalid. */
  readonly challenge?: 'invalid_request' | 'invalid_token';
};

export const isRefusal = (value: object | null): value is Refusal =>
  value !== null && (value as Partial<Refusal>).refused !== undefined;

/** The shape of a refusal, for descriptions of the API. */
export const rowOf = (code: RefusalCode): Row => REFUSALS[code];

/** Refusals that any path may answer before a request reaches its route. The compiler checks it. */
export const SERVER_REFUSALS = [
  'invalid_request',
  'request_timeout',
  'body_too_large',
  'headers_too_large',
  'internal',
] as const satisfies readonly RefusalCode[];
