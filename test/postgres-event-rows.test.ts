/** Rows on their way to Postgres, without one. */
import { expect, test } from 'vitest';
import { monthAfter, monthsOf } from '../src/postgres/event-store/arrivals.ts';
import { sentRowsOf } from '../src/postgres/event-store/sent-rows.ts';
import { anyRow } from './support/postgres-events.ts';

const parsed = (chunks: readonly Buffer[]) => JSON.parse(sentRowsOf(chunks).array.toString()) as unknown[];
const lines = (chunks: readonly Buffer[]) =>
  Buffer.concat([...chunks])
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

test('are one array of the same bytes, however they are cut', () => {
  const rows = [anyRow(1), anyRow(2, { properties: '{"a":"é\\n"}' }), anyRow(3)];
  const whole = Buffer.concat(rows);
  for (const chunks of [rows, [whole], [whole.subarray(0, 50), whole.subarray(50)], [whole.subarray(0, -1)]]) {
    expect(parsed(chunks)).toEqual(lines(rows));
    expect(sentRowsOf(chunks)).toMatchObject({ count: 3, months: ['2026-01'] });
  }
  expect(whole).toEqual(Buffer.concat(rows));
});

test('tell the months in which they arrived, also those that are rewritten', () => {
  const arrived = (n: number, month: number, more = {}) => anyRow(n, { receivedAt: Date.UTC(2026, month, 2), ...more });
  const nul = { properties: String.raw`{"a":"\u0000"}` };
  const rows = [arrived(1, 11), arrived(2, 0, nul), arrived(3, 11, { retentionSeconds: 60 }), arrived(4, 5)];
  expect(sentRowsOf(rows).months).toEqual(['2026-01', '2026-06', '2026-12']);
});

test('say nothing of months where one does not tell', () => {
  expect(monthsOf(`${anyRow(1).toString('latin1')}{"received_at":"never"}\n`)).toBeNull();
  expect(monthsOf('{}\n')).toBeNull();
  // A text from a client that looks like the end of a row.
  const lookalike = JSON.stringify({ a: '"received_at":"1999-01-01T00:00:00.000Z"}\n' });
  expect(monthsOf(anyRow(1, { properties: lookalike }).toString('latin1'))).toEqual(['2026-01']);
});

test.each([
  ['2026-11', 1, '2026-12'],
  ['2026-12', 1, '2027-01'],
  ['2026-01', -1, '2025-12'],
  ['1970-01', 2, '1970-03'],
  ['9999-12', 1, '10000-01'],
])('%s and %i months is %s', (month, by, after) => {
  expect(monthAfter(month, by)).toBe(after);
});
