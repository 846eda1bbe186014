import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { readableForm } from '../src/event/readable.ts';
import { jsonOrText, shownObject } from '../src/operations/hidden-values.ts';
import { rowEncoder } from '../src/event/row.ts';
import { idsOf } from '../src/event/rows.ts';
import { PROJECT } from './support/factory.ts';
import { readableOf } from './support/sent-documents.ts';
import { rawDocument } from './support/raw-documents.ts';

const zeros = (count: number) => '0'.repeat(count);

describe('what ClickHouse can read is left as it is', () => {
  test.each([
    ['the largest integer', '18446744073709551615'],
    ['the smallest one', '-9223372036854775808'],
    ['the largest double', '1.7976931348623157e308'],
    ['what is rounded down to it', '1.7976931348623158e308'],
    ['what is too close to 0', '-1e-400'],
    ['0 with any exponent', '0e99999999999999999999'],
    ['an exponent with many zeros', `1e+${zeros(400)}1`],
    ['many digits of a double', `0.${'1'.repeat(4_000)}`],
    ['a long integer with an exponent', `${'1'.repeat(400)}e-300`],
    ['a long integer with a fraction', '123456789012345678901234567890.0'],
    ['the smallest exponent', '1e-99999999999999999999'],
    ['zero below zero', '-0'],
    ['a surrogate pair', String.raw`"\ud83d\ude00\uD83D\uDE00"`],
    ['what only looks like half of one', String.raw`"\\ud800 \\\\udc00 ud800"`],
    ['its neighbours', String.raw`"\ud7ff\ue000\uffff\u0000"`],
    ['numbers in texts and names', '"1e400 18446744073709551616"'],
    ['a name twice', '{"a":1,"a":2}'],
  ])('%s', (_name, value) => {
    const document = `{ "a" : ${value} }`;
    expect(readableForm(document)).toBe(document);
  });
});

describe('what it cannot is put as it can', () => {
  test.each([
    ['an integer too large', '18446744073709551616', '"18446744073709551616"'],
    ['one too small', '-9223372036854775809', '"-9223372036854775809"'],
    ['one below zero that fits without its sign', '-18446744073709551615', '"-18446744073709551615"'],
    ['one of many digits', '9'.repeat(500), `"${'9'.repeat(500)}"`],
    ['a number beyond every double', '1e400', '"1e400"'],
    ['one in another spelling', '-1.5E+0309', '"-1.5E+0309"'],
    ['what is rounded up', '1.7976931348623159e308', '"1.7976931348623159e308"'],
    ['an exponent beyond every number', '1e99999999999999999999', '"1e99999999999999999999"'],
    ['a decimal of many digits', `${'1'.repeat(400)}.5`, `"${'1'.repeat(400)}.5"`],
    ['a small number with a large exponent', `0.${zeros(400)}1e800`, `"0.${zeros(400)}1e800"`],
    ['the first half of a pair', String.raw`"a\ud83d"`, String.raw`"a\ufffd"`],
    ['the second half', String.raw`"\uDE00b"`, String.raw`"\ufffdb"`],
    ['both in the wrong order', String.raw`"\ude00\ud83d"`, String.raw`"\ufffd\ufffd"`],
    ['a half before a pair', String.raw`"\ud83d\ud83d\ude00"`, String.raw`"\ufffd\ud83d\ude00"`],
    ['a half before another escape', String.raw`"\ud83d\n\ud83d\u0041"`, String.raw`"\ufffd\n\ufffd\u0041"`],
    ['a half behind an escaped backslash', String.raw`"\\\ud83d"`, String.raw`"\\\ufffd"`],
    ['a half in a name', String.raw`{"\ud800":{"\udc00b":[]}}`, String.raw`{"\ufffd":{"\ufffdb":[]}}`],
    ['several in a list', '[1e400, "x" ,-1e400,{ }]', '["1e400", "x" ,"-1e400",{ }]'],
  ])('%s', (_name, value, readable) => {
    expect(readableForm(`{ "a" : ${value} ,"é":"\u0080"}`)).toBe(`{ "a" : ${readable} ,"é":"\u0080"}`);
  });
});

test('the readable form of any document is what the rule says', () => {
  let rewritten = 0;
  fc.assert(
    fc.property(rawDocument(), (document) => {
      const raw = Buffer.from(document).toString('latin1');
      const readable = readableForm(raw);
      expect(readable).toBe(readableOf(raw));
      expect(readableForm(readable)).toBe(readable);
      if (readable !== raw) rewritten += 1;
    }),
    { numRuns: 1_000 },
  );
  // Control: both kinds are there.
  expect(rewritten).toBeGreaterThan(100);
  expect(rewritten).toBeLessThan(900);
});

const ROW = Buffer.from(
  rowEncoder({ projectId: PROJECT, source: 'native', receivedAt: Date.UTC(2026, 0, 1), retentionSeconds: 60 })({
    eventId: '0198c0de-0000-7000-8000-000000000001',
    event: '"e"',
    anonymousId: null,
    userId: null,
    timestamp: Date.UTC(2026, 0, 1),
    sessionId: null,
    properties: '{"card":"1234567890123456789012"}',
    extras: '{}',
    propertiesSent: '{"card":1234567890123456789012}',
  }),
);

test('a row with the bytes as sent has its ids like any other', () => {
  expect(idsOf(ROW)).toEqual({
    projectId: PROJECT,
    eventId: '0198c0de-0000-7000-8000-000000000001',
    receivedAt: '2026-01-01T00:00:00.000Z',
  });
});

test('they are shown where values are shown, and nowhere else', () => {
  expect(shownObject(ROW, { isUnsafe: true })).toContain('"properties_sent":{"card":1234567890123456789012}');
  expect(shownObject(ROW, { isUnsafe: false })).not.toContain('12345');
  expect(JSON.parse(shownObject(ROW, { isUnsafe: false }))).toMatchObject({ properties_sent: { card: '<number>' } });
});

test.each([
  ['9007199254740991', 9007199254740991],
  ['12345678901234567890', '12345678901234567890'],
  ['-12345678901234567890', '-12345678901234567890'],
  ['1e999', '1e999'],
  ['-1.5E+400', '-1.5E+400'],
  ['1e300', 1e300],
  ['0.1', 0.1],
  ['"1e999"', '1e999'],
])('the number %s is shown as it was sent, or by a text that says so', (sent, shown) => {
  expect(jsonOrText(`{"a":[{"b":${sent}}],"c":null}`)).toEqual({ a: [{ b: shown }], c: null });
});
