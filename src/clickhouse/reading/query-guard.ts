/**
 * Decides from ClickHouse's own parse of a query whether a project may run it.
 * Pure: the text comes from the client, the tree from `EXPLAIN AST`. Everything
 * is refused that is not known to be harmless, so a kind of node that a later
 * ClickHouse invents is refused until a developer has looked at it.
 *
 * This is the second of two walls. The first is the filter that ClickHouse puts
 * onto every table; this one keeps a query away from what has no rows to filter
 * (functions and table functions that see files, hosts and other tables) and
 * from what would run before the filter.
 */
import { ALIAS, type Node, nodesOf } from './query-tree.ts';
import { isAllowedFunction } from './reader-functions.ts';

/**
 * What a query may name: tables to read, and tables that exist but are not for
 * it. `filtered`: the names by which a filter finds its table; ClickHouse goes
 * by a table's alias first. `databases`: those of Weir.
 */
export type Names = {
  readonly readable: ReadonlySet<string>;
  readonly hidden: ReadonlySet<string>;
  readonly filtered: ReadonlySet<string>;
  readonly databases: ReadonlySet<string>;
};

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
export const ONLY_SELECT = 'only SELECT and WITH … SELECT are allowed';

/** Sentences for what people try most. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['Set', NO_SETTINGS],
  ['SampleRatio', 'SAMPLE is not available'],
  ['ColumnsApplyTransformer', 'APPLY is not available; call the function on each column'],
]);

export const ODD_NAME = 'a name in the query contains characters that are not supported';

const CONTROL_CHARACTERS = /[^\P{Cc}\t\n\r]/u;
/** Its condition would be evaluated before the filter. The tree does not tell it from WHERE, so the word itself is refused. */
const PREWHERE = /prewhere/i;

/** The text without what may end it: the FORMAT that Weir puts behind it must not become a second statement. */
export function withoutEnd(sql: string): string {
  let text = sql.trimEnd();
  while (text.endsWith(';')) text = text.slice(0, -1).trimEnd();
  return text;
}

/** Why the text is refused before it is parsed; null when it may be parsed. */
export function textProblem(sql: string): string | null {
  if (sql.trim() === '') return 'the query is empty';
  if (!sql.isWellFormed() || CONTROL_CHARACTERS.test(sql)) return 'the query contains control characters';
  if (PREWHERE.test(sql)) return 'PREWHERE is not available; use WHERE';
  return null;
}

/** Why the query with this tree is refused; null when it may run. `format` is what Weir put behind the client's text. */
export function treeProblem(root: Node, { names, format }: { names: Names; format: string }): string | null {
  if (root.kind !== 'SelectWithUnionQuery') return ONLY_SELECT;
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

function nodesProblem(root: Node, names: Names): string | null {
  const nodes = nodesOf(root);
  const renamed = new Set(nodes.flatMap(({ kind, alias }) => (kind === 'Identifier' && alias !== null ? [alias] : [])));
  for (const node of nodes) {
    const problem = nodeProblem(node, names, renamed) ?? aliasProblem(node, names);
    if (problem !== null) return problem;
  }
  return null;
}

/** `renamed`: the aliases that stand for nothing but a name. */
function nodeProblem(node: Node, names: Names, renamed: ReadonlySet<string>): string | null {
  const { kind, name } = node;
  if (!KINDS.has(kind)) return REASONS.get(kind) ?? `this kind of query is not available (${kind})`;
  switch (kind) {
    case 'Identifier':
      if (STATE.test(name)) return NO_STATES;
      return isVirtual(name) ? `no column ${name}: names that begin with an underscore are ClickHouse’s own` : null;
    case 'TableIdentifier':
      return tableProblem(name, names, renamed);
    case 'TableExpression':
      return tableExpressionProblem(node);
    case 'Literal':
      // A state is trusted by the function that takes it up; a client must not be able to make one out of bytes.
      return STATE.test(name) ? NO_STATES : null;
    case 'Function':
      return functionProblem(node, names, renamed);
    default:
      return null;
  }
}

const STATE = /aggregatefunction/i;
const NO_STATES = 'values of type AggregateFunction cannot be written down';

/** ClickHouse finds a table's filter by the table's alias, so an alias must not look like another table. */
function tableExpressionProblem({ children }: Node): string | null {
  if (children.some(({ kind }) => kind === 'Function')) return 'table functions are not available';
  const dotted = children.find(({ alias }) => alias?.includes('.'));
  return dotted ? `the alias ${dotted.alias} of a table contains a dot; use another` : null;
}

/** An alias in a WITH can name a table too, wherever it stands. */
function aliasProblem({ kind, alias }: Node, { filtered, databases }: Names): string | null {
  if (alias === null || kind === 'Literal') return null;
  if (alias.includes(ALIAS)) return ODD_NAME;
  const isTaken = filtered.has(alias) || (kind === 'Identifier' && databases.has(alias));
  return isTaken ? `the alias ${alias} is the name of a table or database; use another` : null;
}

/** `_part`, `_table` and other virtual columns, anywhere in a name: they tell of storage that projects share. */
const isVirtual = (name: string) => name.split('.').some((part) => part.startsWith('_'));

function functionProblem({ name, children }: Node, names: Names, renamed: ReadonlySet<string>): string | null {
  if (!isAllowedFunction(name)) return `the function ${name} is not available`;
  const [first, ...others] = children[0]?.children ?? [];
  const [second] = others;
  if (first === undefined || second === undefined) return null;
  if (IN.test(name) && second.kind === 'Identifier') return setProblem(second.name, names, renamed);
  const type = CAST.test(name) ? second : TYPE_LAST.test(name) ? others.at(-1)! : null;
  return type && type.kind !== 'Literal' ? `the type for ${name} must be written out` : null;
}

/** `x IN name` reads a table of that name. */
const IN = /^(global)?(not)?(null)?in(ignoreset)?$/i;
/** Functions that take a type as text: behind the value, which others may follow, or as the last of their arguments. */
const CAST = /^(accurate)?cast(ornull|ordefault)?$|^(dynamic|variant)element$|^reinterpret$/i;
const TYPE_LAST = /^jsonextract(keysandvalues)?(caseinsensitive)?$/i;
const PLAIN_NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;

/**
 * The tree does not name the queries of a WITH, so a plain name that is no
 * table must be one of them. If it is neither, ClickHouse refuses it.
 */
function tableProblem(name: string, names: Names, renamed: ReadonlySet<string>): string | null {
  return names.readable.has(name) ? null : setProblem(name, names, renamed);
}

/** The same to the right of IN. There an alias goes before a table of that name, and may stand for any table. */
function setProblem(name: string, { readable, hidden }: Names, renamed: ReadonlySet<string>): string | null {
  if (renamed.has(name)) return `${name} is an alias of another name; write that name, or a subquery`;
  if (readable.has(name)) return null;
  return hidden.has(name) || !PLAIN_NAME.test(name) ? noSuchTable(name) : null;
}

/** The same sentence whether there is no such table or one that is not for projects. */
export const noSuchTable = (name: string | null): string =>
  `there is no table ${name ?? 'of that name'}; GET …/schema lists those that can be queried`;
