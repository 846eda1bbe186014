/** JSON objects as clients may write them, near everything that ClickHouse cannot read. */
import fc from './fast-check.ts';

/** Integers around the limits of 64 bits. */
const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc
    .tuple(
      fc.constantFrom(2n ** 63n, -(2n ** 63n), 2n ** 64n, -(2n ** 64n), 10n ** 18n, 10n ** 19n),
      fc.integer({ min: -2, max: 2 }),
    )
    .map(([limit, more]) => String(limit + BigInt(more))),
  fc.constantFrom('0', '-0', '1', '-1'),
);

const digits = fc.oneof(
  fc.nat({ max: 99 }).map(String),
  fc.integer({ min: 1, max: 400 }).map((count) => '9'.repeat(count)),
  fc.integer({ min: 1, max: 400 }).map((count) => `1${'0'.repeat(count)}`),
);
const fraction = fc.oneof(
  fc.constant(''),
  digits.map((text) => `.${text}`),
  fc.integer({ min: 1, max: 400 }).map((count) => `.${'0'.repeat(count)}1`),
  fc.constantFrom(
    '.7976931348623157',
    '.7976931348623158',
    '.79769313486231580793',
    '.79769313486231581',
    '.7976931348623159',
  ),
);
const exponent = fc.oneof(
  fc.constant(''),
  fc
    .tuple(
      fc.constantFrom('e', 'E'),
      fc.constantFrom('', '+', '-'),
      fc.constantFrom('', '0', '000000000000000000000'),
      fc.oneof(fc.constantFrom('308', '309', '307', '0', '99999999999999999999'), fc.nat({ max: 800 }).map(String)),
    )
    .map((parts) => parts.join('')),
);
const decimal = fc
  .tuple(fc.constantFrom('', '-'), fc.oneof(digits, fc.constantFrom('0', '1')), fraction, exponent)
  .map((parts) => parts.join(''));

const character = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', ' ', 'é', '😀', '\u2028', '\ufeff', '.', '1e400', String.raw`\"`) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...String.raw`\n \\ \/ \u0000 \u001f \u0061 \ud83d\ude00 \uD83D\uDE00 \ud7ff \ue000 \uffff`.split(' '),
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...String.raw`\ud800 \uDBFF \udc00 \udfff \uD83D`.split(' ')) },
);
const text = fc.array(character, { maxLength: 5 }).map((characters) => `"${characters.join('')}"`);
const space = fc.constantFrom('', '', '', ' ', '\t', '  ');

/** An object in JSON. */
export function rawDocument(): fc.Arbitrary<string> {
  const { object } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        { weight: 1, arbitrary: integer },
        { weight: 1, arbitrary: decimal },
        { weight: 2, arbitrary: text },
        { weight: 2, arbitrary: fc.constantFrom('true', 'false', 'null', '0.1', '1', '""') },
      ),
      tie('object'),
      tie('array'),
    ),
    object: fc
      .array(fc.tuple(space, text, space, space, tie('value'), space), { maxLength: 3 })
      .map((members) => `{${members.map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`).join(',')}}`),
    array: fc
      .array(fc.tuple(space, tie('value'), space), { maxLength: 3 })
      .map((elements) => `[${elements.map((element) => element.join('')).join(',')}]`),
  }));
  return object;
}
