/**
 * Why the store does not take the rows of a dead letter: each row beside the table's columns, what of it does not fit,
 * and the statement that would make the table take it, where one can be told. Changes nothing.
 */
import { idsOf, splitRows } from '../event/rows.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { DescribedTable, EventOperations } from '../pipeline/operator-port.ts';
import { type EventStore, InsertFailure, type RowRefusal } from '../pipeline/ports.ts';
import type { EventSchema, SchemaDrift } from '../pipeline/storage-port.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import { PLAIN_FIELDS, shownObject } from './hidden-values.ts';
import { OperationRefused } from './refused.ts';

export type ExplainedRefusal = {
  readonly message: string;
  readonly code: number | null;
  readonly when: 'reading' | 'storing';
  readonly isOrdinaryRefused: boolean;
  readonly column: string | null;
  readonly constraint: string | null;
  /** Paths of the members of the event to look at, such as `timestamp` or `properties.amount`. */
  readonly members: readonly string[];
  readonly statement: string | null;
};

export type ExplainedRow = {
  /** From 0, as the letter holds them. */
  readonly place: number;
  readonly eventId: string | null;
  /** As text; without the values of the event, unless they are requested. */
  readonly row: string;
  /** Which of the refusals is this row's; null where none is. */
  readonly refusal: number | null;
};

export type ExplainedRows = {
  readonly table: DescribedTable | null;
  readonly drift: readonly SchemaDrift[];
  readonly rows: readonly ExplainedRow[];
  readonly refusals: readonly ExplainedRefusal[];
  readonly total: number;
  readonly refused: number;
  /** Whether the store looked at every row; null where it could not be asked, for the reason `why`. */
  readonly isComplete: boolean | null;
  readonly why: string | null;
  /** The place at which the next page begins; null when there is none. */
  readonly next: number | null;
};

/** The store of the events; null where this process has none. */
export type ExplainingStore = {
  readonly operations: Pick<EventOperations, 'describeTable'>;
  readonly inspector: Pick<EventStore, 'inspect'>;
  readonly schema: Pick<EventSchema, 'check' | 'explain'>;
} | null;

export type RowsQuestion = {
  readonly id: string;
  /** Rows from this place on, at most so many. */
  readonly from: number;
  readonly limit: number;
  /** Only rows that the store refuses. */
  readonly isRefusedOnly: boolean;
  readonly isUnsafe: boolean;
};

type Look = Pick<ExplainedRows, 'table' | 'drift' | 'isComplete' | 'why'> & {
  readonly refusals: readonly RowRefusal[];
};

/** Throws `OperationRefused`, `PostgresFailure`; a store that cannot be asked is part of the answer. */
export async function explainDeadLetter(
  { db, events }: { db: Database; events: ExplainingStore },
  { id, from, limit, isRefusedOnly, isUnsafe }: RowsQuestion,
): Promise<ExplainedRows> {
  const opened = await createDeadLetterQueries(db).open(id);
  if (opened === null) {
    throw new OperationRefused(
      'not-found',
      `There is no dead letter ${id}. \`weir dlq audit --letter ${id}\` says what happened to it.`,
    );
  }
  if (opened.rows === null) {
    throw new OperationRefused('damaged', `The payload of ${id} is damaged: its rows cannot be read.`);
  }
  const all = splitRows(opened.rows);
  const look = await lookAt(all, events);
  const refusalOf = new Map(look.refusals.flatMap(({ rows }, index) => rows.map((place) => [place, index] as const)));
  const places = all.keys().filter((place) => place >= from && (!isRefusedOnly || refusalOf.has(place)));
  const page = [...places.take(limit + 1)];
  return {
    table: look.table,
    drift: look.drift,
    isComplete: look.isComplete,
    why: look.why,
    refusals: look.refusals.map((refusal) => explained(refusal, look)),
    rows: page.slice(0, limit).map((place) => ({
      place,
      eventId: idsOf(all[place]!)?.eventId ?? null,
      row: shownObject(all[place]!, { isUnsafe, plain: PLAIN_FIELDS }),
      refusal: refusalOf.get(place) ?? null,
    })),
    total: all.length,
    refused: refusalOf.size,
    next: page[limit] ?? null,
  };
}

