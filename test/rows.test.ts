import fc from './support/fast-check.ts';
import { expect, test } from 'vitest';
import { ORDINARY_ROW, idsOf, splitRows } from '../src/event/rows.ts';
import { OTHER_PROJECT } from './support/factory.ts';
import { eventIdOf, rowOf } from './support/rows.ts';

test('what is split joins to the same bytes, each piece one line', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const rows = splitRows(Buffer.from(bytes));
      expect(Buffer.concat(rows)).toEqual(Buffer.from(bytes));
      for (const row of rows) expect(row.indexOf('\n') === -1 || row.indexOf('\n') === row.length - 1).toBe(true);
    }),
  );
});

test('the pieces share the memory of the whole', () => {
  const whole = Buffer.from('a\nb\n');
  expect(splitRows(whole).every(({ buffer }) => buffer === whole.buffer)).toBe(true);
});

test('finds the ids and the arrival of a row', () => {
  const receivedAt = Date.UTC(2026, 4, 5);
  expect(idsOf(rowOf({ n: 7, projectId: OTHER_PROJECT, receivedAt }))).toEqual({
    projectId: OTHER_PROJECT,
    eventId: eventIdOf(7),
    receivedAt: '2026-05-05T00:00:00.000Z',
  });
});

test.each([
  ['its properties', `{"x":"\\",\\"received_at\\":\\"1999-01-01T00:00:00.000Z\\"}"}`],
  ['raw keys', '{"received_at":"1999-01-01T00:00:00.000Z","event_id":"00000000-0000-0000-0000-000000000000"}'],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
])('a client cannot change them with %s', (_name, properties) => {
  expect(idsOf(rowOf({ n: 7, properties }))).toMatchObject({
    eventId: eventIdOf(7),
    receivedAt: '2026-01-01T12:00:00.000Z',
  });
});

test.each(['', '\n', '{}', 'null\n', '{"project_id":"x","event_id":"y"}\n'])('%j is no row of ours', (line) => {
  expect(idsOf(Buffer.from(line))).toBeNull();
});

test('the ordinary row is one, and complete', () => {
  expect(splitRows(ORDINARY_ROW)).toHaveLength(1);
  expect(idsOf(ORDINARY_ROW)).not.toBeNull();
  expect(Object.values(JSON.parse(ORDINARY_ROW.toString()) as object).every((value) => value !== null)).toBe(true);
});
