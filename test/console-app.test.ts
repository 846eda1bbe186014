import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import type { ConsoleEnv } from '../src/console/env.ts';
import { OperationRefused } from '../src/operations/refused.ts';
import { PostgresFailure } from '../src/postgres/connection/errors.ts';
import { createConsoleWorld } from './support/console-app.ts';

describe('an error of a handler', () => {
  test.each([
    ['invalid', 400, 'invalid_request'],
    ['not-found', 404, 'not_found'],
    ['conflict', 409, 'conflict'],
    ['damaged', 500, 'damaged'],
    ['store', 503, 'store_unavailable'],
  ] as const)(
    'that is an operation refused for the reason %s is %i, in its own words',
    async (reason, status, code) => {
      const answer = await answerTo(() => {
        throw new OperationRefused(reason, 'what to do');
      });
      expect(answer).toMatchObject({ status, json: { error: 'what to do', code } });
    },
  );

  test('that is an outage of Postgres is 503', async () => {
    const answer = await answerTo(() => {
      throw new PostgresFailure(Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }));
    });
    expect(answer).toMatchObject({ status: 503, json: { code: 'store_unavailable' } });
    expect(answer.text).not.toContain('secret');
  });

  test('that is a bug is 500 and says nothing of it', async () => {
    const answer = await answerTo(() => {
      throw new Error('secret');
    });
    expect(answer).toMatchObject({ status: 500, json: { code: 'internal' } });
    expect(answer.text).not.toContain('secret');
  });
});

async function answerTo(handler: () => never) {
  const world = await createConsoleWorld([new Hono<ConsoleEnv>().get('/thing', handler)]);
  const answer = await world.ask('GET', '/api/v1/operator/thing', world.signIn('viewer'));
  expect(answer.headers.get('Cache-Control')).toBe('no-store');
  return answer;
}
