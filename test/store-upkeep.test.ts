/** When an event store is looked after, and when that it is not is said, on a clock moved by hand. */
import { expect, test } from 'vitest';
import { keepStoreUp } from '../src/composition/store-upkeep.ts';
import { createLog } from '../src/log/log.ts';
import { createManualClock } from './support/clock.ts';

const MINUTE = 60_000;
const DAY_S = 86_400;

/** `answers`: what the store says look by look, then nothing to do for ever. */
function checked(answers: (number | Error)[]) {
  const asked: number[] = [];
  const lines: Record<string, unknown>[] = [];
  const clock = createManualClock();
  const log = createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) });
  const doSome = async (sinceS: number) => {
    asked.push(sinceS);
    const answer = answers.shift() ?? 0;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const stop = new AbortController();
  const done = keepStoreUp(
    { upkeep: { doSome, neglected: 'not looked after' }, clock, random: () => 0.5, log },
    stop.signal,
  );
  return {
    asked,
    lines,
    async pass(minutes: number) {
      for (let n = 0; n < minutes; n += 1) await clock.advance(MINUTE);
    },
    async end() {
      stop.abort();
      await done;
    },
  };
}

test('between two turns it leaves twice the time that the first one took', async () => {
  const clock = createManualClock();
  const startedAt: number[] = [];
  const doSome = async () => {
    startedAt.push(clock.elapsed());
    await clock.sleep(startedAt.length * 10);
    return startedAt.length === 3 ? 0 : 1;
  };
  const stop = new AbortController();
  const log = createLog('silent');
  const done = keepStoreUp(
    { upkeep: { doSome, neglected: 'not looked after' }, clock, random: () => 0.5, log },
    stop.signal,
  );
  await clock.advance(10 + 20 + 20 + 40 + 30);
  expect(startedAt).toEqual([0, 10 + 20, 10 + 20 + 20 + 40]);
  stop.abort();
  await done;
});

const failing = (times: number, message: string) => Array.from({ length: times }, () => new Error(message));

test('first what changed while no Weir ran, then once a minute what is new', async () => {
  const checking = checked([2_000, 2_000, 3]);
  await checking.pass(3);
  await checking.end();
  expect(checking.asked.slice(0, 4)).toEqual([7, 7, 7, 7].map((days) => days * DAY_S));
  expect(checking.asked.slice(4).length).toBeGreaterThanOrEqual(2);
  expect(new Set(checking.asked.slice(4))).toEqual(new Set([DAY_S]));
});

test('a store that is away for a moment is no news; one that never lets Weir do it is said once', async () => {
  const checking = checked([...failing(9, 'away'), 0, ...failing(30, 'rights')]);
  await checking.pass(10);
  expect(checking.lines).toEqual([]);
  await checking.pass(30);
  await checking.end();
  expect(checking.lines).toMatchObject([{ msg: 'not looked after', failures: 10, err: { message: 'rights' } }]);
  // What was never looked after still is.
  expect(new Set(checking.asked.slice(0, 10))).toEqual(new Set([7 * DAY_S]));
});
