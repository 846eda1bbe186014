/** Every refusal that the console answers, in one table, and errors as refusals. The shape is that of the public API. */
import type { Context } from 'hono';
import { OperationRefused, type RefusalReason } from '../operations/refused.ts';
import { PostgresFailure } from '../postgres/connection/errors.ts';
import type { ConsoleEnv } from './env.ts';

type Row = {
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 421 | 429 | 500 | 503;
  readonly message: string;
};

const REFUSALS = {
  invalid_json: { status: 400, message: 'the body is not valid JSON' },
  invalid_request: { status: 400, message: 'this is not a valid request' },
  query_refused: { status: 400, message: 'this query is not allowed or not valid' },
  not_signed_in: {
    status: 401,
    message: 'sign in first: with a link of `weir console link`, or a name and a password',
  },
  wrong_credentials: { status: 401, message: 'the name or the password is wrong, or the link is no longer valid' },
  forbidden: { status: 403, message: 'viewers change nothing; ask an operator' },
  foreign_page: { status: 403, message: 'only the console’s own page may send this' },
  invalid_csrf: { status: 403, message: 'the header X-Weir-Csrf must hold the token that GET /session answers' },
  not_found: { status: 404, message: 'no such path' },
  method_not_allowed: { status: 405, message: 'this path does not support that method' },
  conflict: { status: 409, message: 'something else is in the way; try again in a moment' },
  body_too_large: { status: 413, message: 'the body is larger than the console accepts (1 MiB)' },
  not_json: { status: 415, message: 'the body must be JSON, sent with Content-Type: application/json' },
  unknown_host: {
    status: 421,
    message: 'the console does not answer under this name; open its own address, or set CONSOLE_ORIGIN to this one',
  },
  too_many_attempts: { status: 429, message: 'too many wrong passwords; try again later' },
  too_many_queries: { status: 429, message: 'too many queries are running at the moment' },
  damaged: { status: 500, message: 'stored data is unreadable' },
  internal: { status: 500, message: 'an internal error; see the log of the console for the reason' },
  busy: { status: 503, message: 'the console is busy; try again in a moment' },
  store_unavailable: { status: 503, message: 'a store does not answer at the moment' },
} as const satisfies Record<string, Row>;

export type ConsoleRefusalCode = keyof typeof REFUSALS;

export const statusOf = (code: ConsoleRefusalCode): Row['status'] => REFUSALS[code].status;

/** Refusals that any route of the operator API may answer, for its description. */
export const OF_EVERY_ROUTE = [
  'not_signed_in',
  'forbidden',
  'foreign_page',
  'invalid_csrf',
  'body_too_large',
  'unknown_host',
  'internal',
  'store_unavailable',
] as const satisfies readonly ConsoleRefusalCode[];

/** Why a request is not served; `message` replaces the table's where it can be more specific. */
export type ConsoleRefusal = {
  readonly refused: ConsoleRefusalCode;
  readonly message?: string;
  readonly details?: readonly object[];
  readonly retryAfterS?: number;
};

/** The answer for a refusal. */
export function refuse(c: Context<ConsoleEnv>, { refused, message, details, retryAfterS }: ConsoleRefusal): Response {
  const row: Row = REFUSALS[refused];
  if (retryAfterS !== undefined) c.header('Retry-After', String(Math.ceil(retryAfterS)));
  return c.json({ error: message ?? row.message, code: refused, ...(details && { details }) }, row.status);
}

const OF_OPERATION: Readonly<Record<RefusalReason, ConsoleRefusalCode>> = {
  invalid: 'invalid_request',
  'not-found': 'not_found',
  conflict: 'conflict',
  damaged: 'damaged',
  store: 'store_unavailable',
};

/** What an error that a handler threw is to whoever asked; null for a bug, which belongs in the log. */
export function refusalOf(error: unknown): ConsoleRefusal | null {
  if (error instanceof OperationRefused) return { refused: OF_OPERATION[error.reason], message: error.message };
  if (error instanceof PostgresFailure && error.isUnavailable) {
    return { refused: 'store_unavailable', message: error.message, retryAfterS: 1 };
  }
  return null;
}
