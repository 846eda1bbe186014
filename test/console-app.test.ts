import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { createConsoleApp } from '../src/console/app.ts';
import type { ConsoleEnv } from '../src/console/env.ts';
import { OperationRefused } from '../src/operations/refused.ts';
import { PostgresFailure } from '../src/postgres/connection/errors.ts';
import { createLog } from '../src/log/log.ts';

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
      expect(answer).toEqual({ status, body: { error: 'what to do', code } });
    },
  );

  test('that is an outage of Postgres is 503', async () => {
    const answer = await answerTo(() => {
      throw new PostgresFailure(Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }));
    });
    expect(answer).toMatchObject({ status: 503, body: { code: 'store_unavailable' } });
    expect(JSON.stringify(answer)).not.toContain('secret');
  });

  test('that is a bug is 500 and says nothing of it', async () => {
    const answer = await answerTo(() => {
      throw new Error('secret');
    });
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal' } });
    expect(JSON.stringify(answer)).not.toContain('secret');
  });
});

async function answerTo(handler: () => never) {
  const family = new Hono<ConsoleEnv>().get('/thing', handler);
  const app = createConsoleApp({
    address: { host: '127.0.0.1', port: 8081, publicOrigin: null },
    families: [family],
    newRequestId: () => 'id',
    log: createLog('silent'),
  });
  const answer = await app.request('http://x/api/v1/operator/thing', { headers: { Host: '127.0.0.1:8081' } });
  expect(answer.headers.get('Cache-Control')).toBe('no-store');
  return { status: answer.status, body: await answer.json() };
}
