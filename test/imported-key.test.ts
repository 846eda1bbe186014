import { describe, expect, test } from 'vitest';
import { checkImportedKey } from '../src/operations/imported-key.ts';

describe('a key of another service', () => {
  test.each([
    ['t.co', 'public', true],
    ['abc', 'public', true],
    ['8chars__', 'secret', true],
    ['a-key-that-nobody-guesses-1234', 'secret', false],
  ] as const)('%s may be a %s token', (key, kind, isGuessable) => {
    expect(checkImportedKey(key, kind)).toEqual({ isGuessable });
  });

  test.each([
    ['ab', 'public', '3 to 512'],
    ['7chars_', 'secret', '8 to 512'],
    ['with space', 'public', 'without spaces'],
    ['x'.repeat(513), 'public', '3 to 512'],
    ['mere_sec_0', 'public', 'add --secret'],
  ] as const)('%s may be no %s token', (key, kind, why) => {
    expect(() => checkImportedKey(key, kind)).toThrow(why);
  });
});
