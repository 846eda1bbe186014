/**
 * What a failure of Postgres means for the rows, by its SQLSTATE and never by text, which quotes rows: a client must not
 * be able to choose how its own error is treated (invariant I14).
 */
import { type FailureClass, InsertFailure } from '../../pipeline/ports.ts';
import { type PostgresFailure, postgresFailureOf } from '../connection/errors.ts';

/** How far a transaction was. Before its COMMIT was sent, nothing of it can ever land. */
export type Stage = 'connecting' | 'sending' | 'committing';

/** Where an error arose, in names of the schema alone. */
export type Origin = { readonly constraint?: string | null; readonly column?: string | null };

/** The first rule that fits the SQLSTATE. */
const RULES: readonly (readonly [pattern: RegExp, meaning: FailureClass])[] = [
  // No connection, out of resources, shut down, an error of the system; a system's own code such as ECONNRESET.
  [/^(08|53|57|58)|^E[A-Z_]+$/, 'unavailable'],
  // Serialization, deadlock, a lock that is not to be had, read-only, too long within a transaction.
  [/^(40|55P03$|25006$|25P0[34]$)/, 'unavailable'],
  // A value that cannot be read or stored, a constraint, a check of a view, what a trigger raises, a program's limit.
  [/^(22|23|44|P0|54)/, 'data'],
  // No such table, column, type, schema or database; no right to it; what does not work here; an object in no state for
  // it; corrupted files.
  [/^(42|3D|3F|28|0A|55|XX00[12]$|F0)/, 'operator'],
];

/** A check without a name is that of a partition, which is missing or detached: it says nothing about the rows. */
export function classOf(code: string, { constraint }: Origin): FailureClass {
  if (code === CHECK && !constraint) return 'operator';
  return RULES.find(([pattern]) => pattern.test(code))?.[1] ?? 'unknown';
}

const CHECK = '23514';

/** A COMMIT whose answer is none of these may have worked: the server was ending, or no longer there. */
const ROLLED_BACK = /^(22|23|40|42|44|P0|53|54|57014$)/;

/** An error of a transaction that stores rows. */
export function insertFailureOf(thrown: unknown, stage: Stage): InsertFailure {
  if (thrown instanceof InsertFailure) return thrown;
  const failure = postgresFailureOf(thrown);
  const { code } = failure;
  if (stage === 'committing' && (code === null || !ROLLED_BACK.test(code))) {
    return new InsertFailure(`no verdict from Postgres (${code ?? 'no answer'})`, {
      failureClass: 'ambiguous',
      retryAtOnce: isBroken(failure),
      cause: failure,
    });
  }
  const failureClass = code === null ? 'unavailable' : classOf(code, failure);
  return new InsertFailure(describe(failure, failureClass, originOf(failure)), {
    failureClass,
    code: numberOf(code),
    retryAtOnce: stage === 'sending' && isBroken(failure),
    cause: failure,
  });
}

/** The failure of rows that Postgres refuses, as `inspect_rows` reports it. */
export function refusalOf(code: string, when: 'reading' | 'storing', origin: Origin): InsertFailure {
  const what = when === 'reading' ? 'cannot read it' : 'does not store it';
  return new InsertFailure(`Postgres ${what} (${[code, ...namesOf(origin)].join(', ')})`, {
    failureClass: classOf(code, origin),
    code: numberOf(code),
  });
}

function describe(failure: PostgresFailure, failureClass: FailureClass, origin: Origin): string {
  if (failureClass !== 'data' && failureClass !== 'operator') return failure.message;
  return `Postgres refused the statement (${[failure.code, ...namesOf(origin)].join(', ')})`;
}

function namesOf({ constraint, column }: Origin): string[] {
  return [constraint ? [`constraint ${constraint}`] : [], column ? [`column ${column}`] : []].flat();
}

/** The driver's error names what it is about. */
function originOf({ constraint, cause }: PostgresFailure): Origin {
  const { column } = (cause ?? {}) as { column?: unknown };
  return { constraint, column: typeof column === 'string' ? column : null };
}

/** Those SQLSTATEs that are numbers; the others are in the message. */
const numberOf = (code: string | null): number | null => (code !== null && /^\d{5}$/.test(code) ? Number(code) : null);

/** As an idle connection is when the server restarts. */
const isBroken = ({ code, isConnecting, cause }: PostgresFailure): boolean =>
  !isConnecting &&
  (['ECONNRESET', 'EPIPE', '57P01'].includes(code ?? '') ||
    (code === null && cause instanceof Error && cause.message === 'Connection terminated unexpectedly'));

/** No partition for the month in which a row arrived. */
export function lacksPartition(thrown: unknown): boolean {
  const { code, constraint } = postgresFailureOf(thrown);
  return code === CHECK && constraint === null;
}

/** Another transaction was in the way, and this one had to give in. */
export const hasLostToAnother = (thrown: unknown): boolean =>
  ['40P01', '40001'].includes(postgresFailureOf(thrown).code ?? '');
