/**
 * Which rows can be read and not be stored: a column that is computed from them
 * fails, or they violate a constraint. Both are evaluated over the rows as a
 * table of the query alone, together with an ordinary row.
 */
import { literal, quoted } from '../connection/quoting.ts';
import { ORDINARY_ROW } from '../../event/rows.ts';
import { fingerprintOf } from '../../pipeline/outcome.ts';
import { InsertFailure, type Inspection, type RowRefusal } from '../../pipeline/ports.ts';
import { NUMBER, type ExternalTable, type NumberedRow } from './external-rows.ts';
import { type Found, findRefusedRows } from './row-search.ts';
import type { TableShape } from './table-shape.ts';

/** Statements for rows on which a computed column fails: each has to be searched for. */
const SEARCH_BUDGET = 64;

/** By the number of each row that was read: the place of the constraint it violates, or -1. */
export type Evaluated = ReadonlyMap<number, number>;

/** Evaluates rows; those that cannot be read are absent. Throws `InsertFailure`. */
export type Evaluate = (rows: readonly NumberedRow[]) => Promise<Evaluated>;

type Select = (query: string, tables: readonly ExternalTable[]) => Promise<string[]>;

/** `select` runs a query over the table and answers its tab-separated lines. */
export function createEvaluate(shape: TableShape, select: Select): Evaluate {
  const query = evaluationQuery(shape);
  return async (rows) => {
    const lines = await select(query, [{ name: 'candidates', columns: shape.carried, rows }]);
    return new Map(lines.map((line) => line.split('\t', 2).map(Number) as [number, number]));
  };
}

/** An ordinary row with a number behind those of `rows`. */
export const ordinaryAfter = (rows: readonly NumberedRow[]): NumberedRow => ({
  number: rows.at(-1)!.number + 1,
  row: ORDINARY_ROW,
});

/** Finds the rows on which a computed column fails, or the ordinary one does, and those that violate a constraint. All can be read. */
export async function findUncomputable(
  rows: readonly NumberedRow[],
  { constraints }: TableShape,
  evaluate: Evaluate,
): Promise<Inspection> {
  if (rows.length === 0) return { refusals: [], isComplete: true };
  const control = ordinaryAfter(rows);
  const isOrdinaryComputed = (await unlessAboutRows(evaluate([control]))) !== null;
  const search = (left: number) =>
    findRefusedRows(
      rows.map(({ row }) => row),
      async (_, indexes) => void (await evaluate(indexes.map((index) => rows[index]!))),
      { left },
    );
  // Where the ordinary row fails too, the first two rows show in a few statements whether all of them do.
  const first = isOrdinaryComputed ? null : await search(2 * (Math.ceil(Math.log2(rows.length)) + 3));
  const found = first !== null && (first.isComplete || failsOnAll(first)) ? first : await search(SEARCH_BUDGET);
  // An unexplained failure is no evidence; rows found before it stay out, to be on the safe side.
  if (found.interruptedBy !== null && isAboutRows(found.interruptedBy)) return { refusals: [], isComplete: false };
  if (found.interruptedBy !== null) throw found.interruptedBy;
  if (!isOrdinaryComputed && failsOnAll(found)) {
    const [failure] = found.bad.values();
    const numbers = rows.map(({ number }) => number);
    return {
      refusals: [{ failure: failure!, rows: numbers, when: 'storing', isOrdinaryRefused: true }],
      isComplete: true,
    };
  }
  const failing = byCause(found, rows, isOrdinaryComputed);
  // Among rows that were not all found out about, the constraints cannot be evaluated.
  if (!found.isComplete) return { refusals: failing, isComplete: false };
  const others = rows.filter((_, index) => !found.bad.has(index));
  const controls = isOrdinaryComputed ? [control] : [];
  const evaluated = await evaluate([...others, ...controls]);
  const violating = await confirmViolations(evaluated, others, controls, constraints, evaluate);
  return { refusals: [...failing, ...violating], isComplete: true };
}

