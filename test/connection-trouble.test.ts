import { expect, test } from 'vitest';
import { createConnectionTrouble } from '../src/pipeline/connection-trouble.ts';

function start() {
  const news: string[] = [];
  const describe = (error: unknown) => (error instanceof Error && error.message !== '' ? error.message : null);
  const trouble = createConnectionTrouble(describe, (reason) => news.push(reason));
  const failing = (message: string) => trouble.watch(Promise.reject(new Error(message))).catch(() => null);
  return { news, trouble, failing };
}

test('says each reason once, and again when it comes back after another', async () => {
  const { news, trouble, failing } = start();
  expect(trouble.reason()).toBeNull();
  await failing('refused');
  await failing('refused');
  expect(trouble.reason()).toBe('refused');
  await failing('full');
  await failing('refused');
  expect(news).toEqual(['refused', 'full', 'refused']);
});

test('forgets the reason when it is answered, and when nobody says one any more', async () => {
  const { news, trouble, failing } = start();
  await failing('refused');
  expect(await trouble.watch(Promise.resolve('answer'))).toBe('answer');
  expect(trouble.reason()).toBeNull();
  await failing('refused');
  await failing('');
  expect(trouble.reason()).toBeNull();
  expect(news).toEqual(['refused', 'refused']);
});

test('passes the failure on', async () => {
  const { trouble } = start();
  await expect(trouble.watch(Promise.reject(new Error('refused')))).rejects.toThrow('refused');
});
