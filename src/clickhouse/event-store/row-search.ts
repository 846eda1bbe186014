/**
 * Finds the rows on which an attempt fails, one by one: take the store's hint,
 * verify it on that row alone, and where there is no hint or it was wrong,
 * bisect. The hint comes out of a text that quotes rows, so it may mislead; it
 * can cost statements, never a good row. Only a failure of class `data` counts
 * against rows: an unexplained failure may be chance.
 */
import { failureOf } from '../../pipeline/outcome.ts';
import { InsertFailure } from '../../pipeline/ports.ts';

/** How many more statements a search may spend. */
export type Budget = { left: number };

export type Found = {
  /** Rows proved bad one by one, by index, with the failure of each. */
  readonly bad: ReadonlyMap<number, InsertFailure>;
  /** Whether the attempt succeeds on all others together; false when the budget or the store ended the search. */
  readonly isComplete: boolean;
  /** The failure that ended the search although it says nothing about rows. */
  readonly interruptedBy: InsertFailure | null;
};

/** Told the rows and where they stand among all; throws `InsertFailure` when it fails on them. */
export type Attempt = (rows: readonly Buffer[], indexes: readonly number[]) => Promise<void>;

/** Thrown inside the search when the store has other trouble than the rows. */
class Interrupted extends Error {
  readonly failure: InsertFailure;

  constructor(failure: InsertFailure) {
    super('search interrupted');
    this.failure = failure;
  }
}

export async function findRefusedRows(rows: readonly Buffer[], attempt: Attempt, budget: Budget): Promise<Found> {
  const bad = new Map<number, InsertFailure>();
  try {
    for (;;) {
      const candidates = [...rows.keys()].filter((index) => !bad.has(index));
      const refusal = await refusalOf(candidates);
      if (refusal === null) return { bad, isComplete: true, interruptedBy: null };
      if (refusal === 'unaffordable') break;
      const culprit = (await verifiedHint(candidates, refusal)) ?? (await bisect(candidates));
      if (culprit === null) break;
      bad.set(culprit.index, culprit.failure);
    }
    return { bad, isComplete: false, interruptedBy: null };
  } catch (error) {
    if (error instanceof Interrupted) return { bad, isComplete: false, interruptedBy: error.failure };
    throw error;
  }

  /** What the store says of these rows together: null when it reads them all. */
  async function refusalOf(indexes: readonly number[]): Promise<InsertFailure | 'unaffordable' | null> {
    if (indexes.length === 0) return null;
    if (budget.left <= 0) return 'unaffordable';
    budget.left--;
    const error = await failureOf(
      attempt(
        indexes.map((index) => rows[index]!),
        indexes,
      ),
    );
    if (error === null) return null;
    if (!(error instanceof InsertFailure)) throw error;
    if (error.failureClass !== 'data') throw new Interrupted(error);
    return error;
  }

  async function verifiedHint(candidates: readonly number[], { rowHint }: InsertFailure) {
    const index = rowHint === null ? undefined : candidates[rowHint];
    return index === undefined ? null : culpritAt(index);
  }

  /** The first bad row, in about log2(n) statements; null when the budget ends before. */
  async function bisect(candidates: readonly number[]) {
    let readable = 0;
    let refused = candidates.length;
    while (refused - readable > 1) {
      const middle = Math.floor((readable + refused) / 2);
      const refusal = await refusalOf(candidates.slice(readable, middle));
      if (refusal === 'unaffordable') return null;
      if (refusal === null) readable = middle;
      else refused = middle;
    }
    return culpritAt(candidates[readable]!);
  }

  async function culpritAt(index: number) {
    const failure = await refusalOf([index]);
    return failure instanceof InsertFailure ? { index, failure } : null;
  }
}
