import { expect, test } from 'vitest';
import { createRateLimit } from '../src/http/access/rate-limit.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';

test('a project has its allowance, and hears how long to wait beyond it', async () => {
  const limit = createRateLimit({ requests: 3, perMs: 60_000 });
  const outcomes = [];
  for (let i = 0; i < 4; i++) outcomes.push(await limit(PROJECT));
  expect(outcomes.slice(0, 3)).toEqual([null, null, null]);
  expect(outcomes[3]).toMatchObject({ refused: 'rate_limited' });
  expect(outcomes[3]!.retryAfterS).toBeGreaterThanOrEqual(1);
  expect(outcomes[3]!.retryAfterS).toBeLessThanOrEqual(60);
});

test('one project does not use up another’s allowance', async () => {
  const limit = createRateLimit({ requests: 1, perMs: 60_000 });
  expect(await limit(PROJECT)).toBeNull();
  expect(await limit(PROJECT)).not.toBeNull();
  expect(await limit(OTHER_PROJECT)).toBeNull();
});

test('the time to wait is never less than a second', async () => {
  const limit = createRateLimit({ requests: 1, perMs: 100 });
  await limit(PROJECT);
  expect(await limit(PROJECT)).toMatchObject({ retryAfterS: 1 });
});
