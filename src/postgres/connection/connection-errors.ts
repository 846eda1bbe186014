/**
 * Explains failures of Postgres to an operator: what happened, in the server's own words where they are safe, and what
 * to do.
 */
import { tlsTroubleOf, type TlsTrouble } from '../../net/tls.ts';
import { isSqlState, lacksTls, type PostgresFailure, postgresFailureOf } from './errors.ts';
import { SchemaMissing } from './errors.ts';

/** One sentence without its full stop. Accepts any thrown value. */
export function explainFailure(error: unknown): string {
  if (error instanceof SchemaMissing) return `Postgres has nowhere to put tables: ${error.message}`;
  const failure = postgresFailureOf(error);
  return `${whatHappened(failure)}: ${remedyOf(failure)}`;
}

/**
 * Why there is no connection, when the other side gave a reason; null otherwise. For the pages and logs of a running
 * Weir.
 */
export function connectTrouble(error: unknown): string | null {
  const failure = postgresFailureOf(error);
  const isSaid = failure.isConnecting && (isSqlState(failure.code) || isTlsTrouble(failure));
  return isSaid ? whatHappened(failure) : null;
}

function whatHappened(failure: PostgresFailure): string {
  const { code, words, isConnecting } = failure;
  const said = [code, words].filter((part) => part !== null).join(', ');
  if (isConnecting && isSqlState(code)) return `Postgres refuses the connection (${said})`;
  if (isConnecting && isTlsTrouble(failure)) return `the TLS connection to Postgres failed (${said})`;
  if (isSqlState(code)) return `Postgres refused a statement (${said})`;
  if (code === null && words === null) return 'Postgres does not answer';
  return `Postgres cannot be reached (${said})`;
}

const isTlsTrouble = ({ code, cause }: PostgresFailure) =>
  tlsTroubleOf(code) !== null || lacksTls((cause as Error | undefined)?.cause);

const TLS_REMEDIES: Record<TlsTrouble, string> = {
  untrusted:
    'trust the authority that signed its certificate: sslrootcert=FILE in DATABASE_URL or NODE_EXTRA_CA_CERTS=FILE in the environment; sslmode=no-verify encrypts without verifying the server',
  'out of date': 'renew the certificate of the server, or set the clock of this machine',
  'other name':
    'use a host name in DATABASE_URL that the certificate covers, or give the server a certificate for this one',
  'no handshake': 'check the port; sslmode=disable connects without TLS',
};

const ADDRESS = 'check that it runs and that the address is right';

function remedyOf(failure: PostgresFailure): string {
  const { code, words, isConnecting } = failure;
  const tls = tlsTroubleOf(code);
  if (tls !== null) return TLS_REMEDIES[tls];
  if (isTlsTrouble(failure)) return 'switch TLS on in the server, or connect without: sslmode=disable in DATABASE_URL';
  switch (code) {
    case '28P01':
      return 'check the user and the password';
    case '28000':
      return 'check the user, and the server’s pg_hba.conf for this address; where it says "no encryption", set sslmode=verify-full';
    case '3D000':
      return 'create the database, or correct its name';
    case '08P01':
      // Poolers use this one code for everything they refuse.
      return words?.includes('startup parameter') === true
        ? 'a pooler in front of Postgres does not accept these settings; remove them from DATABASE_URL and PGOPTIONS'
        : 'a pooler in front of Postgres refuses it: check its log, databases, users and limits';
    case '53300':
      return 'raise max_connections or the limit of the role, run fewer processes, or put a pooler in between';
    case '57P03':
    case '57P01':
    case '57P02':
      return 'wait until the server accepts connections; if it is a standby that never does, use the address of the primary';
    case '42P01':
    case '42703':
      return 'the schema is missing or old: run `weir migrate`';
    case '42501':
      return isConnecting
        ? 'GRANT CONNECT on the database to the user'
        : 'grant the user what docs/OPERATIONS.md lists, or let the owner of the tables run `weir migrate`';
    case '25006':
      return 'the server is read-only: use the address of the primary';
    case null:
      return ADDRESS;
    default:
      return isSqlState(code) ? 'look the code up in the list of Postgres error codes' : ADDRESS;
  }
}
