import { expect, test } from 'vitest';
import { type QuerySummary, jsonAnswer } from '../src/http/query-answer.ts';

const COLUMNS = [{ name: 'n', type: 'UInt8' }];

function answerOf(groups: readonly (readonly string[])[], { maxRows = 100, maxBytes = 1_000 } = {}, fails = false) {
  const taken: number[] = [];
  const ends: QuerySummary[] = [];
  let isReleased = false;
  let cutCount = 0;
  async function* rows() {
    try {
      for (const [index, group] of groups.entries()) {
        taken.push(index);
        yield group;
      }
      if (fails) throw new Error('gone');
    } finally {
      isReleased = true;
    }
  }
  const options = {
    maxRows,
    maxBytes,
    elapsedMs: () => 7,
    cut: () => void cutCount++,
    onEnd: (end: QuerySummary) => void ends.push(end),
  };
  const stream = jsonAnswer({ columns: COLUMNS, rows: rows() }, options);
  return { stream, taken, ends, isReleased: () => isReleased, cuts: () => cutCount };
}

const read = async (stream: ReadableStream) => JSON.parse(await new Response(stream).text()) as unknown;

test('is whole JSON whatever the groups', async () => {
  const { stream, ends } = answerOf([['[1]', '[2]'], [], ['[3]']]);
  expect(await read(stream)).toEqual({
    columns: COLUMNS,
    rows: [[1], [2], [3]],
    stats: { rows: 3, truncated: false, elapsed_ms: 7 },
  });
  expect(ends).toEqual([{ rows: 3, isWhole: true, isTruncated: false }]);
});

test('without rows it is whole too', async () => {
  expect(await read(answerOf([]).stream)).toMatchObject({ rows: [], stats: { rows: 0 } });
});

test.each([
  ['rows', { maxRows: 2 }],
  ['bytes', { maxBytes: 6 }],
])('ends at the limit of %s, says so, and stops reading', async (_what, limits) => {
  const { stream, taken, ends, isReleased } = answerOf([['[1]'], ['[2]', '[3]'], ['[4]']], limits);
  expect(await read(stream)).toMatchObject({ rows: [[1], [2]], stats: { rows: 2, truncated: true } });
  expect(taken).toEqual([0, 1]);
  expect(isReleased()).toBe(true);
  expect(ends).toEqual([{ rows: 2, isWhole: true, isTruncated: true }]);
});

test('exactly as many rows as allowed are not truncated', async () => {
  expect(await read(answerOf([['[1]', '[2]']], { maxRows: 2 }).stream)).toMatchObject({ stats: { truncated: false } });
});

test('a failure cuts the connection and completes nothing', async () => {
  const { stream, ends, cuts } = answerOf([['[1]']], {}, true);
  const text = await new Response(stream).text();
  expect(text).toMatch(/\[1\]$/);
  expect(cuts()).toBe(1);
  expect(ends).toEqual([{ rows: 1, isWhole: false, isTruncated: false }]);
});

test('takes a group only when the one before was taken', async () => {
  const { stream, taken, ends, isReleased } = answerOf([['[1]'], ['[2]'], ['[3]']]);
  const reader = stream.getReader();
  await reader.read();
  expect(taken).toEqual([]);
  await reader.read();
  expect(taken).toEqual([0]);
  await reader.cancel();
  expect(taken).toEqual([0]);
  expect(isReleased()).toBe(true);
  expect(ends).toEqual([{ rows: 1, isWhole: false, isTruncated: false }]);
});
