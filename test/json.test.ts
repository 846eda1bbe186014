import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { createScanner, isAtEnd, scanValue, type Scanner } from '../src/event/json.ts';
import { rawStringOf, stringOf } from '../src/event/raw-json.ts';

/** The scanner after it went over the whole text, and whether that was JSON. */
function scan(text: string | Buffer): { isJson: boolean; scanner: Scanner } {
  const scanner = createScanner(Buffer.from(text as string));
  return { isJson: scanValue(scanner) && isAtEnd(scanner), scanner };
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the scanner agrees with JSON.parse', () => {
  test.each(
    [
      ['', ' ', '{', '[', '}', ']', '"', '{}', '[]', '{ }', '[ ]', '[{}]', '{"a":[]}', ' [1 , 2 ]\n', '{"a":1,"a":2}'],
      ['[1,]', '[,1]', '[,]', '{"a":1,}', '{,}', '{"a"}', '{"a":}', '{"a" 1}', '{a:1}', "{'a':1}", '{1:2}', '{"a":1]'],
      [
        '[1}',
        '[1 2]',
        '{"a":1 "b":2}',
        '[1],',
        '1 2',
        '{}x',
        '[]]',
        '{}}',
        '"a""b"',
        '{"a"::1}',
        '[[[[]]]',
        '{null:1}',
      ],
      [
        'true',
        'false',
        'null',
        'tru',
        'True',
        'nul',
        'nullx',
        'truefalse',
        'undefined',
        'NaN',
        'Infinity',
        '-Infinity',
      ],
      [
        '0',
        '-0',
        '00',
        '01',
        '-01',
        '1.',
        '.5',
        '0.5',
        '1.5e',
        '1e5',
        '1E+5',
        '1e-5',
        '1e+',
        '1e400',
        '-',
        '--1',
        '+1',
      ],
      ['1.2.3', '0x10', '1_000', '123456789012345678901234567890', '1e5.5', '-1.0e-0', '0e0', '0e', '0.', '-.1', '- 1'],
      [
        '"\\u0000"',
        '"\\ud800"',
        '"\\uD83D\\uDE00"',
        '"\\u12"',
        '"\\u123g"',
        '"\\u"',
        '"\\x41"',
        '"\\',
        '"\\"',
        '"\\\\"',
      ],
      [
        '"\\b\\f\\n\\r\\t\\/\\""',
        '"\\a"',
        '"\\U0041"',
        '"\\N"',
        '"a\nb"',
        '"a\tb"',
        '"\u0000"',
        '"\u001f"',
        '"\u0020"',
      ],
      [
        '"\u007f"',
        '"\u2028"',
        '"ü€😀"',
        '\u00a0[]',
        '[\u000b]',
        '[\u000c]',
        '[\u2003]',
        '/**/1',
        '[1//\n]',
        '\u0000',
        '[]\u0000',
      ],
      ['"', '"a', '{"a', '{"a"', '{"a":', '{"a":1', '{"a":1,', '[1', '[1,', 't', '-', '1e', '\ufeff'],
    ].flat(),
  )('on %j', (text) => {
    expect(scan(text).isJson).toBe(parses(text));
  });

  test('on arbitrary documents', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(scan(text).isJson).toBe(true);
      }),
    );
    fc.assert(
      fc.property(rawJson(), (text) => {
        expect(parses(text)).toBe(true);
        expect(scan(text).isJson).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('on documents with a few characters changed', () => {
    const signs = fc.constantFrom(...Array.from('{}[],:"\\/ \n\t\u0001u0129.eE+-tfnaél😀'));
    const edits = fc.array(fc.record({ at: fc.nat(), sign: signs, kind: fc.constantFrom('put', 'swap', 'cut') }), {
      minLength: 1,
      maxLength: 3,
    });
    let brokenCount = 0;
    fc.assert(
      fc.property(rawJson(), edits, (text, edits) => {
        const characters = Array.from(text);
        for (const { at, sign, kind } of edits) {
          const removed = kind === 'put' ? 0 : 1;
          characters.splice(at % (characters.length + 1), removed, ...(kind === 'cut' ? [] : [sign]));
        }
        const changed = characters.join('').toWellFormed();
        if (!parses(changed)) brokenCount += 1;
        expect(scan(changed).isJson).toBe(parses(changed));
      }),
      { numRuns: 5000 },
    );
    // Control: the edits do break documents, so agreement means something.
    expect(brokenCount).toBeGreaterThan(1000);
  });
});

test('any bytes are scanned without an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const { isJson, scanner } = scan(Buffer.from(bytes));
      expect(isJson).toBe(scanner.problem === null);
    }),
    { numRuns: 2000 },
  );
});

