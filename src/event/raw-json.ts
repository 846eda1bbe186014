/** Converts between raw JSON strings, as byte text, and their values. */

/**
 * The value of a raw JSON string or key: byte text and escapes are resolved, so that two spellings of one name are
 * equal.
 */
export function stringOf(raw: string): string {
  if (isPlain(raw)) return raw.slice(1, -1);
  // A scanned string token always parses, and only yields a string.
  return JSON.parse(Buffer.from(raw, 'latin1').toString('utf8')) as string;
}

/** The raw JSON string, as byte text, for `value`, which is made well-formed. */
export function rawStringOf(value: string): string {
  if (ITS_OWN_SPELLING.test(value)) return `"${value}"`;
  return Buffer.from(JSON.stringify(value.toWellFormed()), 'utf8').toString('latin1');
}

/**
 * Raw JSON without line ends. They occur only between tokens, where a space means the same; inside a string they must
 * be escaped.
 */
export function onOneLine(raw: string): string {
  if (!raw.includes('\n') && !raw.includes('\r')) return raw;
  // Byte by byte: replacing by pattern takes a hundred times as long where there are many.
  const bytes = Buffer.from(raw, 'latin1');
  for (let i = 0; i < bytes.length; i += 1) if (bytes[i] === 0x0a || bytes[i] === 0x0d) bytes[i] = 0x20;
  return bytes.toString('latin1');
}

/** Printable ASCII that JSON need not escape. */
const ITS_OWN_SPELLING = /^[ !#-[\]-~]*$/;

/** Whether a raw string is ASCII without escapes, so that it equals its own value. */
function isPlain(raw: string): boolean {
  return !/[\\\x80-\xff]/.test(raw);
}
