import { expect, test } from 'vitest';
import { createDivision } from '../src/clickhouse/event-store/division.ts';
import { mergeInspections } from '../src/clickhouse/event-store/inspection-parts.ts';
import { InsertFailure, type RowRefusal } from '../src/pipeline/ports.ts';
import { createManualClock } from './support/clock.ts';
import { randomOf } from './support/factory.ts';

const TOO_LARGE = new InsertFailure('HTTP 413', { failureClass: 'too_large' });

/** Takes parts of at most `limit` bytes together, and keeps count of what it was asked. */
function createAsked() {
  const asked = {
    limit: Infinity,
    parts: [] as (readonly number[])[],
    refused: 0,
    ask: async (part: readonly number[]) => {
      if (part.reduce((sum, size) => sum + size, 0) > asked.limit) {
        asked.refused++;
        throw TOO_LARGE;
      }
      asked.parts.push(part);
      return part;
    },
  };
  return asked;
}
const own = (size: number) => size;

test('whatever fits by itself is asked about once, in order, in parts that fit', async () => {
  const random = randomOf(7);
  for (let n = 0; n < 200; n++) {
    const asked = createAsked();
    asked.limit = 1 + Math.floor(random() * 200_000);
    const items = Array.from(
      { length: Math.floor(random() * 300) },
      () => 1 + Math.floor(random() ** 3 * (asked.limit - 1)),
    );
    const found = await createDivision({ clock: createManualClock() }).ask(items, own, asked.ask);
    expect(found.flat()).toEqual(items);
    expect(found.every((part) => part.length > 0)).toBe(true);
  }
});

test('without a limit it is one question, and nothing is asked about nothing', async () => {
  const asked = createAsked();
  const division = createDivision({ clock: createManualClock() });
  await division.ask([1e9, 1e9], own, asked.ask);
  await division.ask([], own, asked.ask);
  expect(asked.parts).toEqual([[1e9, 1e9]]);
});

test('what is too large by itself, and any other failure, is the caller’s', async () => {
  const asked = createAsked();
  asked.limit = 100;
  const division = createDivision({ clock: createManualClock() });
  await expect(division.ask([10, 101, 10], own, asked.ask)).rejects.toBe(TOO_LARGE);
  const away = new InsertFailure('away', { failureClass: 'unavailable' });
  await expect(division.ask([1, 2], own, () => Promise.reject(away))).rejects.toBe(away);
});

test('the next question begins with what passed, and after a while with all of it again', async () => {
  const clock = createManualClock();
  const asked = createAsked();
  asked.limit = 100_000;
  const division = createDivision({ clock });
  const items = Array.from({ length: 1_000 }, () => 1_000);
  await division.ask(items, own, asked.ask);
  expect(asked.refused).toBeGreaterThan(0);
  const before = asked.refused;
  await division.ask(items, own, asked.ask);
  expect(asked.refused).toBe(before);
  asked.limit = Infinity;
  await clock.advance(11 * 60_000);
  asked.parts.length = 0;
  await division.ask(items, own, asked.ask);
  expect(asked.parts).toHaveLength(1);
});

test('what was found of parts is one refusal a cause, with the places of the whole', () => {
  const failure = (code: number) => new InsertFailure(`error ${code}`, { failureClass: 'data', code });
  const refusal = (code: number, rows: number[], isOrdinaryRefused = false): RowRefusal => ({
    failure: failure(code),
    rows,
    when: 'reading',
    isOrdinaryRefused,
  });
  const merged = mergeInspections([
    { from: 0, inspection: { refusals: [refusal(27, [1, 3])], isComplete: true } },
    { from: 10, inspection: { refusals: [refusal(469, [0]), refusal(27, [2], true)], isComplete: true } },
    { from: 20, inspection: { refusals: [], isComplete: false } },
  ]);
  expect(merged).toMatchObject({
    isComplete: false,
    refusals: [
      { failure: { code: 27 }, rows: [1, 3, 12], isOrdinaryRefused: true },
      { failure: { code: 469 }, rows: [10], isOrdinaryRefused: false },
    ],
  });
});
