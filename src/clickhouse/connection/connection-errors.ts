/**
 * Explains ClickHouse's failures to an operator: what happened, in ClickHouse's own words where they are safe, and what
 * to do.
 */
import { tlsTroubleOf, type TlsTrouble } from '../../net/tls.ts';
import { NotClickHouse } from './verified-answers.ts';

/** Messages about users, rights and schema names: they cannot contain a value of an event. */
const SPEAKABLE = new Set(['60', '81', '164', '192', '193', '194', '195', '291', '497', '516']);
const MAX_WORDS = 300;

/** One sentence without its full stop. Accepts any thrown value. */
export function explainFailure(error: unknown): string {
  if (error instanceof NotClickHouse) return `${error.message}: check the address, and any proxy in front of it`;
  return `${whatHappened(error)}: ${remedyOf(codeOf(error))}`;
}

/** Why there is no connection when TLS is the reason; null otherwise. For the pages and logs of a running Weir. */
export function connectTrouble(error: unknown): string | null {
  return tlsTroubleOf(codeOf(error)) === null ? null : whatHappened(error);
}

function whatHappened(error: unknown): string {
  const code = codeOf(error);
  const isRefusal = code !== null && /^\d+$/.test(code);
  const words = isRefusal && !SPEAKABLE.has(code) ? null : wordsOf(error);
  const said = [code, words].filter((part) => part !== null).join(', ');
  if (isRefusal) return `ClickHouse refused the request (${said})`;
  if (tlsTroubleOf(code) !== null) return `the TLS connection to ClickHouse failed (${said})`;
  return said === '' ? 'ClickHouse does not answer' : `ClickHouse cannot be reached (${said})`;
}

const TLS_REMEDIES: Record<TlsTrouble, string> = {
  untrusted:
    'trust the authority that signed its certificate: set NODE_EXTRA_CA_CERTS=FILE in the environment of Weir, or NODE_OPTIONS=--use-system-ca if the system trusts it already',
  'out of date': 'renew the certificate of the server, or set the clock of this machine',
  'other name':
    'use a host name in CLICKHOUSE_URL that the certificate covers, or give the server a certificate for this one',
  'no handshake': 'check the port: 8443 speaks TLS unless configured otherwise, 8123 is for http://',
};

function remedyOf(code: string | null): string {
  const tls = tlsTroubleOf(code);
  if (tls !== null) return TLS_REMEDIES[tls];
  switch (code) {
    case '60':
    case '81':
      return 'the schema is missing: run `weir migrate`';
    case '516':
    case '192':
    case '193':
    case '194':
    case '195':
      return 'check CLICKHOUSE_USERNAME and CLICKHOUSE_PASSWORD';
    case '291':
    case '497':
      return 'grant the user what docs/OPERATIONS.md lists';
    case '164':
      return 'the user is read-only; use one that may write';
    case null:
    case 'ECONNRESET':
      return 'check that it runs, that the address is right, and that the URL of a TLS port (8443) begins with https://';
    default:
      return /^\d+$/.test(code)
        ? 'look the code up in system.errors, and in the log of the server'
        : 'check that it runs and that the address is right';
  }
}

function codeOf(error: unknown): string | null {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === 'string' || typeof code === 'number' ? String(code) : null;
}

/** The first line; the following ones are advice or a second copy. */
function wordsOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const text =
    error instanceof AggregateError && error.message === '' ? String(error.errors[0]?.message) : error.message;
  const line = (text.trim().split('\n', 1)[0] ?? '').replaceAll(/[\p{Cc}\s]+/gu, ' ').trim();
  return line === '' ? null : line.slice(0, MAX_WORDS);
}
