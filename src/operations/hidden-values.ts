/** What can be shown of dead letters without quoting an event. */
import { withExactNumbers } from '../event/exact-numbers.ts';

/** Fields of a row, as Weir writes them, that help to find an event elsewhere and reveal nothing about a person. */
export const PLAIN_FIELDS: ReadonlySet<string> = new Set([
  'project_id',
  'event_id',
  'source',
  'received_at',
  'expires_at',
]);

/** A cause without anything that may quote an event. Weir already stores it so; it is cut again before it is shown. */
export function unquoted(text: string): string {
  return text.split(/['"{\n]|Column values/, 1)[0]!.trim();
}

/** An object as JSON text; unless `isUnsafe`, with types in place of values, but for those of the `plain` fields. */
export function shownObject(
  row: Buffer,
  { isUnsafe, plain = NO_FIELDS }: { readonly isUnsafe: boolean; readonly plain?: ReadonlySet<string> },
): string {
  const text = row.toString('utf8').trimEnd();
  if (isUnsafe) return text;
  const fields = jsonOf(text);
  if (typeof fields !== 'object' || fields === null) return JSON.stringify(`<${row.length} bytes that are no JSON>`);
  const hidden = Object.entries(fields).map(([name, value]) => [name, plain.has(name) ? value : typesOf(value)]);
  return JSON.stringify(Object.fromEntries(hidden));
}

const NO_FIELDS: ReadonlySet<string> = new Set();

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

/**
 * What the text says as JSON, its numbers as they were sent; the text itself where it is none, which may be why it is
 * shown.
 */
export function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text, withExactNumbers) as unknown;
  } catch {
    return text;
  }
}
