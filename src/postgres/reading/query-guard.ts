/**
 * Decides from Postgres's own parse of a query whether a project may run it. Pure: the text comes from the client, the
 * tree from its parser (`query-parser.ts`). Everything is refused that is not known to be harmless.
 *
 * This is the first of two walls. The second is row-level security, which leaves only the project's rows of the tables
 * beneath the views; this one keeps a query away from what has no rows to filter: functions that see files, settings
 * and sessions, catalogs, and everything that is no query.
 */
import { COLUMNS, isReadable } from './reader-tables.ts';
import {
  FUNCTIONS,
  OPERATORS,
  RESULTS_CALLED_AS_ALIAS,
  RESULT_COLUMNS,
  SYSTEM_COLUMNS,
  TYPES,
  VALUES_OF_NOW,
} from './query-names.ts';
import { PLACES, REASONS, SHAPES } from './query-shapes.ts';

export type Tree = { readonly stmts?: readonly { readonly stmt?: unknown }[] };

type Members = Readonly<Record<string, unknown>>;
/** `names`: those of the queries of a WITH that may be named here. */
type Place = { readonly value: unknown; readonly kind: string | null; readonly names: ReadonlySet<string> };
/** `named`: names that columns have got in the query; `results`: what functions in FROM return. */
type Known = { readonly named: ReadonlySet<string>; readonly results: readonly Result[] };
/** The result of a function in FROM: what it is called there, and the columns that it is known to have. */
type Result = { readonly name: string | null; readonly columns: ReadonlySet<string> };
type Look = { readonly kind: string; readonly members: Members; readonly names: ReadonlySet<string> };

export const ONLY_SELECT = 'only one SELECT, or WITH … SELECT, is allowed';

/** A long text may be a deep tree; each word or sign of it may become a node. */
const MAX_TOKENS = 8_000;
const TOKEN = /[\p{L}\p{N}_$.]+|'[^']*'|"[^"]*"|\S/gu;
const CONTROL_CHARACTERS = /[^\P{Cc}\t\n\r\f]/u;

/** Why the text is refused before it is parsed; null when it may be parsed. */
export function textProblem(sql: string): string | null {
  if (sql.trim() === '') return 'the query is empty';
  if (!sql.isWellFormed() || CONTROL_CHARACTERS.test(sql)) return 'the query contains control characters';
  let tokens = 0;
  for (const _token of sql.matchAll(TOKEN))
    if (++tokens > MAX_TOKENS) return `the query has more than ${MAX_TOKENS} words`;
  return null;
}

/** Why the query with this tree is refused; null when it may run. */
export function treeProblem({ stmts = [] }: Tree): string | null {
  const [first, ...others] = stmts;
  if (first?.stmt === undefined) return 'the query is empty';
  const { kind } = nodeOf(first.stmt);
  if (kind !== 'SelectStmt' || others.length > 0) return ONLY_SELECT;
  const looks = looksOf(first.stmt);
  if (typeof looks === 'string') return looks;
  const known: Known = { named: namesMadeIn(looks), results: resultsIn(looks) };
  for (const look of looks) {
    const problem = problemOf(look, known);
    if (problem !== null) return problem;
  }
  return null;
}

/** Every node of the tree with the names it sees, or why one may not be there. Without recursion: a query decides how deep its tree is. */
function looksOf(root: unknown): readonly Look[] | string {
  const looks: Look[] = [];
  const waiting: Place[] = [{ value: root, kind: null, names: new Set() }];
  for (let place = waiting.pop(); place; place = waiting.pop()) {
    const { kind, members } =
      place.kind === null ? nodeOf(place.value) : { kind: place.kind, members: place.value as Members };
    // An end of a list that has nothing, as of a DISTINCT without ON.
    if (kind === '') continue;
    const shape = SHAPES.get(kind);
    if (!shape) return REASONS.get(kind) ?? `this kind of query is not available (${kind})`;
    const names = kind === 'SelectStmt' ? withNames(members, place.names) : place.names;
    looks.push({ kind, members, names });
    for (const [member, value] of Object.entries(members)) {
      const form = PLACES.has(member) ? '=' : shape.get(member);
      if (form === undefined)
        return REASONS.get(`${kind}.${member}`) ?? `this kind of query is not available (${kind}, ${member})`;
      if (form === '=') continue;
      if (kind === 'WithClause' && member === 'ctes') waiting.push(...queriesOf(members, place.names));
      else if (form !== '*')
        waiting.push({
          value,
          kind: form,
          names: kind === 'SelectStmt' && member === 'withClause' ? place.names : names,
        });
      else
        for (const inner of Array.isArray(value) ? value : [value]) waiting.push({ value: inner, kind: null, names });
    }
  }
  return looks;
}

