/** What can be shown of dead letters without quoting an event. */

/** Fields that help to find an event elsewhere and reveal nothing about a person. */
const PLAIN_FIELDS = new Set(['project_id', 'event_id', 'source', 'received_at', 'expires_at']);

/** A cause without anything that may quote an event. Weir already stores it so; it is cut again before it is shown. */
export function unquoted(text: string): string {
  return text.split(/['"{\n]|Column values/, 1)[0]!.trim();
}

/** The row as JSON text; unless `isUnsafe`, with types in place of values. */
export function shownRow(row: Buffer, isUnsafe: boolean): string {
  const text = row.toString('utf8').trimEnd();
  if (isUnsafe) return text;
  const fields = jsonOf(text);
  if (typeof fields !== 'object' || fields === null) return JSON.stringify(`<${row.length} bytes that are no JSON>`);
  const hidden = Object.entries(fields).map(([name, value]) => [name, PLAIN_FIELDS.has(name) ? value : typesOf(value)]);
  return JSON.stringify(Object.fromEntries(hidden));
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Invalid JSON may be the reason why it is here.
    return undefined;
  }
}

/** The shape of the value, without its content. */
function typesOf(value: unknown): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map(typesOf);
  if (typeof value !== 'object') return `<${typeof value}>`;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typesOf(inner)]));
}
