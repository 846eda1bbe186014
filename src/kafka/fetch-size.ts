/**
 * How much a broker may send of a partition, so that about as much is held as was allowed: it counts what is packed, and
 * rows unpack to a few times that, or to a hundred times where they are alike.
 */

export type FetchSize = {
  /** What the broker may send where `bytes` may be held. */
  packed(bytes: number): number;
  /** So much was sent of what was then held. */
  saw(packedBytes: number, bytes: number): void;
};

/** Of ordinary events. */
const USUAL_RATIO = 8;
/** Records are seldom smaller together with their heads; what is sent beyond what may be held is asked for again. */
const LEAST_BYTES = 16 * 1024;

export function createFetchSize(): FetchSize {
  let ratio = USUAL_RATIO;

  return {
    packed: (bytes) => Math.max(Math.min(bytes, LEAST_BYTES), Math.floor(bytes / ratio)),
    saw(packedBytes, bytes) {
      if (packedBytes === 0) return;
      const seen = Math.max(1, bytes / packedBytes);
      // Up at once and down by halves: a broker that sends too much sends it twice.
      ratio = Math.max(seen, (ratio + seen) / 2);
    },
  };
}
