/**
 * Remembers why there is no connection to a store, for pages and logs: "does not answer" is wrong for a store that
 * refuses.
 */

export type ConnectionTrouble = {
  /** The reason of the last failure; null after an answer, or when the failure gives none. */
  reason(): string | null;
  /** Notes how the attempt ends, and passes its answer on. */
  watch<T>(answer: Promise<T>): Promise<T>;
};

/**
 * `describe`: a sentence without secrets, or null. `onNews` is called for every reason that differs from the previous
 * one.
 */
export function createConnectionTrouble(
  describe: (error: unknown) => string | null,
  onNews: (reason: string) => void,
): ConnectionTrouble {
  let reason: string | null = null;

  return {
    reason: () => reason,
    async watch(answer) {
      try {
        const answered = await answer;
        reason = null;
        return answered;
      } catch (error) {
        const next = describe(error);
        if (next !== null && next !== reason) onNews(next);
        reason = next;
        throw error;
      }
    },
  };
}
