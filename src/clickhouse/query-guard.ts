/**
 * Decides from ClickHouse's own parse of a query whether a project may run it.
 * Pure: the text comes from the client, the tree from `EXPLAIN AST`. Everything
 * is refused that is not known to be harmless, so a kind of node that a later
 * ClickHouse invents is refused until somebody looks at it.
 *
 * This is the second of two walls. The first is the filter that ClickHouse puts
 * onto every table; this one keeps a query away from what has no rows to filter
 * (functions and table functions that see files, hosts and other tables) and
 * from what would run before the filter.
 */
import { isAllowedFunction } from './reader-functions.ts';

/** What a query may name: tables to read, and tables that exist but are not for it. */
export type Names = { readonly readable: ReadonlySet<string>; readonly hidden: ReadonlySet<string> };

/** Kinds of node that may stand in a query. Absent on purpose: Set, SampleRatio, ColumnsApplyTransformer, QueryParameter. */
const KINDS: ReadonlySet<string> = new Set([
  'SelectWithUnionQuery',
  'SelectIntersectExceptQuery',
  'SelectQuery',
  'ExpressionList',
  'Subquery',
  'WithElement',
  'Identifier',
  'TableIdentifier',
  'Literal',
  'Function',
  'Asterisk',
  'QualifiedAsterisk',
  'ColumnsRegexpMatcher',
  'ColumnsListMatcher',
  'QualifiedColumnsRegexpMatcher',
  'QualifiedColumnsListMatcher',
  'ColumnsTransformerList',
  'ColumnsExceptTransformer',
  'ColumnsReplaceTransformer',
  'ColumnsReplaceTransformer::Replacement',
  'TablesInSelectQuery',
  'TablesInSelectQueryElement',
  'TableExpression',
  'TableJoin',
  'ArrayJoin',
  'OrderByElement',
  'InterpolateElement',
  'WindowDefinition',
  'WindowListElement',
]);

export const NO_SETTINGS = 'a query may not have a SETTINGS clause';

/** Sentences for what people try most. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['Set', NO_SETTINGS],
  ['SampleRatio', 'SAMPLE is not available'],
  ['ColumnsApplyTransformer', 'APPLY is not available; call the function on each column'],
]);

const CONTROL_CHARACTERS = /[^\P{Cc}\t\n\r]/u;
/** Its condition would be evaluated before the filter. The tree does not tell it from WHERE, so the word itself is refused. */
const PREWHERE = /prewhere/i;

/** The text without what may end it: the FORMAT that Weir puts behind it must not become a second statement. */
export function withoutEnd(sql: string): string {
  let text = sql.trimEnd();
  while (text.endsWith(';')) text = text.slice(0, -1).trimEnd();
  return text;
}

/** Why the text is refused before anybody parses it; null when it may be parsed. */
export function textProblem(sql: string): string | null {
  if (sql.trim() === '') return 'the query is empty';
  if (!sql.isWellFormed() || CONTROL_CHARACTERS.test(sql)) return 'the query contains control characters';
  if (PREWHERE.test(sql)) return 'PREWHERE is not available; use WHERE';
  return null;
}

type Node = {
  readonly kind: string;
  readonly name: string;
  readonly children: Node[];
  readonly childCount: number;
};

/** Why the query with this tree is refused; null when it may run. `format` is what Weir put behind the client's text. */
export function treeProblem(
  lines: readonly string[],
  { names, format }: { names: Names; format: string },
): string | null {
  const root = treeOf(lines);
  if (root === null) return 'a name in the query contains characters that are not supported';
  if (root.kind !== 'SelectWithUnionQuery') return 'only SELECT and WITH … SELECT are allowed';
  return endProblem(root, format) ?? nodesProblem(root, names);
}

/** Behind the SELECT there is Weir's own FORMAT and nothing else. */
function endProblem(root: Node, format: string): string | null {
  if (root.children.some(({ kind }) => kind === 'Set')) return NO_SETTINGS;
  const [selects, end] = root.children;
  const isPlain =
    root.children.length === 2 &&
    selects?.kind === 'ExpressionList' &&
    end?.kind === 'Identifier' &&
    end.name === format &&
    end.childCount === 0;
  return isPlain ? null : 'a query may not have a FORMAT or INTO OUTFILE clause';
}

