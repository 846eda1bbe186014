/** What is worth a write of its own. Thousands of rows sent one by one cost more than their insert. */
const PIECE_BYTES = 64 * 1024;

/** The same bytes in fewer pieces, each made when it is its turn. */
export function* inLargeChunks(chunks: Iterable<Buffer>): Generator<Buffer> {
  let piece: Buffer[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    piece.push(chunk);
    bytes += chunk.length;
    if (bytes < PIECE_BYTES) continue;
    yield piece.length === 1 ? chunk : Buffer.concat(piece, bytes);
    piece = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(piece, bytes);
}
