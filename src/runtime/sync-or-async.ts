/**
 * A value that is nearly always available at once. A promise for all of it would make every request wait turns of the
 * event loop for nothing.
 */
export type SyncOrAsync<T> = T | Promise<T>;

/**
 * Uses the value: now where it is available, otherwise when it is. `of`: what `use` needs besides. On the way of every
 * request it is an argument, not a variable around a function made for that request: V8 gives up the optimized code of
 * a function when no instance of it is left at a collection, and such ones are gone before the next.
 */
export function whenResolved<T, R>(value: SyncOrAsync<T>, use: (value: T) => SyncOrAsync<R>): SyncOrAsync<R>;
export function whenResolved<T, R, Of>(
  value: SyncOrAsync<T>,
  use: (value: T, of: Of) => SyncOrAsync<R>,
  of: Of,
): SyncOrAsync<R>;
export function whenResolved<T, R, Of>(
  value: SyncOrAsync<T>,
  use: (value: T, of: Of) => SyncOrAsync<R>,
  of?: Of,
): SyncOrAsync<R> {
  return value instanceof Promise ? value.then((resolved: T) => use(resolved, of!)) : use(value, of!);
}
