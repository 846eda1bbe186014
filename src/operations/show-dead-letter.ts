/** A dead letter as it may be displayed: its rows without the values of events, unless they are requested. */
import { splitRows } from '../event/rows.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { type DeadLetterEntry, createDeadLetterQueries } from '../postgres/dead-letters/dead-letter-queries.ts';
import { PLAIN_FIELDS, jsonOrText, shownObject, unquoted } from './hidden-values.ts';
import { OperationRefused } from './refused.ts';

export type ShownDeadLetter = {
  readonly letter: DeadLetterEntry;
  readonly isReadable: boolean;
  /** The first rows, each as text. */
  readonly rows: readonly string[];
  /** Rows that are not shown. */
  readonly more: number;
};

/** `isUnsafe`: with the values, which may be personal data. Throws `OperationRefused`, `PostgresFailure`. */
export async function showDeadLetter(
  db: Database,
  { id, maxRows, isUnsafe }: { id: string; maxRows: number; isUnsafe: boolean },
): Promise<ShownDeadLetter> {
  const opened = await createDeadLetterQueries(db).open(id);
  if (opened === null) {
    throw new OperationRefused(
      'not-found',
      `There is no dead letter ${id}. \`weir dlq audit --letter ${id}\` says what happened to it.`,
    );
  }
  const { rows, letter } = opened;
  const all = rows === null ? [] : splitRows(rows);
  const shown = all.slice(0, maxRows).map((row) => shownObject(row, { isUnsafe, plain: PLAIN_FIELDS }));
  return {
    letter: { ...letter, lastError: isUnsafe ? letter.lastError : unquoted(letter.lastError) },
    isReadable: rows !== null,
    rows: shown,
    more: all.length - shown.length,
  };
}

/** A shown row as JSON, with the number by which it is chosen for a replay of its own. */
export function numbered(row: string, place: number): object {
  const shown = jsonOrText(row);
  return { number: place + 1, ...(typeof shown === 'object' ? shown : { text: row }) };
}
