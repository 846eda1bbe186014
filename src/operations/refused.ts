/**
 * Why an action was not carried out, or not completed:
 *
 * - `invalid`: an argument is invalid.
 * - `not-found`: its subject does not exist.
 * - `conflict`: something else is in the way, perhaps only for a moment.
 * - `damaged`: stored data is unreadable.
 * - `store`: a store failed; repeating the action completes it.
 */
export type RefusalReason = 'invalid' | 'not-found' | 'conflict' | 'damaged' | 'store';

/** The message gives the reason and the remedy; it holds no event data. */
export class OperationRefused extends Error {
  override readonly name = 'OperationRefused';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
