/** Placeholder ids: told by the same pattern that ClickHouse uses, however long an id is. */
import { expect, test } from 'vitest';
import { isPlaceholderId, PLACEHOLDER_PATTERN } from '../src/event/placeholder-ids.ts';
import fc from './support/fast-check.ts';

const pattern = new RegExp(PLACEHOLDER_PATTERN, 'isu');

const BLANKS = ['', '', ' ', '\t', '\n', '\0', '\u00a0', '\u200b', '\u2028', '\u0600', '\ufeff', '\u{e0041}'];
const WORDS = [
  'undefined|NULL|(null)|[object Object]|guest|N/A|ſ|not_authenticated|id|x|0|0-0|urn:uuid:ffffffff|fffffff|{0|urn:uuid:',
  '{00000000-0000-0000-0000-000000000000}|{{user.id}}|{{|}}|${userId}|${|}|\ud800|\udc00|\ud800\udc00||',
].flatMap((some) => some.split('|'));

test('are those of the whole pattern', () => {
  const blanks = fc.array(fc.constantFrom(...BLANKS), { maxLength: 3 }).map((some) => some.join(''));
  const words = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...WORDS) }, fc.string({ unit: 'binary' }));
  const id = fc
    .array(fc.tuple(blanks, words, blanks), { minLength: 1, maxLength: 2 })
    .map((parts) => parts.flat().join(''));
  let known = 0;
  fc.assert(
    fc.property(id, (text) => {
      known += Number(isPlaceholderId(text));
      expect(isPlaceholderId(text)).toBe(pattern.test(text));
    }),
    { numRuns: 10_000 },
  );
  expect(known).toBeGreaterThan(1_000);
  expect(known).toBeLessThan(9_000);
});

test('every character is a blank to both, or to neither', () => {
  for (let point = 0; point < 0x11_0000; point += 1) {
    const text = `id${String.fromCodePoint(point)}`;
    if (isPlaceholderId(text) !== pattern.test(text)) expect.fail(point.toString(16));
  }
});

const MANY = 500_000;

test.each([
  ['blanks behind a letter', `a${' '.repeat(MANY)}`, false],
  ['blanks before a letter', `${' '.repeat(MANY)}a`, false],
  ['blanks between letters', `a${'\u2003'.repeat(MANY)}a`, false],
  ['blanks on both sides', `${'\u{e0041}'.repeat(MANY)}null${' '.repeat(MANY)}`, true],
  ['nothing but blanks', ' '.repeat(MANY), true],
  ['a template that ends late', `{{${'}'.repeat(MANY)} `, true],
  ['a template that does not end', `\${${'}'.repeat(MANY)}x`, false],
  ['zeroes', `${'0-'.repeat(MANY)}x`, false],
])('an id of %s takes no longer than its length', (_what, id, isPlaceholder) => {
  expect(isPlaceholderId(id)).toBe(isPlaceholder);
});
