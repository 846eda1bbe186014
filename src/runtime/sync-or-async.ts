/**
 * A value that is nearly always available at once. A promise for all of it would make every request wait turns of the
 * event loop for nothing.
 */
export type SyncOrAsync<T> = T | Promise<T>;

/** Uses the value: now where it is available, otherwise when it is. */
export function whenResolved<T, R>(value: SyncOrAsync<T>, use: (value: T) => SyncOrAsync<R>): SyncOrAsync<R> {
  return value instanceof Promise ? value.then(use) : use(value);
}
