/**
 * Finds out which rows of a refused batch the table cannot take, in a handful of
 * statements however many there are. What an insert would do is done to the rows
 * as a table of the query alone (`external-rows.ts`): read them, compute the other
 * columns, evaluate the constraints (`row-evaluation.ts`). That is one statement;
 * another one looks at the suspects once more. Nothing is stored.
 *
 * An ordinary event goes through the same statements, so that a schema which
 * refuses everything is told from rows that are bad.
 */
import { ORDINARY_ROW } from '../../event/rows.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { InsertFailure, type Inspection, type RowRefusal } from '../../pipeline/ports.ts';
import { isTooLarge } from './division.ts';
import { NUMBER, type ExternalTable, type NumberedRow } from './external-rows.ts';
import {
  type Evaluate,
  confirmViolations,
  createEvaluate,
  findUncomputable,
  isAboutRows,
  ordinaryAfter,
  unlessAboutRows,
} from './row-evaluation.ts';
import type { Column, TableShape } from './table-shape.ts';

export type RowInspectionDeps = {
  readonly readShape: () => Promise<TableShape>;
  /** Runs a query over the tables and answers its tab-separated lines. Throws `InsertFailure`. */
  readonly select: (query: string, tables: readonly ExternalTable[]) => Promise<string[]>;
  /** Reads the rows as an insert would. Throws the `InsertFailure` that an insert would meet. */
  readonly dryRun: (rows: readonly Buffer[]) => Promise<void>;
};

/** Of the rows that cannot be read, so many bytes are asked about column by column; the others count as unreadable as a whole. */
const MAX_ATTRIBUTED_BYTES = 1024 * 1024;
/** Where that is too large for something in front of ClickHouse: a table for each column, and room for ordinary rows. */
const ATTRIBUTED_SHARE = 16;
/** Between two suspects, so that a row which never ends cannot swallow the next one. */
const CONTROLS_BETWEEN = 2;

/** Looks at the rows as `EventStore.inspect` promises. */
export async function inspectRows(rows: readonly Buffer[], deps: RowInspectionDeps): Promise<Inspection> {
  if (rows.length === 0) return { refusals: [], isComplete: true };
  const shape = await deps.readShape();
  const evaluate = createEvaluate(shape, deps.select);
  const all = numbered(rows);
  const control = ordinaryAfter(all);
  const evaluated = await unlessAboutRows(evaluate([...all, control]));
  if (evaluated === null) return inspectInSteps(all, shape, deps, evaluate);

  const unread = all.filter(({ number }) => !evaluated.has(number));
  const [unreadable, violating] = await Promise.all([
    explainUnread(unread, all, shape, deps),
    confirmViolations(evaluated, all, [control], shape.constraints, evaluate),
  ]);
  const explained = unreadable.reduce((sum, { rows: { length } }) => sum + length, 0);
  // A row that can be read at the second look was not evaluated.
  return { refusals: [...unreadable, ...violating], isComplete: explained === unread.length };
}

/** Where a computed column fails on some row: which rows can be read, and then on which of those it fails. */
async function inspectInSteps(
  all: readonly NumberedRow[],
  shape: TableShape,
  deps: RowInspectionDeps,
  evaluate: Evaluate,
): Promise<Inspection> {
  const query = `SELECT ${NUMBER} FROM whole`;
  const lines = await deps.select(query, [{ name: 'whole', columns: shape.carried, rows: all }]);
  const read = new Set(lines.map(Number));
  const unread = all.filter(({ number }) => !read.has(number));
  const unreadable = await explainUnread(unread, all, shape, deps);
  const isUnreadable = new Set(unreadable.flatMap((refusal) => refusal.rows));
  const readable = all.filter(({ number }) => !isUnreadable.has(number));
  const { refusals, isComplete } = await findUncomputable(readable, shape, evaluate);
  return { refusals: [...unreadable, ...refusals], isComplete };
}

