import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LATEST_INSTANT_MS, parseEpoch, parseInstant, readInstant } from '../src/event/timestamp.ts';

const NOON = Date.UTC(2026, 0, 2, 12);

describe('texts', () => {
  test.each([
    ['2026-01-02T12:00:00Z', NOON],
    ['2026-01-02t12:00:00z', NOON],
    ['2026-01-02 12:00:00Z', NOON],
    ['2026-01-02T12:00:00.000Z', NOON],
    ['2026-01-02T12:00:00.1Z', NOON + 100],
    ['2026-01-02T12:00:00.12Z', NOON + 120],
    ['2026-01-02T12:00:00.123456789012345678901234567890Z', NOON + 123],
    ['2026-01-02T12:00:00.9999Z', NOON + 999],
    ['2026-01-02T14:30:00+02:30', NOON],
    ['2026-01-02T00:00:00.5-12:00', NOON + 500],
    ['2026-01-02T12:00:00+00:00', NOON],
    ['2026-01-02T12:00:00-00:00', NOON],
    ['2026-01-03T11:59:00+23:59', NOON],
    ['2026-01-01T12:01:00-23:59', NOON],
    ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
    ['2000-02-29T00:00:00Z', Date.UTC(2000, 1, 29)],
    ['1970-01-01T00:00:00Z', 0],
    ['1969-12-31T23:59:59.999Z', -1],
    ['0001-01-01T00:00:00Z', -62_135_596_800_000],
    ['9999-12-31T23:59:59.999Z', LATEST_INSTANT_MS],
  ])('%s is an instant', (text, ms) => {
    expect(parseInstant(text)).toBe(ms);
  });

  test.each(
    [
      [
        '',
        'now',
        '2026-01-02',
        '2026-01-02T12:00:00',
        '2026-01-02T12:00Z',
        '2026-01-02T12:00:00.Z',
        '20260102T120000Z',
      ],
      ['2026-02-30T00:00:00Z', '2026-02-29T00:00:00Z', '1900-02-29T00:00:00Z', '2026-04-31T00:00:00Z'],
      ['2026-00-01T00:00:00Z', '2026-13-01T00:00:00Z', '2026-01-00T00:00:00Z', '2026-01-32T00:00:00Z'],
      ['2026-01-02T24:00:00Z', '2026-01-02T12:60:00Z', '2026-01-02T12:00:60Z', '2026-1-2T12:00:00Z'],
      ['2026-01-02T12:00:00+24:00', '2026-01-02T12:00:00+00:60', '2026-01-02T12:00:00+0200', '2026-01-02T12:00:00+02'],
      [
        '2026-01-02T12:00:00,5Z',
        '2026-01-02T12:00:00Z ',
        ' 2026-01-02T12:00:00Z',
        '2026-01-02T12:00:00ZZ',
        '1767355200',
      ],
      [
        '2026-01-02_12:00:00Z',
        '2026/01/02T12:00:00Z',
        '2026-01-02T12.00.00Z',
        '-026-01-02T12:00:00Z',
        '+2026-01-02T12:00:00Z',
      ],
      [
        '2026-01-02T12:00:00.5',
        '2026-01-02T12:00:00.5x',
        '2026-01-02T12:00:00 Z',
        '２026-01-02T12:00:00Z',
        '2026-01-02T-1:00:00Z',
      ],
    ].flat(),
  )('%j is none', (text) => {
    expect(parseInstant(text)).toBe('invalid');
  });

  test('every instant of four-digit years is what Date makes of it', () => {
    const options = { min: new Date('0000-01-01T00:00:00Z'), max: new Date(LATEST_INSTANT_MS), noInvalidDate: true };
    fc.assert(
      fc.property(fc.date(options), (date) => {
        expect(parseInstant(date.toISOString())).toBe(date.getTime());
      }),
      {
        numRuns: 2000,
      },
    );
  });
});

