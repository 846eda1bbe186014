/** Dead letters that an action has finished with. */
export type DeadLettersDone = { readonly letters: number };

/** How an action reports its progress to its caller. */
export type Progress = {
  /** Wraps one query that may take long; `what` names it, as in `Counting`. */
  during<T>(what: string, work: Promise<T>): Promise<T>;
  /** After each step. */
  done(sum: DeadLettersDone): void;
};

/** For callers without interest in progress. */
export const UNSEEN: Progress = { during: (_, work) => work, done: () => {} };
