/**
 * Which rows of a refused batch Postgres does not take: each is really stored, by itself, in a transaction that is
 * rolled back (`analytics.inspect_rows`). An ordinary event goes the same way, so that a table which refuses everything
 * is told from rows that are bad.
 */
import { idsOf, ordinaryRow } from '../../event/rows.ts';
import type { Inspection, InsertFailure } from '../../pipeline/ports.ts';
import { classOf, type Origin, refusalOf } from './insert-failures.ts';
import { readableRow } from './readable-row.ts';
import type { Run } from './transactions.ts';

/** What `analytics.inspect_rows` says of a row that it could not read or store; `place` counts from 0. */
type Refused = {
  readonly place: number;
  readonly isRead: boolean;
  readonly state: string;
  readonly constraint: string;
  readonly column: string;
};

/** Tries each row, and stores it only if `isStoring`. Throws the `InsertFailure` of what says nothing about the rows. */
export async function tryRows(
  run: Run,
  rows: readonly Buffer[],
  { isStoring }: { isStoring: boolean },
): Promise<readonly Refused[]> {
  const readable = rows.map(readableRow);
  const { rows: refused } = await run<Refused>(
    `SELECT place, is_read AS "isRead", state, "constraint", "column" FROM analytics.inspect_rows($1, $2, $3)`,
    [Buffer.concat(readable), readable.map(({ length }) => length), isStoring],
  );
  const other = refused.find((one) => classOf(one.state, originOf(one)) !== 'data');
  if (other) throw failureOf(other);
  return refused;
}

/** As `EventStore.inspect` promises. `ordinary`: of `ordinaryBeside`. */
export async function inspectRows(run: Run, rows: readonly Buffer[], ordinary: Buffer): Promise<Inspection> {
  // A constraint that is only checked at the end of a transaction is one that each row has to meet.
  await run('SET CONSTRAINTS ALL IMMEDIATE');
  const refused = await tryRows(run, [...rows, ordinary], { isStoring: true });
  const byCause = Map.groupBy(refused, causeOf);
  const refusals = [...byCause.values()].map((same) => ({
    failure: failureOf(same[0]!),
    rows: same.map(({ place }) => place).filter((place) => place < rows.length),
    when: whenOf(same[0]!),
    isOrdinaryRefused: same.some(({ place }) => place === rows.length),
    misfit: misfitOf(same[0]!),
  }));
  return { refusals: refusals.filter((refusal) => refusal.rows.length > 0), isComplete: true };
}

export const failureOf = (refused: Refused): InsertFailure =>
  refusalOf(refused.state, whenOf(refused), originOf(refused));

const whenOf = ({ isRead }: Refused): 'reading' | 'storing' => (isRead ? 'storing' : 'reading');
const originOf = ({ constraint, column }: Refused): Origin => ({ constraint, column });
const misfitOf = ({ constraint, column }: Refused) => ({
  ...(column && { column }),
  ...(constraint && { constraint }),
});
const causeOf = (refused: Refused) =>
  JSON.stringify([whenOf(refused), refused.state, refused.constraint, refused.column]);

/** An ordinary event that arrived with these rows, or `now` where none of them tells: it finds the partition that they do. */
export function ordinaryBeside(rows: readonly Buffer[], now: number): Buffer {
  const arrivals = rows.map((row) => Date.parse(idsOf(row)?.receivedAt ?? ''));
  return ordinaryRow(arrivals.find(Number.isFinite) ?? now);
}
