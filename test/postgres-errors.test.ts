import { DrizzleQueryError } from '../src/postgres/connection/drizzle.ts';
import { describe, expect, test } from 'vitest';
import { describeError } from '../src/log/log.ts';
import { answerOf, ConnectFailure, plainAnswerOf, postgresFailureOf } from '../src/postgres/connection/errors.ts';
import { connectTrouble, explainFailure } from '../src/postgres/connection/connection-errors.ts';

const failing = (code: string) =>
  new DrizzleQueryError('insert into t values ($1)', ['secret'], Object.assign(new Error('detail: secret'), { code }));

describe('a failure of Postgres', () => {
  test('shows its code and none of the parameters', async () => {
    const error = await answerOf(Promise.reject(failing('23505'))).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'PostgresFailure', code: '23505', isUnavailable: false });
    expect(JSON.stringify(describeError(error))).not.toContain('secret');
  });

  test.each(['ECONNREFUSED', '57P01', '53300', '08006', '57014', '40P01'])('%s may work later', (code) => {
    expect(postgresFailureOf(failing(code)).isUnavailable).toBe(true);
  });

  test.each(['23505', '42P01', '22P02', '42501', '28P01'])('%s will not', (code) => {
    expect(postgresFailureOf(failing(code)).isUnavailable).toBe(false);
  });

  test('without a code counts as no answer', () => {
    expect(postgresFailureOf(new Error('Query read timeout'))).toMatchObject({ code: null, isUnavailable: true });
  });
});

describe('the words of the server', () => {
  const said = (code: string | undefined, message: string) => Object.assign(new Error(message), { code });
  const connecting = (code: string | undefined, message: string) => new ConnectFailure(said(code, message));

  test('are repeated when there was no connection, however drizzle wraps it', () => {
    const wrapped = new DrizzleQueryError(
      'select $1',
      ['secret'],
      connecting('53300', 'sorry, too many clients already'),
    );
    const failure = postgresFailureOf(wrapped);
    expect(failure.message).toBe('postgres refused the connection (53300): sorry, too many clients already');
    expect(explainFailure(wrapped)).toMatch(
      /^Postgres refuses the connection \(53300, sorry, too many clients already\): raise/,
    );
    expect(connectTrouble(wrapped)).toBe('Postgres refuses the connection (53300, sorry, too many clients already)');
    expect(JSON.stringify(describeError(failure))).not.toContain('secret');
  });

  test('are repeated of a statement without values, however drizzle wraps it', async () => {
    const wrapped = new DrizzleQueryError('LOCK TABLE t', [], said('55P03', 'canceling statement due to lock timeout'));
    expect(await plainAnswerOf(Promise.reject(wrapped)).catch((reason: unknown) => reason)).toMatchObject({
      code: '55P03',
      words: 'canceling statement due to lock timeout',
    });
  });

  test.each(['22P02', '42501', '23505', 'XX000', '25006'])(
    'never of a statement that may quote a client (%s)',
    (code) => {
      const failure = postgresFailureOf(said(code, 'invalid input syntax for type uuid: "secret"'));
      expect(failure.words).toBeNull();
      for (const text of [failure.message, explainFailure(failure), JSON.stringify(describeError(failure))])
        expect(text).not.toContain('secret');
      expect(connectTrouble(failure)).toBeNull();
    },
  );

  test('are repeated of a statement that has nothing of a client in it', async () => {
    const refused = plainAnswerOf(Promise.reject(said('42501', 'permission denied for schema public')));
    await expect(refused).rejects.toMatchObject({
      message: 'postgres refused the statement (42501): permission denied for schema public',
    });
  });

  test('are one line of bounded length', () => {
    const { words } = postgresFailureOf(connecting('28000', `no entry\n\tfor host\u2028${'x'.repeat(5_000)}`));
    expect(words).toMatch(/^no entry for host x+$/);
    expect(words).toHaveLength(300);
  });

  test('of several addresses that were tried are those of the first', () => {
    const tried = new AggregateError([
      new Error('connect ECONNREFUSED ::1:5432'),
      new Error('connect ECONNREFUSED 127.0.0.1:5432'),
    ]);
    const failure = postgresFailureOf(new ConnectFailure(Object.assign(tried, { code: 'ECONNREFUSED' })));
    expect(failure.message).toBe('postgres unavailable (ECONNREFUSED): connect ECONNREFUSED ::1:5432');
    expect(connectTrouble(failure)).toBeNull();
  });

  test('when all connections of the process are in use, nobody else is blamed', () => {
    expect(postgresFailureOf(new Error('timeout exceeded when trying to connect')).message).toBe(
      'postgres unavailable (all connections of this process are in use)',
    );
  });
});
