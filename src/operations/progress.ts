/** Dead letters that an action has finished with. */
export type DeadLettersDone = { readonly letters: number };

/** How an action reports its progress to its caller. */
export type Progress = {
  /** Wraps one query that may take long; `what` names it, as in `Counting`. */
  during<T>(what: string, work: Promise<T>): Promise<T>;
  /** After each step; throws to end the action there. `ids`: of the letters of the step, where the action tells them. */
  done(sum: DeadLettersDone, ids?: readonly string[]): void;
};

/** For callers without interest in progress. */
export const UNSEEN: Progress = { during: (_, work) => work, done: () => {} };