async function lookAt(rows: readonly Buffer[], events: ExplainingStore): Promise<Look> {
  const nothing: Look = { table: null, drift: [], refusals: [], isComplete: null, why: NO_STORE };
  if (events === null) return nothing;
  const { operations, inspector, schema } = events;
  let look = nothing;
  const failure = await failureOf(
    (async () => {
      const [table, drift] = await Promise.all([operations.describeTable(), schema.check()]);
      look = { ...nothing, table, drift };
      const { refusals, isComplete } = await inspector.inspect(rows);
      look = { table, drift, refusals, isComplete, why: null };
    })(),
  );
  if (failure === null) return look;
  const why = failure instanceof InsertFailure ? failure.message : schema.explain(failure);
  return { ...look, why };
}

const NO_STORE = 'this process has no event store (WEIR_ROLE=ingest): ask one that inserts';

function explained(refusal: RowRefusal, { table, drift }: Look): ExplainedRefusal {
  const { failure, when, isOrdinaryRefused, misfit = {} } = refusal;
  const { column = null, constraint = null } = misfit;
  return {
    message: failure.message,
    code: failure.code,
    when,
    isOrdinaryRefused,
    column,
    constraint,
    members: table === null ? [] : membersOf({ column, constraint }, table),
    statement: table === null ? null : statementFor({ column, constraint }, table, drift),
  };
}

type Misfit = { readonly column: string | null; readonly constraint: string | null };

/** Functions that read one value out of a document, and the path that they are given. */
const READS_MEMBER =
  /\b(?:JSON\w+|simpleJSON\w+|visitParam\w+)\(\s*`?(properties|extras)`?((?:\s*,\s*'(?:[^'\\]|\\.)*')+)/g;
/** The same in Postgres: `properties ->> 'amount'`, also where it is cast first. */
const READS_FIELD = /\b(properties|extras)"?\)?(?:::\w+)?((?:\s*->>?\s*'(?:[^']|'')*'(?:::text)?)+)/g;
const TEXTS = /'((?:[^'\\]|\\.|'')*)'/g;

/** A column is a member itself; a constraint is about the columns that it names, or members of their documents. */
function membersOf({ column, constraint }: Misfit, { columns, constraints }: DescribedTable): string[] {
  const expression = constraints.find(({ name }) => name === constraint)?.expression ?? '';
  const paths = [READS_MEMBER, READS_FIELD].flatMap((pattern) =>
    [...expression.matchAll(pattern)].map(([, document, path]) =>
      [document, ...[...path!.matchAll(TEXTS)].map(([, name]) => name)].join('.'),
    ),
  );
  const words = new Set(expression.replaceAll(TEXTS, '').match(/\w+/g) ?? []);
  const named = columns.map(({ name }) => name).filter((name) => words.has(name));
  const isRead = (name: string) => paths.some((path) => path.startsWith(`${name}.`));
  const whole = [...(column === null ? [] : [column]), ...named.filter((name) => !isRead(name))];
  return [...new Set([...whole, ...paths])];
}

function statementFor(
  { column, constraint }: Misfit,
  table: DescribedTable,
  drift: readonly SchemaDrift[],
): string | null {
  if (constraint !== null) {
    return table.constraints.some(({ name }) => name === constraint) ? table.dropConstraint(constraint) : null;
  }
  if (column === null) return null;
  const found = table.columns.find(({ name }) => name === column);
  // Rows never carry a column that is not Weir's.
  if (found !== undefined && !found.isCarried) return table.allowAbsence(column);
  return drift.find(({ problem }) => problem.startsWith(`has the column ${column} as `))?.remedy ?? null;
}
