import { DrizzleQueryError } from '../src/postgres/drizzle.ts';
import { describe, expect, test } from 'vitest';
import { describeError } from '../src/log.ts';
import { answerOf, postgresFailureOf } from '../src/postgres/errors.ts';

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
