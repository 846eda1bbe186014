/**
 * What DATABASE_URL may contain. The driver ignores what it does not know and fails on some values only when it
 * connects; this reports at the start what would be ignored or fail.
 */
import { type Kind, isDecodable, redactUrl } from './kinds.ts';

/** Where to look for a file; throws what `fs` throws. */
type ReadFile = (path: string) => string;

const SSL_MODES = ['disable', 'no-verify', 'prefer', 'require', 'verify-ca', 'verify-full'];
const CERTIFICATE_FILES = ['sslrootcert', 'sslcert', 'sslkey'];
/** Names that other libraries use for the schema; this driver would ignore them. */
const SCHEMA_WORDS = ['schema', 'currentSchema', 'search_path'];
/** Stands in where the URL names no host, as with a socket: the URL class requires one. */
const NO_HOST = 'socket.invalid';
const AUTHORITY = /^(postgres(?:ql)?:\/\/)((?:[^/?#]*@)?)([^/?#]*)(.*)$/s;

export const postgresUrl: Kind<URL> = {
  accepts: 'a URL such as postgres://user:password@host:5432/weir, or postgres://user@/weir?host=/var/run/postgresql',
  parse(text) {
    const read = readPostgresUrl(text);
    if (read === null) return undefined;
    const { url, host } = read;
    if (host === '' && !hostParameter(url)) return undefined;
    return [url.username, url.password, url.pathname, url.hostname].every(isDecodable) ? url : undefined;
  },
  show: (text) => {
    const read = readPostgresUrl(text);
    return read === null ? redactUrl(text) : redactUrl(read.url.href).replace(NO_HOST, read.host);
  },
};

/** All problems of such a URL. */
export function postgresUrlProblems(text: string, readFile: ReadFile): string[] {
  const read = readPostgresUrl(text);
  if (read === null) return [];
  const parameters = read.url.searchParams;
  return [
    ...hostProblems(hostParameter(read.url) ?? read.host, parameters.get('port')),
    ...SCHEMA_WORDS.filter((word) => parameters.has(word)).map(schemaProblem),
    ...tlsProblems(parameters),
    ...CERTIFICATE_FILES.flatMap((name) => fileProblem(name, parameters.get(name), readFile)),
  ];
}

/** With one host in place of several or none; those stand in the parameter `host`. */
function readPostgresUrl(text: string): { url: URL; host: string } | null {
  const [, scheme, credentials, host, rest] = AUTHORITY.exec(text) ?? [];
  if (scheme === undefined) return null;
  const first = host!.split(',')[0]! || NO_HOST;
  const href = `${scheme}${credentials}${first}${rest}`;
  return URL.canParse(href) ? { url: new URL(href), host: host! } : null;
}

const hostParameter = (url: URL) => url.searchParams.get('host') || null;

function hostProblems(host: string, port: string | null): string[] {
  if (host.includes(',') || port?.includes(',')) {
    return [
      'DATABASE_URL: names several hosts; accepted: one. Give an address that follows the primary: a pooler, a proxy or a virtual address',
    ];
  }
  return port === null || /^\d{1,5}$/.test(port) ? [] : ['DATABASE_URL: port= is not a port number'];
}

function schemaProblem(word: string): string {
  return `DATABASE_URL: ${word}= would be ignored; set the search path instead: ALTER ROLE … SET search_path = NAME, or options=-c%20search_path%3DNAME if no pooler is in between`;
}

function tlsProblems(parameters: URLSearchParams): string[] {
  const problems: string[] = [];
  const one = (name: string, accepted: readonly string[]) => {
    const value = parameters.get(name);
    if (value !== null && !accepted.includes(value))
      problems.push(`DATABASE_URL: ${name}= is none of ${accepted.join(', ')}`);
  };
  one('sslmode', SSL_MODES);
  one('ssl', ['true', '1', '0', 'no-verify']);
  one('sslnegotiation', ['postgres', 'direct']);
  const mode = parameters.get('sslmode');
  if (mode === 'verify-ca' && parameters.get('uselibpqcompat') === 'true' && !parameters.has('sslrootcert'))
    problems.push('DATABASE_URL: sslmode=verify-ca needs sslrootcert=FILE, or use sslmode=verify-full');
  if (parameters.get('sslnegotiation') === 'direct' && (mode === 'disable' || parameters.get('ssl') === '0'))
    problems.push('DATABASE_URL: sslnegotiation=direct needs TLS; leave sslmode=disable out');
  return problems;
}

function fileProblem(name: string, path: string | null, readFile: ReadFile): string[] {
  if (path === null || path === '') return [];
  if (path === 'system')
    return [`DATABASE_URL: ${name}=system is not supported; leave it out to trust the authorities that Node knows`];
  try {
    readFile(path);
    return [];
  } catch {
    // The driver would fail for the same reason at every connection.
    return [`DATABASE_URL: ${name}= names a file that cannot be read; give the path of a PEM file`];
  }
}
