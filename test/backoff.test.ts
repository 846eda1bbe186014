import { expect, test } from 'vitest';
import { backoffMs } from '../src/pipeline/backoff.ts';

const RETRY = { firstMs: 1_000, maxMs: 60_000 };
const NEARLY_ONE = 1 - Number.EPSILON;

test.each([
  [1, 500, 1_000],
  [2, 1_000, 2_000],
  [3, 2_000, 4_000],
  [6, 16_000, 32_000],
  [7, 30_000, 60_000],
  [1_000, 30_000, 60_000],
  [Number.MAX_SAFE_INTEGER, 30_000, 60_000],
])('attempt %i waits between %i and %i ms', (attempt, least, most) => {
  expect(backoffMs(attempt, RETRY, () => 0)).toBe(least);
  expect(backoffMs(attempt, RETRY, () => NEARLY_ONE)).toBeCloseTo(most);
});
