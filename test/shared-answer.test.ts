import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { metricsPage } from '../src/http/health/metrics-page.ts';
import type { Route } from '../src/http/description/route.ts';
import { sharedAbove } from '../src/http/answers/shared-answer.ts';
import { createManualClock, settled } from './support/clock.ts';

/** What is made is how often something was made; each takes until `finish` is called. */
function counting(perSecond: number) {
  const clock = createManualClock();
  const waiting: PromiseWithResolvers<number>[] = [];
  let made = 0;
  const ask = sharedAbove(perSecond, clock, () => {
    made += 1;
    const one = Promise.withResolvers<number>();
    waiting.push(one);
    return one.promise;
  });
  return {
    clock,
    ask,
    made: () => made,
    finish: () => waiting.shift()!.resolve(made),
    fail: () => waiting.shift()!.reject(new Error('failed')),
  };
}

test('who asks now and then gets what is true now', async () => {
  const { clock, ask, finish } = counting(20);
  for (let n = 1; n <= 100; n += 1) {
    const asked = ask();
    finish();
    expect(await asked).toBe(n);
    await clock.advance(50);
  }
});

test('thousands who ask at the same time share the last one that was made', async () => {
  const { ask, made, finish } = counting(3);
  const asked = Array.from({ length: 10_000 }, () => ask());
  expect(made()).toBe(3);
  for (let n = 0; n < 3; n += 1) finish();
  expect(new Set(await Promise.all(asked.slice(2))).size).toBe(1);
});

test('who asks all the time has so many made a second, and gets none that is older than the next one is away', async () => {
  const clock = createManualClock();
  let made = 0;
  const ask = sharedAbove(20, clock, async () => ((made += 1), clock.elapsed()));
  for (let ms = 0; ms < 10_000; ms += 1) {
    expect(clock.elapsed() - (await ask())).toBeLessThanOrEqual(50);
    await clock.advance(1);
  }
  // The first twenty could be made at once.
  expect(made).toBeGreaterThanOrEqual(200);
  expect(made).toBeLessThanOrEqual(220);
});

test('a failure is told to those who waited, and the next one tries again', async () => {
  const { ask, fail, finish, clock } = counting(1);
  const asked = [ask(), ask()];
  fail();
  for (const one of asked) await expect(one).rejects.toThrow('failed');
  await settled();
  await clock.advance(1);
  const again = ask();
  finish();
  expect(await again).toBe(2);
});

test('a late failure does not undo what was made after it', async () => {
  const { clock, ask, fail, finish } = counting(1);
  const first = ask();
  await clock.advance(1_000);
  const second = ask();
  fail();
  await expect(first).rejects.toThrow('failed');
  finish();
  expect(await second).toBe(2);
  expect(await ask()).toBe(2);
});

test('the page of metrics is made twenty times a second at most, and is true as soon as there is room again', async () => {
  const clock = createManualClock();
  let made = 0;
  const route = metricsPage(async (withProcess) => `made ${(made += 1)}${withProcess ? '' : ' of its own'}`, {
    clock,
    token: null,
  });
  const app = new Hono().get(route.path, (route as Extract<Route, { handler: unknown }>).handler);
  const ask = async (query = '') => (await app.request(route.path + query)).text();
  await Promise.all(Array.from({ length: 1_500 }, () => ask()));
  expect(await ask()).toBe('made 20');
  await clock.advance(50);
  expect(await ask()).toBe('made 21');
  expect(await ask('?process=false')).toBe('made 22 of its own');
  await Promise.all(Array.from({ length: 1_500 }, () => ask('?process=false')));
  expect(await ask('?process=false')).toBe('made 41 of its own');
});
