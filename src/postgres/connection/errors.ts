import { tlsTroubleOf } from '../../net/tls.ts';
import { DrizzleQueryError } from './drizzle.ts';

/**
 * Postgres could not be reached or refused. The message is ours and safe to log; the driver's, which may quote values,
 * is in `cause`.
 */
export class PostgresFailure extends Error {
  override readonly name = 'PostgresFailure';
  /** The SQLSTATE, or a code of the system or of TLS such as `ECONNREFUSED`; null when there was none. */
  readonly code: string | null;
  /** The constraint that was violated, if one was. */
  readonly constraint: string | null;
  /** It may work later without any change: no connection, no answer, shutting down, out of resources. */
  readonly isUnavailable: boolean;
  /** There was no connection to send anything over. */
  readonly isConnecting: boolean;
  /**
   * The message, on one line: from the server, from what is in front of it, or from the system. Null where it might
   * quote values.
   */
  readonly words: string | null;

  /** `mayQuote`: the statement has values of clients in it, so the server's message stays in `cause`. */
  constructor(cause: unknown, { mayQuote = true }: { mayQuote?: boolean } = {}) {
    const isConnecting = cause instanceof ConnectFailure;
    const origin = isConnecting ? cause.cause : cause;
    const { code, constraint } = detailOf(origin);
    const words = isConnecting || !mayQuote ? wordsOf(origin) : null;
    const isUnavailable = code === null || isPassing(code);
    super(describe({ code, words, isUnavailable, isConnecting, origin }), { cause });
    this.code = code;
    this.constraint = constraint;
    this.isUnavailable = isUnavailable;
    this.isConnecting = isConnecting;
    this.words = words;
  }
}

/**
 * Postgres, or something in front of it, gave no connection. Nothing was sent yet, so the message holds no event data.
 * The driver's error is in `cause`.
 */
export class ConnectFailure extends Error {
  override readonly name = 'ConnectFailure';

  constructor(cause: unknown) {
    super('no connection to postgres', { cause });
  }
}

/**
 * Awaits a query and throws `PostgresFailure` for every error of it. Drizzle's own error carries the statement with its
 * parameters in its message, which are user data.
 */
export async function answerOf<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    throw postgresFailureOf(error);
  }
}

/** The same for statements without any value from a client: the server's message is repeated. */
export async function plainAnswerOf<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    if (error instanceof PostgresFailure) throw error;
    throw new PostgresFailure(withoutDrizzle(error), { mayQuote: false });
  }
}

export function postgresFailureOf(error: unknown): PostgresFailure {
  if (error instanceof PostgresFailure) return error;
  return new PostgresFailure(withoutDrizzle(error));
}

const withoutDrizzle = (error: unknown): unknown => (error instanceof DrizzleQueryError ? error.cause : error);

/** SQLSTATE classes: 08 connection, 53 resources, 57P shutdown, 58 system, and a statement that took too long. */
function isPassing(code: string): boolean {
  return (
    /^E[A-Z_]+$/.test(code) ||
    /^(08|53|57P|58)/.test(code) ||
    ['57014', '40001', '40P01', '55P03', '25006'].includes(code)
  );
}

function describe(failure: {
  code: string | null;
  words: string | null;
  isUnavailable: boolean;
  isConnecting: boolean;
  origin: unknown;
}): string {
  const { code, words, isUnavailable, isConnecting, origin } = failure;
  const what = code ?? (isPoolExhausted(origin) ? 'all connections of this process are in use' : 'no answer');
  const said = words === null ? '' : `: ${words}`;
  if (isConnecting && isSqlState(code)) return `postgres refused the connection (${what})${said}`;
  if (isConnecting && (tlsTroubleOf(code) !== null || lacksTls(origin)))
    return `the TLS connection to postgres failed (${what})${said}`;
  return `postgres ${isUnavailable ? 'unavailable' : 'refused the statement'} (${what})${said}`;
}

/** The server answered, or a pooler in its place. */
export const isSqlState = (code: string | null): code is string => code !== null && /^[0-9A-Z]{5}$/.test(code);

/** The driver's message for a server without TLS. */
export const lacksTls = (error: unknown): boolean =>
  error instanceof Error && error.message === 'The server does not support SSL connections';

const isPoolExhausted = (error: unknown) =>
  error instanceof Error && error.message === 'timeout exceeded when trying to connect';

/** Longer messages of servers are cut. */
const MAX_WORDS = 300;

/** On one line. */
function wordsOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  // When several addresses were tried, each has an error of its own.
  const text =
    error instanceof AggregateError && error.message === '' ? String(error.errors[0]?.message) : error.message;
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return line === '' ? null : line.slice(0, MAX_WORDS);
}

function detailOf(cause: unknown): { code: string | null; constraint: string | null } {
  const { code, constraint } = (cause instanceof Error ? cause : {}) as { code?: unknown; constraint?: unknown };
  return {
    code: typeof code === 'string' ? code : null,
    constraint: typeof constraint === 'string' ? constraint : null,
  };
}

/** No schema of the search path exists, so there is no place for tables. */
export class SchemaMissing extends Error {
  override readonly name = 'SchemaMissing';

  constructor() {
    super(
      'no schema of the search_path exists, or the user may not use it; create it (CREATE SCHEMA … AUTHORIZATION …) or correct the search_path',
    );
  }
}
