import { expect, test, vi } from 'vitest';
import { type QuerySummary, jsonAnswer } from '../src/http/read/query-answer.ts';

const COLUMNS = [{ name: 'n', type: 'UInt8' }];

function answerOf(groups: readonly (readonly string[])[], { maxRows = 100, maxBytes = 1_000 } = {}, fails = false) {
  const taken: number[] = [];
  const ends: QuerySummary[] = [];
  const watches: { readonly taken: AbortSignal; readonly stall: () => void }[] = [];
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
    stalled: (taken: AbortSignal) =>
      new Promise<void>((stall) => {
        watches.push({ taken, stall });
        taken.addEventListener('abort', () => stall(), { once: true });
      }),
    cut: () => void cutCount++,
    onEnd: (end: QuerySummary) => void ends.push(end),
  };
  const stream = jsonAnswer({ columns: COLUMNS, rows: rows() }, options);
  return { stream, taken, ends, watches, isReleased: () => isReleased, cuts: () => cutCount };
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

test('is cut when the client takes nothing for long, and nothing more is read', async () => {
  const { stream, taken, ends, watches, isReleased, cuts } = answerOf([['[1]'], ['[2]'], ['[3]']]);
  const reader = stream.getReader();
  await reader.read();
  await reader.read();
  expect(watches).toHaveLength(2);
  expect(watches.map((watch) => watch.taken.aborted)).toEqual([true, false]);
  watches[1]!.stall();
  await vi.waitFor(() => expect(isReleased()).toBe(true));
  expect(cuts()).toBe(1);
  expect(taken).toEqual([0]);
  expect(ends).toEqual([{ rows: 1, isWhole: false, isTruncated: false }]);
});

test('is not cut while it waits for rows, nor after its end', async () => {
  const { stream, watches, ends, cuts } = answerOf([['[1]']]);
  await read(stream);
  expect(watches.every((watch) => watch.taken.aborted)).toBe(true);
  for (const watch of watches) watch.stall();
  await Promise.resolve();
  expect(cuts()).toBe(0);
  expect(ends).toEqual([{ rows: 1, isWhole: true, isTruncated: false }]);
});

test('comes in pieces, so that who is slow is told from who is gone', async () => {
  const row = JSON.stringify(['é'.repeat(100_000)]);
  const { stream } = answerOf([[row, row]], { maxBytes: 10_000_000 });
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(65_536);
  expect(JSON.parse(Buffer.concat(pieces).toString())).toMatchObject({ rows: [JSON.parse(row), JSON.parse(row)] });
});
