import { InsertFailure } from './ports.ts';

/** Awaits `work` and returns its failure as a value, for callers with a plan B. */
export async function failureOf(work: Promise<unknown>): Promise<Error | null> {
  try {
    await work;
    return null;
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error('non-Error thrown', { cause: thrown });
  }
}

/** What a store threw, as a failure. What nobody foresaw may have landed: never a reason to drop or to blame rows. */
export function asInsertFailure(thrown: Error | null): InsertFailure | null {
  if (thrown === null || thrown instanceof InsertFailure) return thrown;
  return new InsertFailure('insert failed in an unforeseen way', { failureClass: 'ambiguous', cause: thrown });
}
