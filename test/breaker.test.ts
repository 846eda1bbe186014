import { expect, test } from 'vitest';
import { createBreaker } from '../src/pipeline/breaker.ts';
import type { FailureClass } from '../src/pipeline/ports.ts';
import { createManualClock } from './support/clock.ts';

function setup() {
  const clock = createManualClock();
  const changes: string[] = [];
  // With 0.5 the first pause is 750 ms, then 1 500, 3 000, 6 000 and 7 500.
  const breaker = createBreaker({ clock, random: () => 0.5, onChange: ({ kind }) => changes.push(kind) });
  const fail = (...classes: FailureClass[]) => {
    for (const failureClass of classes) breaker.report('go', failureClass);
  };
  return { clock, breaker, changes, fail };
}

test.each(['unavailable', 'ambiguous', 'operator'] as const)(
  'opens after three %s failures in a row',
  (failureClass) => {
    const { breaker, fail } = setup();
    fail(failureClass, failureClass);
    expect(breaker.admit()).toBe('go');
    fail(failureClass);
    expect(breaker.admit()).toBe('no');
    expect(breaker.state()).toMatchObject({ kind: 'open', reason: failureClass });
  },
);

test.each([null, 'data', 'too_large', 'capacity', 'unknown'] as const)(
  '%s between two failures breaks the row',
  (failureClass) => {
    const { breaker, fail } = setup();
    fail('unavailable', 'unavailable');
    breaker.report('go', failureClass);
    fail('unavailable', 'unavailable');
    expect(breaker.state().kind).toBe('closed');
  },
);

test.each(['data', 'too_large', 'capacity', 'unknown'] as const)('never opens on %s failures', (failureClass) => {
  const { breaker, fail } = setup();
  fail(...Array.from({ length: 50 }, () => failureClass));
  expect(breaker.state().kind).toBe('closed');
});

test('after its pause lets exactly one probe through', async () => {
  const { clock, breaker, fail } = setup();
  fail('unavailable', 'unavailable', 'unavailable');
  await clock.advance(749);
  expect(breaker.admit()).toBe('no');
  await clock.advance(1);
  expect([breaker.admit(), breaker.admit(), breaker.admit()]).toEqual(['probe', 'no', 'no']);
});

test.each([null, 'data', 'too_large', 'capacity', 'unknown'] as const)(
  'a probe that ends in %s closes it',
  async (failureClass) => {
    const { clock, breaker, changes, fail } = setup();
    fail('unavailable', 'unavailable', 'unavailable');
    await clock.advance(750);
    breaker.report(breaker.admit(), failureClass);
    expect(breaker.admit()).toBe('go');
    expect(changes).toEqual(['open', 'half-open', 'closed']);
  },
);

test('a probe that fails opens it for twice as long, up to ten seconds', async () => {
  const { clock, breaker, fail } = setup();
  fail('unavailable', 'unavailable', 'unavailable');
  for (const pauseMs of [750, 1_500, 3_000, 6_000, 7_500, 7_500]) {
    await clock.advance(pauseMs - 1);
    expect(breaker.admit()).toBe('no');
    await clock.advance(1);
    breaker.report(breaker.admit(), 'ambiguous');
  }
});

test('a probe given back is there for the next caller', async () => {
  const { clock, breaker, fail } = setup();
  fail('unavailable', 'unavailable', 'unavailable');
  await clock.advance(750);
  expect(breaker.admit()).toBe('probe');
  breaker.returnProbe();
  expect(breaker.admit()).toBe('probe');
});

test('a store seen alive may be probed at once', () => {
  const { breaker, fail } = setup();
  fail('unavailable', 'unavailable', 'unavailable');
  breaker.allowProbe();
  expect(breaker.admit()).toBe('probe');
});

test('can be tripped without a failed insert, and keeps its first reason', () => {
  const { breaker } = setup();
  breaker.trip('operator');
  breaker.trip('unavailable');
  expect(breaker.state()).toMatchObject({ kind: 'open', reason: 'operator' });
  expect(breaker.admit()).toBe('no');
});

test('a late failure of an insert from before does not take the probe away', async () => {
  const { clock, breaker, fail } = setup();
  fail('unavailable', 'unavailable', 'unavailable');
  await clock.advance(750);
  const probe = breaker.admit();
  fail('unavailable');
  expect(breaker.state().kind).toBe('half-open');
  breaker.report(probe, null);
  expect(breaker.state()).toEqual({ kind: 'closed', reason: null, openSince: null });
});

test('says since when, across failed probes, and when a batch last landed', async () => {
  const { clock, breaker, fail } = setup();
  const openedAt = clock.now();
  expect(breaker.lastLandedAt()).toBeNull();
  fail('unavailable', 'unavailable', 'unavailable');
  await clock.advance(750);
  breaker.report(breaker.admit(), 'unavailable');
  expect(breaker.state().openSince).toBe(openedAt);
  await clock.advance(1_500);
  breaker.report(breaker.admit(), null);
  expect(breaker.lastLandedAt()).toBe(clock.elapsed());
});
