/**
 * Whether a query needs to know which user an anonymous id was linked to. The
 * view `events` looks that up for `distinct_id`, and ClickHouse does so also
 * where nothing asks for it; a query that cannot name it is spared the price.
 */
import { type Node, nodesOf } from './query-tree.ts';

/** What the links are read for: the column, and the tables that are made of it. */
const MADE_OF_LINKS: ReadonlySet<string> = new Set(['distinct_id', 'persons', 'sessions', 'identities']);

/**
 * True unless the tree shows that nothing in it can
 * mean one of them: neither a name, nor something that stands for many columns,
 * nor a join that compares all columns of the same name.
 */
export function needsIdentities(root: Node): boolean {
  const nodes = nodesOf(root);
  const counted = new Set(nodes.flatMap(countedAsterisks));
  return nodes.some((node) => !counted.has(node) && mayMeanIdentities(node));
}

function mayMeanIdentities({ kind, name, children }: Node): boolean {
  if (kind === 'Identifier' || kind === 'TableIdentifier') {
    return name.split('.').some((part) => MADE_OF_LINKS.has(part));
  }
  return MANY_COLUMNS.test(kind) || (kind === 'TableJoin' && children.length === 0);
}

/** Asterisks and matchers. */
const MANY_COLUMNS = /Asterisk|Matcher/;

/** The one of `count(*)` stands for no column. */
const countedAsterisks = ({ kind, name, children }: Node): readonly Node[] =>
  kind === 'Function' && name.toLowerCase() === 'count' && children.length === 1
    ? children[0]!.children.filter((argument) => argument.kind === 'Asterisk')
    : [];
