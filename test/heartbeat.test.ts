import { expect, test } from 'vitest';
import { createHeartbeat } from '../src/pipeline/heartbeat.ts';
import { createManualClock } from './support/clock.ts';

function start() {
  const clock = createManualClock();
  const store = { answers: true, isStranger: false, hangs: false, asked: 0, cut: 0 };
  const heard: string[] = [];
  const heartbeat = createHeartbeat({
    clock,
    ask: async (signal) => {
      store.asked++;
      signal.addEventListener('abort', () => store.cut++);
      if (store.hangs) await new Promise(() => {});
      if (!store.answers) throw new Error('refused');
      return !store.isStranger;
    },
    onChange: (isUp) => heard.push(isUp ? 'up' : 'missed'),
    onDown: () => heard.push('down'),
  });
  const stop = new AbortController();
  const done = heartbeat.run(stop.signal);
  return { clock, store, heartbeat, heard, stop, done };
}

test('knows nothing before the first answer', async () => {
  const { clock, heartbeat } = start();
  expect(heartbeat.isUp()).toBeNull();
  await clock.advance(0);
  expect(heartbeat.isUp()).toBe(true);
});

test('asks once a second and says a change once', async () => {
  const { clock, store, heard } = start();
  await clock.advance(10_000);
  expect(store.asked).toBe(11);
  expect(heard).toEqual(['up']);
});

test('one missed answer is said, and cuts nothing', async () => {
  const { clock, store, heartbeat, heard } = start();
  await clock.advance(500);
  store.answers = false;
  await clock.advance(1_000);
  store.answers = true;
  await clock.advance(1_000);
  expect(heard).toEqual(['up', 'missed', 'up']);
  expect(heartbeat.downSignal().aborted).toBe(false);
});

test('three missed answers in a row cut what is running, once', async () => {
  const { clock, store, heartbeat, heard } = start();
  await clock.advance(500);
  const running = heartbeat.downSignal();
  store.answers = false;
  await clock.advance(2_000);
  expect(running.aborted).toBe(false);
  await clock.advance(1_000);
  expect(running.aborted).toBe(true);
  await clock.advance(60_000);
  expect(heard).toEqual(['up', 'missed', 'down']);
});

test('a store that is back has a fresh signal, and the old one stays aborted', async () => {
  const { clock, store, heartbeat } = start();
  store.answers = false;
  await clock.advance(5_000);
  const old = heartbeat.downSignal();
  store.answers = true;
  await clock.advance(1_000);
  expect([old.aborted, heartbeat.downSignal().aborted, heartbeat.isUp()]).toEqual([true, false, true]);
});

test('somebody else who answers is no store that is up; nothing hangs, so nothing is cut', async () => {
  const { clock, store, heartbeat, heard } = start();
  await clock.advance(500);
  store.isStranger = true;
  await clock.advance(10_000);
  expect([heartbeat.isUp(), heartbeat.downSignal().aborted]).toEqual([false, false]);
  store.isStranger = false;
  await clock.advance(1_000);
  expect(heard).toEqual(['up', 'missed', 'up']);
});

test('no answer for two seconds is a missed one, and the question is withdrawn', async () => {
  const { clock, store, heard } = start();
  await clock.advance(500);
  store.hangs = true;
  store.cut = 0;
  // Asked at 1 000, 4 000 and 7 000, each given up after 2 000.
  await clock.advance(8_499);
  expect(heard).toEqual(['up', 'missed']);
  await clock.advance(1);
  expect(heard).toEqual(['up', 'missed', 'down']);
  expect(store.cut).toBe(3);
});

test('ends when told to, also while a question hangs', async () => {
  const { clock, store, stop, done } = start();
  store.hangs = true;
  await clock.advance(1_500);
  stop.abort();
  await done;
});