/** `{ Kind: { … } }` as a pair; both empty for an object without members. */
function nodeOf(value: unknown): { kind: string; members: Members } {
  const [entry, ...others] = Object.entries((value ?? {}) as Record<string, unknown>);
  if (entry === undefined) return { kind: '', members: {} };
  if (others.length > 0) return { kind: `${entry[0]}, ${others[0]![0]}`, members: {} };
  return { kind: entry[0], members: entry[1] as Members };
}

type WithClause = {
  readonly ctes?: readonly { readonly CommonTableExpr?: { readonly ctename?: string } }[];
  readonly recursive?: boolean;
};

const nameOfQuery = (query: { readonly CommonTableExpr?: { readonly ctename?: string } }) =>
  query.CommonTableExpr?.ctename ?? '';

/** What the body of a SELECT may name. */
function withNames({ withClause }: Members, outer: ReadonlySet<string>): ReadonlySet<string> {
  const queries = (withClause as WithClause | undefined)?.ctes ?? [];
  return queries.length === 0 ? outer : new Set([...outer, ...queries.map(nameOfQuery)]);
}

/** The queries of a WITH, each with what it may name: those before it, or with RECURSIVE all of them. */
function queriesOf(clause: Members, outer: ReadonlySet<string>): Place[] {
  const { ctes = [], recursive = false } = clause as WithClause;
  const all = ctes.map(nameOfQuery);
  return ctes.map((value, index) => ({
    value,
    kind: null,
    names: new Set([...outer, ...(recursive ? all : all.slice(0, index))]),
  }));
}

/** Names that columns have got in the query itself. */
function namesMadeIn(looks: readonly Look[]): ReadonlySet<string> {
  return new Set(
    looks.flatMap(({ kind, members }): readonly string[] => {
      switch (kind) {
        case 'ResTarget':
          return [textOf(members['name'])];
        case 'Alias':
          return [String(members['aliasname']), ...textsOf(members['colnames'])];
        case 'CommonTableExpr':
          return textsOf(members['aliascolnames']);
        case 'ColumnDef':
          return [String(members['colname'])];
        case 'FuncCall':
          return textsOf(members['funcname']).slice(-1);
        case 'TypeName':
          return textsOf(members['names']).slice(-1);
        default:
          return [];
      }
    }),
  );
}

const resultsIn = (looks: readonly Look[]): readonly Result[] =>
  looks.filter(({ kind }) => kind === 'RangeFunction').map(({ members }) => resultOf(members));

/** Of the columns only those that Postgres is known to find: in place of any other, it would call a function. */
function resultOf({ alias, functions, coldeflist, ordinality }: Members): Result {
  const { aliasname, colnames } = (alias ?? {}) as Members;
  const calls = callsIn(functions);
  const given = textsOf(colnames);
  const name = aliasname === undefined ? (calls[0]?.name ?? null) : textOf(aliasname);
  const own = coldeflist === undefined ? columnsOf(calls, name) : definedIn(coldeflist);
  if (ordinality === true) own.push('ordinality');
  return { name, columns: new Set([...given, ...own.slice(given.length)]) };
}

/** A function in FROM. `name`: null for what only looks like one, such as COALESCE; `defined`: by a list behind AS. */
type Call = { readonly name: string | null; readonly defined: readonly string[] };

function callsIn(functions: unknown): readonly Call[] {
  return ((functions ?? []) as readonly unknown[]).flatMap((list): readonly Call[] => {
    const [call, definitions] = (nodeOf(list).members['items'] ?? []) as readonly unknown[];
    const { kind, members } = nodeOf(call);
    const name = kind === 'FuncCall' ? textsOf(members['funcname']).at(-1)! : null;
    const one: Call = { name, defined: definedIn(nodeOf(definitions).members['items']) };
    // One with several lists is several, each with one.
    return name === 'unnest' ? ((members['args'] ?? []) as readonly unknown[]).map(() => one) : [one];
  });
}

const definedIn = (definitions: unknown): string[] =>
  ((definitions ?? []) as readonly unknown[]).map((column) => textOf(nodeOf(column).members['colname']));

/** As Postgres names them before a list of columns behind the alias does; `''` for those that are not known. */
const columnsOf = (calls: readonly Call[], alias: string | null): string[] =>
  calls.flatMap(({ name, defined }): readonly string[] => {
    if (defined.length > 0) return defined;
    if (name === null) return [''];
    if (RESULTS_CALLED_AS_ALIAS.has(name)) return [(calls.length === 1 ? alias : null) ?? name];
    return RESULT_COLUMNS.get(name) ?? [''];
  });

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const textsOf = (list: unknown): readonly string[] =>
  ((list ?? []) as readonly { readonly String?: { readonly sval?: string } }[]).map((item) => item.String?.sval ?? '');

