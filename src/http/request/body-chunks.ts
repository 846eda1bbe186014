/** Smaller chunks are copied together. */
const SMALL_BYTES = 4 * 1024;
const BLOCK_BYTES = 16 * 1024;

/** Bytes that arrive in chunks. */
export type BodyChunks = {
  add(piece: Buffer): void;
  /** Everything added since the last call, as one Buffer. */
  take(): Buffer;
};

/**
 * Gathers chunks in little more memory than their bytes. A client may send single bytes, each of which would take some
 * hundred as a Buffer: two megabytes would take two hundred.
 */
export function gatherBodyChunks(): BodyChunks {
  let pieces: Buffer[] = [];
  let block: Buffer = Buffer.alloc(0);
  let start = 0;
  let end = 0;

  return {
    add(piece) {
      // Nearly always the first chunk is the only one.
      if (piece.length >= SMALL_BYTES || (pieces.length === 0 && end === start)) {
        closeChunk();
        pieces.push(piece);
        return;
      }
      if (piece.length > block.length - end) {
        closeChunk();
        block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
        start = end = 0;
      }
      end += piece.copy(block, end);
    },
    take() {
      closeChunk();
      const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
      pieces = [];
      return whole;
    },
  };

  function closeChunk() {
    if (end > start) pieces.push(block.subarray(start, end));
    start = end;
  }
}
