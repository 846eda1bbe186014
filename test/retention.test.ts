import fc from './support/fast-check.ts';
import { expect, test } from 'vitest';
import { parseRetention, showRetention } from '../src/cli/retention.ts';

test.each([
  ['1m', 60, '1m'],
  ['90s', 90, '90s'],
  ['90m', 5_400, '90m'],
  ['24h', 86_400, '24h'],
  ['1d', 86_400, '24h'],
  ['36h', 129_600, '36h'],
  ['48h', 172_800, '2d'],
  ['90d', 7_776_000, '90d'],
  ['60000ms', 60, '1m'],
  ['36500d', 3_153_600_000, '36500d'],
  ['none', null, 'none'],
])('%s is %s seconds and shown as %s', (text, seconds, shown) => {
  expect(parseRetention(text)).toBe(seconds);
  expect(showRetention(seconds)).toBe(shown);
});

test.each(['', '0', '90', '59s', '36501d', '60500ms', '1.5d', '-1d', '1 d', 'never', 'None', '2w'])(
  '"%s" is refused with what is accepted',
  (text) => {
    expect(() => parseRetention(text)).toThrow(/from 1m to 36500d.*24h.*none/);
  },
);

test('what is shown means the same when it is typed in again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 3_153_600_000 }), (seconds) => {
      expect(parseRetention(showRetention(seconds))).toBe(seconds);
    }),
  );
});