function problemOf({ kind, members, names }: Look, known: Known): string | null {
  switch (kind) {
    case 'RangeVar':
      return tableProblem(members, names);
    case 'ColumnRef':
      return columnProblem(members, known);
    case 'FuncCall':
      return functionProblem(textsOf(members['funcname']));
    case 'TypeName':
      return typeProblem(members);
    case 'A_Expr':
      return String(members['kind']).includes('BETWEEN') ? null : operatorProblem(textsOf(members['name']));
    case 'SubLink':
      return members['operName'] === undefined ? null : operatorProblem(textsOf(members['operName']));
    case 'SQLValueFunction':
      return VALUES_OF_NOW.has(String(members['op'])) ? null : `${sqlNameOf(members['op'])} is not available`;
    case 'A_Indirection':
      return fieldProblem(members);
    case 'CollateClause':
      return textsOf(members['collname']).join('.') === 'C' ? null : 'only COLLATE "C" is available';
    case 'CommonTableExpr':
      return nodeOf(members['ctequery']).kind === 'SelectStmt' ? null : 'a WITH may hold queries only';
    default:
      return null;
  }
}

function tableProblem({ schemaname, relname }: Members, names: ReadonlySet<string>): string | null {
  const name = String(relname);
  if (schemaname === undefined && names.has(name)) return null;
  return isReadable(schemaname as string | undefined, name)
    ? null
    : noSuchTable(schemaname === undefined ? name : `${textOf(schemaname)}.${name}`);
}

/** The same sentence whether there is no such table or one that is not for projects. */
export const noSuchTable = (name: string): string =>
  `there is no table ${name}; GET …/schema lists those that can be queried`;

/**
 * `row.name` also calls a function of that name with the row; so the name must be one that a column can have. What a
 * function in FROM returns may be no row but a text, which nearly every function takes: there only its own columns can
 * be named, and its alias is none where the columns have got other names. One without a name of its own could have any.
 * Whatever else stands in FROM is a record; the functions that take one only write it out, or hash it.
 */
function columnProblem({ fields }: Members, { named, results }: Known): string | null {
  const path = textsOf(fields);
  const name = path.at(-1)!;
  const of = path.at(-2);
  const isResult = (result: Result) => of !== undefined && (result.name === null || result.name === of);
  if (name !== '' && results.some((result) => isResult(result) && !result.columns.has(name)))
    return `there is no column ${path.join('.')}`;
  if (path.some((part) => SYSTEM_COLUMNS.has(part))) return `no column ${path.join('.')}: it is Postgres’s own`;
  const isKnown = path.length === 1 || name === '' || COLUMNS.has(name) || named.has(name) || MADE_NAMES.has(name);
  return isKnown && !(path.length > 1 && name.startsWith('pg_')) ? null : `there is no column ${path.join('.')}`;
}

/** Of columns that have got none otherwise. */
const MADE_NAMES: ReadonlySet<string> = new Set(
  'array case coalesce column1 column2 column3 column4 column5 column6 column7 column8 column9 exists greatest grouping key least nullif ordinality row value current_date current_time current_timestamp ?column?'.split(
    ' ',
  ),
);

function functionProblem(path: readonly string[]): string | null {
  const name = path.at(-1)!;
  const isPlain = path.length === 1 || (path.length === 2 && path[0] === 'pg_catalog');
  return isPlain && FUNCTIONS.has(name) ? null : `the function ${path.join('.')} is not available`;
}

function typeProblem({ names }: Members): string | null {
  const path = textsOf(names);
  const isPlain = path.length === 1 || (path.length === 2 && path[0] === 'pg_catalog');
  return isPlain && TYPES.has(path.at(-1)!) ? null : `the type ${path.join('.')} is not available`;
}

function operatorProblem(path: readonly string[]): string | null {
  return path.length === 1 && OPERATORS.has(path[0]!) ? null : `the operator ${path.join('.')} is not available`;
}

/** `(x).name` calls a function, whatever x is. */
function fieldProblem({ indirection }: Members): string | null {
  const kinds = ((indirection ?? []) as readonly unknown[]).map((step) => nodeOf(step).kind);
  return kinds.every((kind) => kind === 'A_Indices') ? null : 'fields of a value in parentheses are not available';
}

const sqlNameOf = (op: unknown) => String(op).replace('SVFOP_', '').toLowerCase();

/** Whether it compares the people of events with given ones, whose rows an index finds. */
export function asksForPeople({ stmts = [] }: Tree): boolean {
  const looks = looksOf(stmts[0]?.stmt);
  return typeof looks !== 'string' && looks.some(({ kind, members }) => kind === 'A_Expr' && isAboutPeople(members));
}

function isAboutPeople({ kind, name, lexpr, rexpr }: Members): boolean {
  const isEqual = textsOf(name).join() === '=' && /^AEXPR_(OP|OP_ANY|IN)$/.test(String(kind));
  const sides = new Set([columnIn(lexpr), columnIn(rexpr)]);
  return isEqual && sides.has('distinct_id') && sides.has(null);
}

/** The name of the column that this is and no more; null for anything else. */
function columnIn(value: unknown): string | null {
  const { kind, members } = nodeOf(value);
  return kind === 'ColumnRef' ? (textsOf(members['fields']).at(-1) ?? null) : null;
}
