import { DrizzleQueryError } from './drizzle.ts';

/**
 * Postgres could not be asked or refused. The message is ours and safe to log;
 * the driver's, which may quote values, is in `cause`.
 */
export class PostgresFailure extends Error {
  override readonly name = 'PostgresFailure';
  /** The SQLSTATE, or the system's code such as `ECONNREFUSED`; null when there was neither. */
  readonly code: string | null;
  /** The constraint that was violated, if one was. */
  readonly constraint: string | null;
  /** It may work later, without any change: no connection, no answer, shutting down, out of resources. */
  readonly isUnavailable: boolean;

  constructor(cause: unknown) {
    const { code, constraint } = detailOf(cause);
    const isUnavailable = code === null || isPassing(code);
    super(`postgres ${isUnavailable ? 'unavailable' : 'refused the statement'} (${code ?? 'no answer'})`, { cause });
    this.code = code;
    this.constraint = constraint;
    this.isUnavailable = isUnavailable;
  }
}

/**
 * Awaits a query and throws `PostgresFailure` for whatever it throws. Drizzle's
 * own error carries the statement with its parameters in its message: user data.
 */
export async function answerOf<T>(query: PromiseLike<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    throw postgresFailureOf(error);
  }
}

export function postgresFailureOf(error: unknown): PostgresFailure {
  if (error instanceof PostgresFailure) return error;
  return new PostgresFailure(error instanceof DrizzleQueryError ? error.cause : error);
}

/** SQLSTATE classes: 08 connection, 53 resources, 57P shutdown, 58 system, and a statement that took too long. */
function isPassing(code: string): boolean {
  return (
    /^E[A-Z_]+$/.test(code) ||
    /^(08|53|57P|58)/.test(code) ||
    ['57014', '40001', '40P01', '55P03', '25006'].includes(code)
  );
}

function detailOf(cause: unknown): { code: string | null; constraint: string | null } {
  const { code, constraint } = (cause instanceof Error ? cause : {}) as { code?: unknown; constraint?: unknown };
  return {
    code: typeof code === 'string' ? code : null,
    constraint: typeof constraint === 'string' ? constraint : null,
  };
}
