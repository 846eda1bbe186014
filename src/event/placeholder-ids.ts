/**
 * Ids that programs send where they have none: what their language makes of a missing value, the name of the field, a
 * template that was never filled in. Taking them for ids would merge unrelated people into one. The view `identities`
 * leaves out the same ones (`clickhouse-migrations/`).
 */
const PLACEHOLDERS: readonly string[] = [
  'undefined',
  'null',
  '(null)',
  '<null>',
  'nil',
  '<nil>',
  'none',
  'nan',
  'n/a',
  'true',
  'false',
  '-1',
  '-0',
  '0.0',
  '[]',
  '{}',
  '""',
  "''",
  '[object object]',
  'unknown',
  'nobody',
  'anonymous',
  'anon',
  'anonymous_id',
  'anonymousid',
  'guest',
  'not_authenticated',
  'id',
  'uid',
  'uuid',
  'guid',
  'user_id',
  'userid',
  'distinct_id',
  'distinctid',
  'device_id',
  'deviceid',
  'email',
];

/**
 * Further placeholders: nothing but zeroes, or at least eight `f`, in any spelling of a UUID; and templates that were
 * not filled in, `{{user.id}}` and `${userId}`.
 */
const BLANKS = String.raw`(?:urn:uuid:)?\{?(?:0[0-]*|f[f-]{7,})\}?|\{\{.*\}\}|\$\{.*\}`;

/** White space and invisible characters. */
const NOTHING = String.raw`[\p{Z}\p{Cc}\p{Cf}]*`;

const names = PLACEHOLDERS.map((name) => name.replaceAll(/[()[\]{}/.]/g, String.raw`\$&`)).join('|');

/**
 * Placeholder ids, in any case and with blanks around: a pattern that JavaScript and RE2, which ClickHouse uses, read
 * alike.
 */
export const PLACEHOLDER_PATTERN = `^${NOTHING}(?:${names}|${BLANKS})?${NOTHING}$`;

const bare = new RegExp(`^(?:${names}|${BLANKS})?$`, 'isu');
const nothing = new RegExp(`^${NOTHING}$`, 'u');
const nothingAhead = new RegExp(`^${NOTHING}`, 'u');

/**
 * Whether an id is a placeholder. JavaScript would try the whole pattern in quadratic time where there are many blanks,
 * so they are taken away first.
 */
export function isPlaceholderId(id: string): boolean {
  const start = nothingAhead.exec(id)![0].length;
  return bare.test(id.slice(start, endOfWords(id, start)));
}

/** Where the last blanks of an id begin. */
function endOfWords(id: string, start: number): number {
  let end = id.length;
  while (end > start) {
    const at = Math.max(start, end - (isLowSurrogate(id, end - 1) ? 2 : 1));
    if (!nothing.test(id.slice(at, end))) break;
    end = at;
  }
  return end;
}

function isLowSurrogate(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}