/** Those of the `suspects` among `all` rows that cannot be read, by the column that cannot. */
async function explainUnread(
  suspects: readonly NumberedRow[],
  all: readonly NumberedRow[],
  { carried }: TableShape,
  { select, dryRun }: RowInspectionDeps,
): Promise<RowRefusal[]> {
  if (suspects.length === 0) return [];
  const byColumn = await attribute(suspects, all.length, { carried, select, maxBytes: MAX_ATTRIBUTED_BYTES }).catch(
    (error: unknown) => {
      if (!isTooLarge(error)) throw error;
      // Each column's table is as large as the rows are: of few rows, or none, all of them together are no larger.
      const maxBytes = suspects.reduce((sum, { row }) => sum + row.length, 0) / ATTRIBUTED_SHARE;
      return attribute(suspects, all.length, { carried, select, maxBytes });
    },
  );
  const refusals: RowRefusal[] = [];
  for (const { numbers, isOrdinaryRefused, column } of byColumn) {
    // Each cause is confirmed by what an insert of one such row meets; its words are the cause's.
    const example = await failureOf(dryRun([all[numbers[0]!]!.row]));
    if (!(example instanceof InsertFailure)) continue;
    if (!isAboutRows(example)) throw example;
    refusals.push({
      failure: inColumn(example, column),
      rows: numbers,
      when: 'reading',
      isOrdinaryRefused,
      ...(column !== null && { misfit: { column: column.name } }),
    });
  }
  return refusals;
}

type Unreadable = {
  /** null: the row as a whole. */
  readonly column: Column | null;
  readonly numbers: readonly number[];
  readonly isOrdinaryRefused: boolean;
};

/** Reads the suspects once more, whole and column by column, among ordinary rows: those that are refused again, by column. */
async function attribute(
  suspects: readonly NumberedRow[],
  firstControl: number,
  { carried, select, maxBytes }: { carried: readonly Column[]; select: RowInspectionDeps['select']; maxBytes: number },
): Promise<Unreadable[]> {
  const rows = amongOrdinary(suspects, firstControl);
  const attributed = withinBytes(suspects, maxBytes);
  const askedColumns = attributed.length === 0 ? [] : carried;
  const rowsByColumn = amongOrdinary(attributed, firstControl);
  const tables: ExternalTable[] = [
    { name: 'whole', columns: carried, rows },
    ...askedColumns.map((column, index) => ({ name: `column_${index}`, columns: [column], rows: rowsByColumn })),
  ];
  const query = tables.map(({ name }, index) => `SELECT ${index}, ${NUMBER} FROM ${name}`).join(' UNION ALL ');
  const read = tables.map(() => new Set<number>());
  for (const line of await select(query, tables)) {
    const [table, number] = line.split('\t').map(Number) as [number, number];
    read[table]!.add(number);
  }

  const whole = read[0]!;
  const asked = new Set(attributed.map(({ number }) => number));
  const isOrdinaryRead = (table: Set<number>) => rows.some(({ number }) => number >= firstControl && table.has(number));
  const byColumn = new Map<number, number[]>();
  for (const { number } of suspects) {
    if (whole.has(number)) continue;
    const columns = asked.has(number)
      ? carried.flatMap((_, index) => (read[index + 1]!.has(number) ? [] : [index]))
      : [];
    // A row that no column can be read of is no row; of several columns, one that ordinary rows have no trouble with is to blame.
    const culprit =
      columns.length === carried.length
        ? -1
        : (columns.find((index) => isOrdinaryRead(read[index + 1]!)) ?? columns[0] ?? -1);
    const numbers = byColumn.get(culprit);
    if (numbers) numbers.push(number);
    else byColumn.set(culprit, [number]);
  }
  return [...byColumn].map(([index, numbers]) => ({
    column: carried[index] ?? null,
    numbers,
    isOrdinaryRefused: !isOrdinaryRead(index === -1 ? whole : read[index + 1]!),
  }));
}

function inColumn(failure: InsertFailure, column: Column | null): InsertFailure {
  const where =
    column === null ? 'cannot be read as a row' : `column \`${column.name}\` (${column.type}) cannot hold its value`;
  const { code, cause } = failure;
  return new InsertFailure(`${failure.message}: ${where}`, { failureClass: 'data', code, cause });
}

const numbered = (rows: readonly Buffer[]): NumberedRow[] => rows.map((row, number) => ({ number, row }));

function amongOrdinary(suspects: readonly NumberedRow[], firstControl: number): NumberedRow[] {
  let control = firstControl;
  const ordinary = () => Array.from({ length: CONTROLS_BETWEEN }, () => ({ number: control++, row: ORDINARY_ROW }));
  return [...ordinary(), ...suspects.flatMap((suspect) => [suspect, ...ordinary()])];
}

function withinBytes(rows: readonly NumberedRow[], most: number): NumberedRow[] {
  let bytes = 0;
  return rows.filter(({ row }) => (bytes += row.length) <= most);
}
