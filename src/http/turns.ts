/**
 * Turns for the work of large bodies. The event loop handles everything that has
 * arrived before it looks up again: a dozen bodies of which each takes two
 * milliseconds to decode would keep what the disk and the stores have answered
 * waiting for all of them, and with it the requests those answers are for.
 */
export type Turns = {
  /** When a body of that many bytes may be worked on; null for at once. First come, first served. */
  take(bytes: number): Promise<void> | null;
};

/**
 * A turn ends with the body that passes this: three to four milliseconds of decoding. Half and twice as much were
 * both slower with sixteen connections and the journal on (decision 18).
 */
const BYTES_PER_TURN = 256 * 1024;
/** Less than a quarter of a millisecond of decoding: single events shall not wait, nor be counted. Chosen, not measured. */
const SMALL_BYTES = 16 * 1024;

export function createTurns(): Turns {
  /** Only while nothing is left of the turn. */
  const waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  let bytesLeft = BYTES_PER_TURN;
  let isAnotherComing = false;

  return {
    take(bytes) {
      if (bytes < SMALL_BYTES) return null;
      arrangeAnother();
      if (bytesLeft > 0) {
        bytesLeft -= bytes;
        return null;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push({ bytes, go: resolve });
      return promise;
    },
  };

  function arrangeAnother() {
    if (isAnotherComing) return;
    isAnotherComing = true;
    setImmediate(turn);
  }

  function turn() {
    isAnotherComing = false;
    bytesLeft = BYTES_PER_TURN;
    while (bytesLeft > 0 && waiting.length > 0) {
      const { bytes, go } = waiting.shift()!;
      bytesLeft -= bytes;
      go();
    }
    if (bytesLeft < BYTES_PER_TURN) arrangeAnother();
  }
}
