import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { findRefusedRows } from '../src/clickhouse/event-store/row-search.ts';
import { type FailureClass, InsertFailure } from '../src/pipeline/ports.ts';

type Hint = (firstBad: number, rows: readonly Buffer[]) => number | null;
const HONEST: Hint = (firstBad) => firstBad;
const NONE: Hint = () => null;
const HOSTILE: Hint[] = [() => 0, (_, rows) => rows.length - 1, () => 999_999, () => -1, () => Number.NaN, () => 1.5];

/** A search among `count` rows of which those in `bad` are bad. */
function search(
  count: number,
  bad: readonly number[],
  { hint = HONEST, budget = 64 }: { hint?: Hint; budget?: number } = {},
) {
  const rows = Array.from({ length: count }, (_, n) => Buffer.from(`${n}\n`));
  const isBad = (row: Buffer) => bad.includes(Number(row));
  const asked: number[] = [];
  const left = { left: budget };
  const dryRun = async (some: readonly Buffer[]) => {
    asked.push(some.length);
    const first = some.findIndex(isBad);
    if (first !== -1)
      throw new InsertFailure(`row ${Number(some[first])}`, { failureClass: 'data', rowHint: hint(first, some) });
  };
  const found = findRefusedRows(rows, dryRun, left);
  return found.then((result) => ({ ...result, numbers: [...result.bad.keys()].sort((a, b) => a - b), asked, left }));
}

test('rows that are all good cost one statement', async () => {
  const { numbers, isComplete, asked } = await search(1_000, []);
  expect([numbers, isComplete, asked]).toEqual([[], true, [1_000]]);
});

test('with an honest hint a bad row costs two statements', async () => {
  const { numbers, isComplete, asked } = await search(1_000, [3, 500, 999]);
  expect([numbers, isComplete, asked.length]).toEqual([[3, 500, 999], true, 7]);
});

test('without a hint it is found by halving', async () => {
  const { numbers, asked } = await search(1_000, [617], { hint: NONE });
  expect(numbers).toEqual([617]);
  expect(asked.length).toBeLessThanOrEqual(13);
});

test('each bad row comes with its own failure', async () => {
  const { bad } = await search(10, [2, 7]);
  expect([...bad].map(([index, { message }]) => [index, message])).toEqual([
    [2, 'row 2'],
    [7, 'row 7'],
  ]);
});

test('whatever the hints say, exactly the bad rows are found (I5)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.array(fc.nat(59), { maxLength: 6 }),
      fc.constantFrom(HONEST, NONE, ...HOSTILE),
      async (count, candidates, hint) => {
        const bad = [...new Set(candidates.filter((n) => n < count))].sort((a, b) => a - b);
        const { numbers, isComplete } = await search(count, bad, { hint, budget: 10_000 });
        expect([numbers, isComplete]).toEqual([bad, true]);
      },
    ),
  );
});

test('however small the budget, it is kept, and no good row is blamed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(40), fc.constantFrom(HONEST, NONE, ...HOSTILE), async (budget, hint) => {
      const { numbers, isComplete, asked, left } = await search(100, [5, 50, 95], { hint, budget });
      expect(asked.length).toBeLessThanOrEqual(budget);
      expect(left.left).toBe(budget - asked.length);
      expect([5, 50, 95]).toEqual(expect.arrayContaining(numbers));
      expect(isComplete).toBe(isComplete && numbers.length === 3);
    }),
  );
});

async function atMostOne(rows: readonly Buffer[]) {
  if (rows.length > 1) throw new InsertFailure('too much', { failureClass: 'data' });
}
const buggy = () => Promise.reject(new TypeError('bug'));

test('rows that are bad only together are left to real inserts', async () => {
  const rows = [0, 1, 2].map((n) => Buffer.from(`${n}\n`));
  expect(await findRefusedRows(rows, atMostOne, { left: 64 })).toMatchObject({
    isComplete: false,
    interruptedBy: null,
  });
});

describe('trouble of the store', () => {
  test.each(['unavailable', 'ambiguous', 'capacity', 'operator'] as const)(
    '%s ends the search and blames nobody further',
    async (failureClass: FailureClass) => {
      const rows = [0, 1, 2, 3].map((n) => Buffer.from(`${n}\n`));
      let asked = 0;
      const dryRun = async (some: readonly Buffer[]) => {
        if (++asked === 4) throw new InsertFailure('away', { failureClass });
        if (some.some((row) => Number(row) >= 1 && Number(row) <= 2))
          throw new InsertFailure('bad', { failureClass: 'data', rowHint: some.findIndex((row) => Number(row) > 0) });
      };
      const { bad, isComplete, interruptedBy } = await findRefusedRows(rows, dryRun, { left: 64 });
      expect([[...bad.keys()], isComplete, interruptedBy?.failureClass]).toEqual([[1], false, failureClass]);
    },
  );

  test('a failure of our own making is not swallowed', async () => {
    await expect(findRefusedRows([Buffer.from('0\n')], buggy, { left: 64 })).rejects.toThrow('bug');
  });
});