describe('numbers', () => {
  test.each([
    ['0', 0],
    ['-0', 0],
    ['-0.0', 0],
    ['0e999999999999', 0],
    ['1700000000', 1_700_000_000_000],
    ['1700000000.123', 1_700_000_000_123],
    ['1700000000.1239', 1_700_000_000_123],
    ['1700000000.1', 1_700_000_000_100],
    ['0.001', 1],
    ['0.0009', 0],
    ['0.05', 50],
    ['1e-9999999999', 0],
    ['99999999999', 99_999_999_999_000],
    ['99999999999.9999', 99_999_999_999_999],
    ['100000000000', 100_000_000_000],
    ['1700000000123', 1_700_000_000_123],
    ['1700000000123.999', 1_700_000_000_123],
    ['1.7e9', 1_700_000_000_000],
    ['1.700000000123e12', 1_700_000_000_123],
    ['17000000000000e-4', 1_700_000_000_000],
    ['1E11', 100_000_000_000],
    ['1e+3', 1_000_000],
    ['-1', 'out of range'],
    ['-0.0001', 'out of range'],
    ['1e400', 'out of range'],
    ['1e99999999999999999999', 'out of range'],
    ['9'.repeat(30), 'out of range'],
    ['', 'invalid'],
    ['1.', 'invalid'],
    ['abc', 'invalid'],
    ['1700000000 ', 'invalid'],
    ['Infinity', 'invalid'],
    ['0x10', 'invalid'],
  ])('%s is %s', (text, ms) => {
    expect(parseEpoch(text)).toBe(ms);
  });

  test('seconds with a fraction are exact, however binary would round them', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 99_999_999_999 }),
        fc.nat({ max: 999 }),
        fc.stringMatching(/^\d{0,5}$/),
        (s, ms, more) => {
          expect(parseEpoch(`${s}.${String(ms).padStart(3, '0')}${more}`)).toBe(s * 1000 + ms);
        },
      ),
    );
  });

  test('the decimal point may stand anywhere', () => {
    fc.assert(
      fc.property(fc.nat({ max: 4_102_444_800_000 }), fc.nat({ max: 30 }), (ms, zeroes) => {
        expect(parseEpoch(`${ms}${'0'.repeat(zeroes)}e-${zeroes + 3}`)).toBe(ms);
        expect(parseEpoch(`0.${'0'.repeat(zeroes)}${String(ms).padStart(13, '0')}e${zeroes + 10}`)).toBe(ms);
      }),
    );
  });
});

describe('raw values', () => {
  test.each([
    ['"2026-01-02T12:00:00Z"', NOON],
    ['"2026-01-02T12:00:00\\u005a"', NOON],
    ['1767355200', NOON],
    ['1767355200000', NOON],
    ['"1970-01-01T00:00:00Z"', 0],
    ['"1969-12-31T23:59:59.999Z"', 'out of range'],
    [String(NOON + 5000), NOON + 5000],
    [String(NOON + 5001), 'out of range'],
    ['"2026-01-02T12:00:05.0009Z"', NOON + 5000],
    ['"2026-01-02T12:00:05.001Z"', 'out of range'],
    ['-1', 'out of range'],
    ['1e400', 'out of range'],
    ['"1767355200"', 'invalid'],
    ['""', 'invalid'],
    ['true', 'invalid'],
    ['false', 'invalid'],
    ['null', 'invalid'],
    ['{}', 'invalid'],
    ['[]', 'invalid'],
  ])('%s is %s', (raw, ms) => {
    expect(readInstant(raw, NOON + 5000)).toBe(ms);
  });

  test('the range ends with the year 9999 at the latest, which is all a row can write', () => {
    expect(readInstant(String(LATEST_INSTANT_MS), Number.MAX_SAFE_INTEGER)).toBe(LATEST_INSTANT_MS);
    expect(readInstant(String(LATEST_INSTANT_MS + 1), Number.MAX_SAFE_INTEGER)).toBe('out of range');
    expect(readInstant('"9999-12-31T23:59:59-00:01"', Number.MAX_SAFE_INTEGER)).toBe('out of range');
  });
});
