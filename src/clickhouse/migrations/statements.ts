/**
 * Splits a file of SQL into its statements: at semicolons that stand outside
 * of quotes and comments. Comments at the beginning of a statement are dropped.
 */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let start = 0;
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (token !== ';') continue;
    statements.push(text.slice(start, index));
    start = index + 1;
  }
  statements.push(text.slice(start));
  return statements
    .map((statement) => statement.replace(LEADING_COMMENTS, '').trim())
    .filter((statement) => statement !== '');
}

/** What may hold a semicolon that separates nothing, or one that does. An unclosed quote reaches to the end. */
const TOKENS =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)|"(?:[^"\\]|\\[\s\S])*(?:"|$)|`(?:[^`\\]|\\[\s\S])*(?:`|$)|;/g;

const LEADING_COMMENTS = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/;
