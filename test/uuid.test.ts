import { expect, test } from 'vitest';
import { isUuid, isUuidIn, readUuid } from '../src/event/uuid.ts';

const LOWER = '0198c0de-0000-7abc-8def-000000000001';

test.each([
  [LOWER, true],
  [LOWER.toUpperCase(), true],
  [LOWER.slice(1), false],
  [`${LOWER}0`, false],
  [LOWER.replace('-', '0'), false],
  [LOWER.replace('0198', '-198'), false],
  [`${LOWER.slice(0, 35)}g`, false],
  [`${LOWER.slice(0, 35)}\u00b0`, false],
  ['-'.repeat(36), false],
  ['0'.repeat(36), false],
])('%s is a UUID: %s, as a text and among bytes', (text, isOne) => {
  expect(isUuid(text)).toBe(isOne);
  const bytes = Buffer.from(`"${text}"`, 'latin1');
  expect(isUuidIn(bytes, 1, bytes.length - 1)).toBe(isOne);
  expect(readUuid(text)).toBe(isOne ? LOWER : null);
});

test('a character whose lower byte is a digit is none', () => {
  expect(isUuid(`${LOWER.slice(0, 35)}\u0130`)).toBe(false);
  expect(isUuid(`${LOWER.slice(0, 8)}\u012d${LOWER.slice(9)}`)).toBe(false);
});
