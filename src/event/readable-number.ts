/**
 * Whether ClickHouse can read a JSON number: an integer that has 64 bits, with a sign or without, or a double. What is
 * written with a point or an exponent is a double; too close to 0 for one, it is 0.
 */
export function isReadableNumber(text: string): boolean {
  if (/[.eE]/.test(text)) return Number.isFinite(Number(text));
  const [digits, largest] = text[0] === '-' ? [text.slice(1), LARGEST_NEGATED] : [text, LARGEST];
  return digits.length === largest.length ? digits <= largest : digits.length < largest.length;
}

const LARGEST = '18446744073709551615';
const LARGEST_NEGATED = '9223372036854775808';
