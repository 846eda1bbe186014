/**
 * Forms, in bodies and queries. They are read as `URLSearchParams` reads them, whose constructor takes quadratic time
 * for fields without an equals sign.
 */

/** The most fields of a form, empty ones included: clients send a handful. */
export const MAX_FORM_FIELDS = 1_000;

/** Why a request with more is refused. */
export const TOO_MANY_FIELDS = `more than ${MAX_FORM_FIELDS} fields in a form or a query`;

export function hasTooManyFields(form: string): boolean {
  return form.split('&', MAX_FORM_FIELDS + 1).length > MAX_FORM_FIELDS;
}

/** The fields of a form, no more than `MAX_FORM_FIELDS`. */
export function readForm(form: string): URLSearchParams {
  const fields = form.split('&', MAX_FORM_FIELDS).filter((field) => field !== '');
  return new URLSearchParams(fields.map(fieldOf));
}

function fieldOf(field: string): [name: string, value: string] {
  const end = field.indexOf('=');
  return end < 0 ? [decoded(field), ''] : [decoded(field.slice(0, end)), decoded(field.slice(end + 1))];
}

const PERCENT = 0x25;
/** By byte; -1 for what is no hexadecimal digit. */
const DIGITS = Int8Array.from({ length: 256 }, (_, byte) => digitOf(byte));

function digitOf(byte: number): number {
  return '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
}

/** A percent sign without two digits stands for itself, and bytes that are not UTF-8 become U+FFFD. */
function decoded(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  if (!spaced.includes('%')) return spaced;
  const bytes = Buffer.from(spaced);
  let length = 0;
  for (let at = 0; at < bytes.length; length += 1) {
    const value = bytes[at] === PERCENT ? escapedAt(bytes, at + 1) : -1;
    bytes[length] = value < 0 ? bytes[at]! : value;
    at += value < 0 ? 1 : 3;
  }
  return bytes.toString('utf8', 0, length);
}

/** What two hexadecimal digits stand for; negative where there are none. */
function escapedAt(bytes: Buffer, at: number): number {
  if (at + 1 >= bytes.length) return -1;
  return (DIGITS[bytes[at]!]! << 4) | DIGITS[bytes[at + 1]!]!;
}
