/** What is nearly always there at once. A promise for all of it would let every request wait turns for nothing. */
export type Awaitable<T> = T | Promise<T>;

/** The value, used: now where it is there, otherwise when it is. */
export function whenThere<T, R>(value: Awaitable<T>, use: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(use) : use(value);
}