/** Without recursion: a query decides how deep its tree is. */
function nodesProblem(root: Node, names: Names): string | null {
  const waiting = [root];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    const problem = nodeProblem(node, names);
    if (problem !== null) return problem;
    waiting.push(...node.children);
  }
  return null;
}

function nodeProblem(node: Node, names: Names): string | null {
  const { kind, name } = node;
  if (!KINDS.has(kind)) return REASONS.get(kind) ?? `this kind of query is not available (${kind})`;
  switch (kind) {
    case 'Identifier':
      return isVirtual(name) ? `no column ${name}: names that begin with an underscore are ClickHouse’s own` : null;
    case 'TableIdentifier':
      return tableProblem(name, names);
    case 'TableExpression':
      return node.children.some((child) => child.kind === 'Function') ? 'table functions are not available' : null;
    case 'Literal':
      // A state is trusted by the function that takes it up; a client must not be able to make one out of bytes.
      return /aggregatefunction/i.test(name) ? 'values of type AggregateFunction cannot be written down' : null;
    case 'Function':
      return functionProblem(node, names);
    default:
      return null;
  }
}

/** `_part`, `_table` and the like, in whatever place: they speak of storage that projects share. */
const isVirtual = (name: string) => name.split('.').some((part) => part.startsWith('_'));

function functionProblem({ name, children }: Node, names: Names): string | null {
  if (!isAllowedFunction(name)) return `the function ${name} is not available`;
  const [first, second] = children[0]?.children ?? [];
  const isKnown = first !== undefined && second !== undefined;
  if (IN.test(name) && isKnown && second.kind === 'Identifier') return tableProblem(second.name, names);
  if (CAST.test(name) && isKnown && second.kind !== 'Literal') return `the type for ${name} must be written out`;
  return null;
}

/** `x IN name` reads a table of that name. */
const IN = /^(global)?(not)?(null)?in$/i;
const CAST = /^(accurate)?cast(ornull|ordefault)?$/i;
const PLAIN_NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;

/**
 * The tree does not name the queries of a WITH, so a plain name that is no
 * table must be one of them: or there is no such thing, and ClickHouse says so.
 */
function tableProblem(name: string, { readable, hidden }: Names): string | null {
  if (readable.has(name)) return null;
  return hidden.has(name) || !PLAIN_NAME.test(name) ? noSuchTable(name) : null;
}

/** The same sentence whether there is no such table or one that is not for projects. */
export const noSuchTable = (name: string | null): string =>
  `there is no table ${name ?? 'of that name'}; GET …/schema lists those that can be queried`;

/** The tree, or null unless every line is understood and every node has as many children as it says. */
function treeOf(lines: readonly string[]): Node | null {
  const [first, ...rest] = lines.map(parsed);
  if (!first || first.depth !== 0) return null;
  const path = [first.node];
  for (const line of rest) {
    if (!line || line.depth < 1 || line.depth > path.length) return null;
    path.length = line.depth;
    path.at(-1)!.children.push(line.node);
    path.push(line.node);
  }
  return isComplete(first.node) ? first.node : null;
}

function isComplete(root: Node): boolean {
  const waiting = [root];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (node.children.length !== node.childCount) return false;
    waiting.push(...node.children);
  }
  return true;
}

/**
 * A line of `EXPLAIN AST`: indentation, kind, name, alias, number of children.
 * A name that imitates what follows it can only make itself shorter, and the
 * number of children wrong.
 */
function parsed(line: string): { depth: number; node: Node } | null {
  const content = line.trimStart();
  const [head, childCount] = cut(content, content.lastIndexOf(' (children '));
  const children = childCount === null ? '0' : /^ \(children (\d+)\)$/.exec(childCount)?.[1];
  const [label] = cut(head, head.indexOf(' (alias '));
  const [kind, name] = cut(label, label.indexOf(' '));
  if (!KIND.test(kind) || children === undefined) return null;
  const node = { kind, name: name?.slice(1) ?? '', children: [], childCount: Number(children) };
  return { depth: line.length - content.length, node };
}

const KIND = /^[A-Za-z:]+$/;

const cut = (text: string, at: number): [string, string | null] =>
  at < 0 ? [text, null] : [text.slice(0, at), text.slice(at)];
