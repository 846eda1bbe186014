/**
 * Work on a body in steps, so that the caller can do something else between them. A step is short for a large body; a
 * small one takes a single step.
 */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Two to four milliseconds of scanning or decoding. */
export const BYTES_A_STEP = 256 * 1024;
/**
 * A step ends after this many events, however short they are: decoding an empty one takes a tenth of the time of one of
 * 250 bytes.
 */
export const EVENTS_A_STEP = 4_096;

/** Does all of the work at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
