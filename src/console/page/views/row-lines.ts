/** A row of the store, member by member beside the columns of the table. */
import type { LetterRows } from '../../operator/answers.ts';

export type RowLine = {
  /** The column, or the path of a member within one. */
  readonly name: string;
  /** null for what is no column of its own. */
  readonly type: string | null;
  /** null where the event has no such member. */
  readonly value: string | null;
  /** Whether it is to blame. */
  readonly isMarked: boolean;
};

type Refusal = LetterRows['refusals'][number];

/** The columns that rows carry, in the table's order, then what the row has beside them. A marked member stands below its column. */
export function linesOf(row: unknown, columns: LetterRows['columns'], refusal: Refusal | null): RowLine[] {
  const members = isObject(row) ? row : { row };
  const marked = new Set(
    refusal === null ? [] : [...refusal.members, ...(refusal.column === null ? [] : [refusal.column])],
  );
  const known = columns.filter(({ name, isCarried }) => isCarried || marked.has(name));
  const names = new Set(known.map(({ name }) => name));
  const typed = [
    ...known.map(({ name, type }) => ({ name, type })),
    ...Object.keys(members)
      .filter((name) => !names.has(name))
      .map((name) => ({ name, type: null })),
  ];
  return typed.flatMap(({ name, type }) => {
    const own = { name, type, value: textOf(members[name]), isMarked: marked.has(name) };
    const within = [...marked].filter((path) => path.startsWith(`${name}.`));
    return [
      own,
      ...within.map((path) => ({ name: path, type: null, value: textOf(at(members, path)), isMarked: true })),
    ];
  });
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));

/** What stands at `properties.cart.amount`. */
function at(members: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), members);
}
