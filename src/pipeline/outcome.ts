/** Awaits `work` and returns its failure as a value, for callers with a plan B. */
export async function failureOf(work: Promise<unknown>): Promise<Error | null> {
  try {
    await work;
    return null;
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error('non-Error thrown', { cause: thrown });
  }
}