test('a byte order mark is skipped', () => {
  expect(scan('\ufeff{}').isJson).toBe(true);
  expect(scan('{}\ufeff').isJson).toBe(false);
});

test.each([
  ['0', 0],
  ['"[[["', 0],
  ['[]', 1],
  ['{"a":[]}', 2],
  ['[[],[[]],[]]', 3],
  ['{"a":{"b":{}},"c":[1]}', 3],
])('%s is as deep as its containers nest: %i', (text, depth) => {
  expect(scan(text).scanner.deepest).toBe(depth);
});

test('millions of open brackets neither overflow the stack nor take long', () => {
  const count = 5 * 1024 * 1024;
  expect(scan('['.repeat(2 * count)).isJson).toBe(false);
  const { isJson, scanner } = scan('['.repeat(count) + ']'.repeat(count));
  expect(isJson).toBe(true);
  expect(scanner.deepest).toBe(count);
  expect(scan('{"a":'.repeat(count / 4) + '1' + '}'.repeat(count / 4)).scanner.deepest).toBe(count / 4);
});

test.each([
  ['{"secret" 1}', "invalid JSON at byte 10: expected ':'"],
  ['{"é":tru}', 'invalid JSON at byte 6: expected a value'],
  ['[1 2]', "invalid JSON at byte 3: expected ',' or ']'"],
  ['{"a":1 2}', "invalid JSON at byte 7: expected ',' or '}'"],
  ['{"a":1,}', 'invalid JSON at byte 7: expected a key in double quotes'],
  ['"a\\x"', 'invalid JSON at byte 2: expected a valid escape'],
  ['"a\nb"', 'invalid JSON at byte 2: expected no control character'],
  ['"a', 'invalid JSON at the end: expected the end of a string'],
  ['[1,', 'invalid JSON at the end: expected a value'],
  ['-x', 'invalid JSON at byte 1: expected a digit'],
  ['{} {}', 'invalid JSON at byte 3: expected nothing after the document'],
])('what is wrong with %j is said without quoting it', (text, problem) => {
  expect(scan(text).scanner.problem).toBe(problem);
});

test('a raw string stands for the string JSON.parse gives', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const raw = Buffer.from(JSON.stringify(text)).toString('latin1');
      expect(stringOf(raw)).toBe(text);
      expect(stringOf(rawStringOf(text))).toBe(text);
    }),
  );
  expect(stringOf(rawStringOf('a\ud800b'))).toBe('a\ufffdb');
});

/**
 * JSON as a client may write it and `JSON.stringify` never would: spaces and line
 * ends between tokens, escapes, huge numbers, duplicate keys.
 */
function rawJson(): fc.Arbitrary<string> {
  const space = fc.constantFrom('', '', '', ' ', '\n', '\r\n', '\t', '  ');
  const number = fc.constantFrom('0', '-0', '1', '-1.5', '1e400', '1E-7', '12345678901234567890', '0.1000', '1.0e+2');
  const character = fc.oneof(
    fc.constantFrom('a', 'b', ' ', 'é', '€', '😀', '/', '\u2028', '\u007f'),
    fc.constantFrom('\\n', '\\r', '\\"', '\\\\', '\\/', '\\u0000', '\\u0061', '\\ud800', '\\uDC00', '\\ud83d\\ude00'),
  );
  const string = fc.array(character, { maxLength: 6 }).map((characters) => `"${characters.join('')}"`);

  const { value } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(number, string, fc.constantFrom('true', 'false', 'null')),
      tie('object'),
      tie('array'),
    ),
    object: fc
      .array(fc.tuple(space, string, space, space, tie('value'), space), { maxLength: 4 })
      .map((members) => `{${members.map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`).join(',')}}`),
    array: fc
      .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
      .map((elements) => `[${elements.map((element) => element.join('')).join(',')}]`),
  }));
  return fc.tuple(space, value, space).map((parts) => parts.join(''));
}
