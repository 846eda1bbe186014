import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { LATEST_INSTANT_MS, parseEpoch, parseInstant, readInstant } from '../src/event/timestamp.ts';

const isDate = (value: number) => /^(?:19|20)\d\d(?:0[1-9]|1[0-2])\d\d(?:\d{4}(?:\d\d)?)?$/.test(String(value));
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
    ['2026-01-02T14:30:00+0230', NOON],
    ['2026-01-02T07:00:00-0500', NOON],
    ['2026-01-02T14:00:00+02', NOON],
    ['2026-01-02T12:00:00-00', NOON],
    ['2026-01-02T12:00:00.5+0000', NOON + 500],
    ['2026-01-02T12:00:00,5Z', NOON + 500],
    ['2026-01-02T12:00:00,123456+00:00', NOON + 123],
    ['2026-01-02 12:00:00,1+0000', NOON + 100],
    // A leap second is the second behind it, wherever in the world it is told.
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
    ['1990-12-31T15:59:60-08:00', Date.UTC(1991, 0, 1)],
    ['2015-07-01T01:59:60.25+0200', Date.UTC(2015, 6, 1, 0, 0, 0, 250)],
    ['2024-02-29t23:59:60z', Date.UTC(2024, 2, 1)],
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
      [
        '2026-01-02T12:00:00+24:00',
        '2026-01-02T12:00:00+00:60',
        '2026-01-02T12:00:00+2400',
        '2026-01-02T12:00:00+0060',
      ],
      ['2026-01-02T12:00:00+2', '2026-01-02T12:00:00+020', '2026-01-02T12:00:00+02:', '2026-01-02T12:00:00+02:0'],
      ['2026-01-02T12:00:00+02000', '2026-01-02T12:00:00+', '2026-01-02T12:00:00,Z', '2026-01-02T12:00:00,.5Z'],
      ['2016-12-31T23:59:61Z', '2016-12-30T23:59:60Z', '2016-12-31T22:59:60Z', '2016-12-31T23:59:60+01:00'],
      [
        '2026-01-02T12:00:00,5',
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
    // Dates, which would be days in 1970 and 1976, or far ahead.
    ...['20260505', '20260505.0', '2.0260505e7', '202605051230', '20260505123000', '20261231235960'].map(
      (text): [string, string] => [text, 'invalid'],
    ),
    ...['19000101', '20991231', '20240229', '197001010000'].map((text): [string, string] => [text, 'invalid']),
    ['20260532', 20_260_532_000],
    ['20261305', 20_261_305_000],
    ['20230229', 20_230_229_000],
    ['21000101', 21_000_101_000],
    ['18991231', 18_991_231_000],
    ['202605052430', 202_605_052_430],
    ['202605051260', 202_605_051_260],
    ['20260505123061', 20_260_505_123_061],
    ['202605', 202_605_000],
    ['2026', 2_026_000],
    ['2026050512', 2_026_050_512_000],
    ['1777897800', 1_777_897_800_000],
    ['1777897800000', 1_777_897_800_000],
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
          fc.pre(!isDate(s));
          expect(parseEpoch(`${s}.${String(ms).padStart(3, '0')}${more}`)).toBe(s * 1000 + ms);
        },
      ),
    );
  });

  test('the decimal point may stand anywhere', () => {
    fc.assert(
      fc.property(fc.nat({ max: 4_102_444_800_000 }), fc.nat({ max: 30 }), (ms, zeroes) => {
        fc.pre(!isDate(ms) && !isDate(Math.floor(ms / 1_000)));
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
    ['"1767355200"', NOON],
    ['"1767355200000"', NOON],
    ['"1767355200.25"', NOON + 250],
    ['"\\u0031767355200"', NOON],
    ['"0"', 0],
    ['"-1"', 'out of range'],
    [`"${NOON + 5001}"`, 'out of range'],
    ['20260505', 'invalid'],
    ['"20260505"', 'invalid'],
    ['"20260505123000"', 'invalid'],
    ['"1.7e9"', 'invalid'],
    ['"0x10"', 'invalid'],
    ['" 1767355200"', 'invalid'],
    ['"1767355200 "', 'invalid'],
    ['"1,767,355,200"', 'invalid'],
    ['"+1767355200"', 'invalid'],
    ['"1767355200."', 'invalid'],
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
