/**
 * Properties that have a column of their own beside `properties`, so that a question about one does not read
 * the others: what such a column is called, holds and is computed by (decision 51). ClickHouse reads
 * `properties.plan` as the column of that name.
 */
import { literal, quoted } from '../connection/quoting.ts';

export const PROPERTY_TYPES = ['String', 'Float64', 'Int64', 'Bool', 'DateTime64'] as const;
export type PropertyType = (typeof PROPERTY_TYPES)[number];

/** `name` as after `properties.`; a dot separates a member from one inside it, or belongs to its name. */
export type PromotedProperty = { readonly name: string; readonly type: PropertyType };

/** Each takes about a fiftieth of an insert's processor time, and four files of every part. */
export const MAX_PROMOTED = 20;
/** Every column's expression names all of them. */
const MAX_NAME_BYTES = 100;

/** The comment by which Weir knows its own, and what clients read in the schema. */
export const PROMOTED_COMMENT = 'The property of this name, null where there is none: by weir property promote';

const PREFIX = 'properties.';
export const columnOf = (name: string): string => PREFIX + name;

/** A time with its date, or seconds or milliseconds since 1970: what ClickHouse completes by the present day is none. */
const DATED = String.raw`^(?:\d{4}-\d{2}-\d{2}|\d{9,13}(?:\.\d+)?$)`;

const TYPES: Readonly<Record<PropertyType, { readonly column: string; readonly read: string }>> = {
  String: { column: 'Nullable(String)', read: 'Nullable(String)' },
  Float64: { column: 'Nullable(Float64)', read: 'Nullable(Float64)' },
  Int64: { column: 'Nullable(Int64)', read: 'Nullable(Int64)' },
  // ClickHouse would read 5 as true, and -1 and "true" as none.
  Bool: { column: 'Nullable(Bool)', read: 'Nullable(String)' },
  // ClickHouse would read a number as milliseconds, and a text in any way.
  DateTime64: { column: "Nullable(DateTime64(3, 'UTC'))", read: 'Nullable(String)' },
};

/** Why a property of this name cannot be promoted; null when it can. Completes the sentence "… cannot be promoted: …". */
export function nameProblem(name: string): string | null {
  const parts = name.split('.');
  const last = parts.at(-1)!;
  if (parts.includes('')) return 'a name, or a part of it between dots, is empty';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `a name has at most ${MAX_NAME_BYTES} bytes`;
  if (!name.isWellFormed() || UNPRINTABLE.test(name)) return 'a name has no control or formatting characters';
  if (parts.some((part) => part.startsWith('_'))) {
    return 'names that begin with an underscore are ClickHouse’s own, and the query endpoint refuses them';
  }
  if (NOT_ASKED_FOR.test(name)) return 'the query endpoint refuses queries with this word';
  if (last === 'size' || last === 'null') {
    return `ClickHouse has a meaning of its own for .${last} (of a text its length, of a column whether it is null)`;
  }
  return null;
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** By the query guard: what runs before the filter, what looks like a state, what a tree cannot tell from itself. */
const NOT_ASKED_FOR = /prewhere|aggregatefunction| \((?:alias|children) /i;

/** The name as a word of a command line. */
export const shellWord = (name: string): string =>
  /^\w[\w.-]*$/.test(name) ? name : `'${name.replaceAll("'", String.raw`'\''`)}'`;

/** The name, type and expression of the column of each property. The document is parsed once for all of them. */
export function columnsFor(properties: readonly PromotedProperty[]): PropertyColumn[] {
  const sorted = properties.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const elements = sorted.map(({ name, type }) => `${quoted(name)} ${TYPES[type].read}`);
  // ClickHouse computes what stands in several expressions only once; an ephemeral column cannot be materialized later.
  const all = `JSONExtract(properties, ${literal(`Tuple(${elements.join(', ')})`)})`;
  return sorted.map(({ name, type }) => ({
    column: columnOf(name),
    type: TYPES[type].column,
    expression: converted(type, valueOf(name, type, all)),
  }));
}

export type PropertyColumn = { readonly column: string; readonly type: string; readonly expression: string };

/** OpenTelemetry has dots in names, most others have objects: a member of the whole name comes first. */
function valueOf(name: string, type: PropertyType, all: string): string {
  const member = `tupleElement(${all}, ${literal(name)})`;
  if (!name.includes('.')) return member;
  return `coalesce(${member}, JSONExtract(properties, ${pathTo(name)}, ${literal(TYPES[type].read)}))`;
}

/** The arguments by which ClickHouse's JSON functions find the property. */
export const pathTo = (name: string): string => name.split('.').map(literal).join(', ');

function converted(type: PropertyType, value: string): string {
  if (type === 'DateTime64') {
    return `parseDateTime64BestEffortOrNull(if(match(${value}, ${literal(DATED)}), ${value}, NULL), 3, 'UTC')`;
  }
  if (type === 'Bool') return `if(has(['true', '1', 'false', '0'], ${value}), has(['true', '1'], ${value}), NULL)`;
  return value;
}

/** A column of the table of events as `system.columns` has it. */
export type StoredColumn = {
  readonly name: string;
  readonly type: string;
  readonly kind: string;
  readonly expression: string;
  readonly comment: string;
};

/** What there is of columns named like properties. */
export type FoundProperties = {
  readonly promoted: readonly PromotedProperty[];
  /** Those of the promoted whose columns somebody has changed: what they hold is not known. */
  readonly altered: readonly string[];
  /** Columns that are not Weir's. */
  readonly foreign: readonly string[];
};

/** Tells Weir's own by their comment; what they should be follows from all of them. */
export function foundIn(columns: readonly StoredColumn[]): FoundProperties {
  const named = columns.filter(({ name }) => name.startsWith(PREFIX));
  const typeOf = (column: StoredColumn) => PROPERTY_TYPES.find((type) => TYPES[type].column === column.type) ?? null;
  const own = named.filter((column) => column.comment === PROMOTED_COMMENT && typeOf(column) !== null);
  const promoted = own.map((column) => ({ name: column.name.slice(PREFIX.length), type: typeOf(column)! }));
  const expected = new Map(columnsFor(promoted).map(({ column, expression }) => [column, expression]));
  const altered = own.filter(({ name, kind, expression }) => kind !== KIND || expression !== expected.get(name));
  return {
    promoted,
    altered: altered.map(({ name }) => name.slice(PREFIX.length)),
    foreign: named.filter((column) => !own.includes(column)).map(({ name }) => name),
  };
}

const KIND = 'MATERIALIZED';

/** The changes of a table with these columns that leave it with these properties, behind `ALTER TABLE …`; null when there are none to make. */
export function changesTo(columns: readonly StoredColumn[], wanted: readonly PromotedProperty[]): string | null {
  const { promoted } = foundIn(columns);
  const dropped = promoted.filter(({ name }) => !wanted.some((property) => property.name === name));
  const changes = dropped.map(({ name }) => `DROP COLUMN ${quoted(columnOf(name))}`);
  for (const { column, type, expression } of columnsFor(wanted)) {
    const there = columns.find(({ name }) => name === column);
    if (there?.expression === expression) continue;
    const definition = `${quoted(column)} ${type} ${KIND} ${expression} COMMENT ${literal(PROMOTED_COMMENT)}`;
    changes.push(there ? `MODIFY COLUMN ${definition}` : `ADD COLUMN ${definition} AFTER properties`);
  }
  return changes.length === 0 ? null : changes.join(', ');
}
