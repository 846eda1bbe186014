/** A piece that is smaller is copied to its neighbours. */
const SMALL_BYTES = 4 * 1024;
const BLOCK_BYTES = 16 * 1024;

/** Bytes that arrive in pieces. */
export type Pieces = {
  add(piece: Buffer): void;
  /** Everything added since the last call, in one piece. */
  take(): Buffer;
};

/**
 * Gathers pieces in little more memory than their bytes. A client may send
 * single bytes, and as a Buffer each would take some hundred: two megabytes a gigabyte.
 */
export function gatherPieces(): Pieces {
  let pieces: Buffer[] = [];
  let block: Buffer = Buffer.alloc(0);
  let start = 0;
  let end = 0;

  return {
    add(piece) {
      // Nearly always the first piece is the only one.
      if (piece.length >= SMALL_BYTES || (pieces.length === 0 && end === start)) {
        closePiece();
        pieces.push(piece);
        return;
      }
      if (piece.length > block.length - end) {
        closePiece();
        block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
        start = end = 0;
      }
      end += piece.copy(block, end);
    },
    take() {
      closePiece();
      const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
      pieces = [];
      return whole;
    },
  };

  function closePiece() {
    if (end > start) pieces.push(block.subarray(start, end));
    start = end;
  }
}