/** More rows than a search is worth, one after the other from the first on: a column that fails on everything. */
const failsOnAll = ({ bad, isComplete }: Found) =>
  !isComplete && bad.size > 1 && [...bad.keys()].every((index, place) => index === place);

function byCause({ bad }: Found, rows: readonly NumberedRow[], isOrdinaryComputed: boolean): RowRefusal[] {
  return [...Map.groupBy(bad, ([, failure]) => fingerprintOf(failure)).values()].map((group) => ({
    failure: group[0]![1],
    rows: group.map(([index]) => rows[index]!.number).sort((a, b) => a - b),
    when: 'storing',
    isOrdinaryRefused: !isOrdinaryComputed,
  }));
}

/** The violations that are there at a second look too, by constraint. */
export async function confirmViolations(
  evaluated: Evaluated,
  rows: readonly NumberedRow[],
  controls: readonly NumberedRow[],
  constraints: TableShape['constraints'],
  evaluate: Evaluate,
): Promise<RowRefusal[]> {
  const violates = ({ number }: NumberedRow) => (evaluated.get(number) ?? -1) >= 0;
  const suspects = [...rows, ...controls].filter(violates);
  if (suspects.length === 0) return [];
  const again = await evaluate(suspects);
  const isControl = new Set(controls.map(({ number }) => number));
  return constraints.flatMap(({ name }, place): RowRefusal[] => {
    const numbers = [...again].flatMap(([number, violated]) => (violated === place ? [number] : []));
    const own = numbers.filter((number) => !isControl.has(number)).sort((a, b) => a - b);
    const isOrdinaryRefused = numbers.length > own.length;
    if (own.length === 0) return [];
    const misfit = { constraint: name };
    return [{ failure: violationOf(name), rows: own, when: 'storing', isOrdinaryRefused, misfit }];
  });
}

/** What was selected; null when a row stood in the way. */
export async function unlessAboutRows<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof InsertFailure && isAboutRows(error)) return null;
    throw error;
  }
}

/**
 * A query that answers the number of every row it can read, with the constraint it
 * violates or -1, and fails as an insert would on a row that a computed column cannot take.
 */
function evaluationQuery({ carried, computed, constraints }: TableShape): string {
  // A default stands in for a value that the row leaves out; which one did, the value that is read instead tells.
  const defaulted = carried
    .filter(({ default_expression }) => default_expression !== '')
    .map(({ name, type, default_expression }) => {
      const column = quoted(name);
      return `if(${column} = defaultValueOfTypeName(${literal(type)}), CAST((${default_expression}), ${literal(type)}), ${column}) AS ${column}`;
    });
  const whole = defaulted.length === 0 ? '*' : `* REPLACE (${defaulted.join(', ')})`;
  const others = computed.map(({ name, type, default_expression }) => {
    const value =
      default_expression === ''
        ? `defaultValueOfTypeName(${literal(type)})`
        : `CAST((${default_expression}), ${literal(type)})`;
    return `${value} AS ${quoted(name)}`;
  });
  const violated = constraints.map(({ expression }, place) => `NOT ifNull((${expression}) != 0, 0), ${place}`);
  // The hash makes ClickHouse compute every column that an insert would; an alias is computed by who reads it.
  const inserted = [...carried, ...computed].filter(({ default_kind }) => default_kind !== 'ALIAS');
  const columns = inserted.map(({ name }) => quoted(name));
  return `SELECT ${NUMBER}, ${violated.length === 0 ? '-1' : `multiIf(${violated.join(', ')}, -1)`}, cityHash64(${columns.join(', ')})
    FROM (SELECT *, ${others.length === 0 ? '1 AS _weir_none' : others.join(', ')} FROM (SELECT ${whole} FROM candidates))`;
}

/** VIOLATED_CONSTRAINT. */
const violationOf = (constraint: string) =>
  new InsertFailure(`ClickHouse error 469: Constraint \`${constraint}\` is violated`, {
    failureClass: 'data',
    code: 469,
  });

export const isAboutRows = ({ failureClass }: InsertFailure) => failureClass === 'data' || failureClass === 'unknown';
