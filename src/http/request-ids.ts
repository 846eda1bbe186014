/**
 * Makes the ids of requests that bring none of their own: no two are the same in
 * one process, and hardly in two. A UUID for each takes longer than routing it.
 *
 * `run` tells one process from another.
 */
export function createRequestIds(run: string): () => string {
  let made = 0;
  return () => {
    made += 1;
    return `${run}-${made.toString(36)}`;
  };
}
