/**
 * Whose events a query asks about, where it asks about those of one person. The
 * view `events` looks up for every event of a project whose it is; of one person
 * the ids are known beforehand, so that only the events with one of them, and
 * only the links of these ids, have to be looked at.
 */
import { type Node, nodesOf } from './query-tree.ts';

/** The `distinct_id` of a person, and the anonymous ids that are linked to it. */
export type Person = { readonly id: string; readonly anonymousIds: readonly string[] };

/** These conditions are applied to what was grouped, and the tree does not tell them from WHERE. */
const LATER_CONDITIONS = /having|qualify/i;

/**
 * The `distinct_id` that every row of the answer is made of; null unless the query plainly says so: one SELECT from
 * `events` (any of `names`) alone, whose WHERE has the condition `distinct_id = '…'` beside any others.
 */
export function askedPerson(root: Node, sql: string, names: ReadonlySet<string>): string | null {
  const nodes = nodesOf(root);
  const [select, ...others] = nodes.filter(({ kind }) => kind === 'SelectQuery');
  if (select === undefined || others.length > 0 || LATER_CONDITIONS.test(sql)) return null;
  // Where it is the name of something else, the condition is about that.
  if (nodes.some(({ alias }) => alias === 'distinct_id')) return null;
  const place = select.children.findIndex(({ kind }) => kind === 'TablesInSelectQuery');
  const [tables, where] = select.children.slice(place);
  if (!names.has(onlyTable(tables)?.name ?? '') || where?.kind !== 'Function') return null;
  return (
    conjunctsOf(where)
      .map(personIn)
      .find((person) => person !== null) ?? null
  );
}

/** The table that is read, where nothing else is. */
export function onlyTable(tables: Node | undefined): Node | null {
  const path = tables === undefined ? [] : nodesOf(tables);
  const isAlone = path.length === 4 && path[1]!.kind === 'TablesInSelectQueryElement';
  return isAlone && path[3]!.kind === 'TableIdentifier' ? path[3]! : null;
}

/** The conditions that all have to hold. */
export function conjunctsOf(condition: Node): readonly Node[] {
  const conjuncts = [condition];
  for (let at = 0; at < conjuncts.length;) {
    const { kind, name, children } = conjuncts[at]!;
    if (kind === 'Function' && name === 'and') conjuncts.splice(at, 1, ...(children[0]?.children ?? []));
    else at += 1;
  }
  return conjuncts;
}

/** As the tree has a text in which nothing is escaped. */
const PLAIN_TEXT = /^'([^\\'\p{Cc}]+)'$/u;

function personIn({ kind, name, children }: Node): string | null {
  if (kind !== 'Function' || name !== 'equals') return null;
  const sides = children[0]?.children ?? [];
  const column = sides.find((side) => side.kind === 'Identifier');
  const text = sides.find((side) => side.kind === 'Literal');
  if (column?.name !== 'distinct_id' || text === undefined) return null;
  return PLAIN_TEXT.exec(text.name)?.[1] ?? null;
}
