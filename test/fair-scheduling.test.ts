import { setImmediate as nextPhase } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { createFairScheduler } from '../src/http/request/fair-scheduling.ts';

const BATCH_BYTES = 140 * 1024;

/** Takes so many turns at once, for bodies of that size; which of them have come, in their order. */
function take(count: number, bytes: number, scheduler = createFairScheduler()): number[] {
  const come: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const there = scheduler.take(bytes);
    if (there instanceof Promise) void there.then(() => come.push(i));
    else come.push(i);
  }
  return come;
}

test('large bodies are worked on two at a time, first come first served, with the event loop in between', async () => {
  const come = take(7, BATCH_BYTES);
  const afterTurn = [come.length];
  while (come.length < 7) {
    await nextPhase();
    afterTurn.push(come.length);
  }
  expect(afterTurn).toEqual([2, 4, 6, 7]);
  expect(come).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('what a turn has not used is gone with it', async () => {
  const scheduler = createFairScheduler();
  for (let round = 0; round < 3; round += 1) {
    expect(take(3, BATCH_BYTES, scheduler)).toEqual([0, 1]);
    await nextPhase();
    await nextPhase();
    await nextPhase();
  }
});

test('a body of any size has its turn', async () => {
  const come = take(3, 10 * 1024 * 1024);
  expect(come).toEqual([0]);
  await nextPhase();
  expect(come).toEqual([0, 1]);
  await nextPhase();
  expect(come).toEqual([0, 1, 2]);
});

test('who comes later does not overtake', async () => {
  const scheduler = createFairScheduler();
  const first = take(3, BATCH_BYTES, scheduler);
  await nextPhase();
  // One of the first three was left for this turn, and has used half of it.
  expect(first).toEqual([0, 1, 2]);
  const waiting = take(4, BATCH_BYTES, scheduler);
  const later = take(1, BATCH_BYTES, scheduler);
  while (later.length === 0) await nextPhase();
  expect(waiting).toEqual([0, 1, 2, 3]);
});

test('small bodies wait for nobody', async () => {
  const scheduler = createFairScheduler();
  const large = take(5, BATCH_BYTES, scheduler);
  expect(take(1_000, 4 * 1024, scheduler)).toHaveLength(1_000);
  while (large.length < 5) await nextPhase();
  await nextPhase();
});

test('nothing turns when nothing is waited for', async () => {
  const arranged = vi.spyOn(globalThis, 'setImmediate');
  const come = take(5, BATCH_BYTES);
  for (let i = 0; i < 10; i += 1) await nextPhase();
  expect(come).toHaveLength(5);
  // Two were for the three that waited, and one to find that no more do.
  expect(arranged.mock.calls.filter(([work]) => work.name === 'turn')).toHaveLength(3);
});
