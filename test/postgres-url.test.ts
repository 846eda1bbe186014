import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { connectionConfig } from '../src/postgres/connection/connection.ts';
import { postgresUrl, postgresUrlProblems } from '../src/config/postgres-url.ts';

const FILES = new Set(['/ca.pem']);
const readFile = (path: string) => {
  if (!FILES.has(path)) throw new Error('missing');
  return '';
};
const problemsOf = (text: string) => postgresUrlProblems(text, readFile);

describe('a URL of Postgres', () => {
  test.each([
    'postgres://weir:secret@db:5432/weir',
    'postgresql://db/weir',
    'postgres://weir:s%40crt@[::1]:5433/weir',
    'postgres://weir:secret@db/weir?sslmode=verify-full&sslrootcert=/ca.pem',
    'postgres://weir:secret@db/weir?sslmode=require&channel_binding=require',
    'postgres://db/weir?ssl=true',
    'postgres://db/weir?options=-c%20search_path%3Dweir',
    'postgres://weir:secret@/weir?host=/var/run/postgresql',
    'postgres:///weir?host=/var/run/postgresql&user=weir',
    'postgres://%2Fvar%2Frun%2Fpostgresql/weir',
    'postgres://db/weir?sslmode=verify-ca&uselibpqcompat=true&sslrootcert=/ca.pem',
  ])('%s is taken', (text) => {
    expect(postgresUrl.parse(text)).toBeInstanceOf(URL);
    expect(problemsOf(text)).toEqual([]);
  });

  test.each([
    ['postgres://a:1,b:2/weir', 'several hosts'],
    ['postgres://me:s@a,b/weir', 'several hosts'],
    ['postgres://me@/weir?host=a,b', 'several hosts'],
    ['postgres://me@a/weir?port=5432,5433', 'several hosts'],
    ['postgres://a/weir?port=five', 'port='],
    ['postgres://a/weir?schema=weir', 'schema= would be ignored; set the search path'],
    ['postgres://a/weir?currentSchema=weir', 'currentSchema= would be ignored'],
    ['postgres://a/weir?search_path=weir', 'search_path= would be ignored'],
    ['postgres://a/weir?sslmode=allow', 'sslmode= is none of disable, '],
    ['postgres://a/weir?sslmode=Require', 'sslmode= is none of '],
    ['postgres://a/weir?ssl=false', 'ssl= is none of '],
    ['postgres://a/weir?sslnegotiation=none', 'sslnegotiation= is none of '],
    ['postgres://a/weir?sslnegotiation=direct&sslmode=disable', 'needs TLS'],
    ['postgres://a/weir?sslmode=verify-ca&uselibpqcompat=true', 'needs sslrootcert=FILE'],
    ['postgres://a/weir?sslrootcert=/gone.pem', 'sslrootcert= names a file that cannot be read'],
    ['postgres://a/weir?sslcert=/gone.pem', 'sslcert= names a file'],
    ['postgres://a/weir?sslkey=/gone.pem', 'sslkey= names a file'],
    ['postgres://a/weir?sslmode=verify-full&sslrootcert=system', 'leave it out'],
  ])('%s is refused, and why', (text, problem) => {
    expect(postgresUrl.parse(text)).toBeInstanceOf(URL);
    const problems = problemsOf(text);
    expect(problems).toEqual([expect.stringMatching(/^DATABASE_URL: /)]);
    expect(problems[0]).toContain(problem);
  });

  test.each([
    'weir',
    'mysql://a/b',
    'postgres://',
    'postgres:///weir',
    'postgres://a:b:c/weir',
    'postgres://a/%ff',
    'postgres://%ff@a/b',
  ])('%s is none', (text) => expect(postgresUrl.parse(text)).toBeUndefined());

  test.each([
    ['postgres://me:hunter2@a/weir', 'postgres://me:redacted@a/weir'],
    ['postgres://me:hunter2@/weir?host=/run', 'postgres://me:redacted@/weir?host=/run'],
    ['postgres://me@a/weir?password=hunter2&sslkey=/k', 'postgres://me@a/weir?password=redacted&sslkey=redacted'],
    ['hunter2', '[redacted]'],
  ])('%s is shown as %s', (text, shown) => {
    expect(decodeURIComponent(postgresUrl.show(text))).toBe(shown);
  });

  test('of the modes of TLS, those that the driver takes for verify-full are given to it as that', () => {
    const given = (text: string) => connectionConfig({ url: text }).connectionString;
    expect(given('postgres://a/weir?sslmode=require')).toBe('postgres://a/weir?sslmode=verify-full');
    expect(given('postgres://a/weir?x=1&sslmode=verify-ca&y=2')).toBe('postgres://a/weir?x=1&sslmode=verify-full&y=2');
    expect(given('postgres://a/weir?sslmode=no-verify')).toBe('postgres://a/weir?sslmode=no-verify');
    const asLibpq = 'postgres://a/weir?uselibpqcompat=true&sslmode=require';
    expect(given(asLibpq)).toBe(asLibpq);
  });

  test('what is refused for its files or its TLS is what the driver fails for', () => {
    const fails = (text: string) => {
      try {
        // oxlint-disable-next-line no-new -- what it throws is the question
        new Client({ connectionString: text });
        return false;
      } catch {
        return true; // What it says is the next test's concern.
      }
    };
    expect(fails('postgres://a/weir?sslrootcert=/gone.pem')).toBe(true);
    expect(fails('postgres://a/weir?sslmode=verify-ca&uselibpqcompat=true')).toBe(true);
    expect(fails('postgres://a/weir?sslnegotiation=direct&sslmode=disable')).toBe(true);
    expect(fails('postgres://a/weir')).toBe(false);
  });
});
