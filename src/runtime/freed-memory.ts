/**
 * The memory of buffers, given back when nothing will read them again, instead of being left to the collection of
 * garbage. For rows, which are most of what Weir allocates: V8 counts them, and walks the whole heap once for every few
 * batches (decision 68).
 */

/** What may still be on its way to a socket. */
const onItsWay = new WeakSet<ArrayBufferLike>();

/**
 * Nobody waits any more for the request that these were sent with, and its end may still be on its way to a socket:
 * their memory is never given back, whatever becomes of them.
 */
export function keepMemory(chunks: readonly Buffer[]): void {
  for (const { buffer } of chunks) onItsWay.add(buffer);
}

/** Views of what was given back are empty. Memory that others have a part of stays. */
export function freeMemory(chunks: readonly Buffer[]): void {
  for (const { buffer, byteLength } of chunks) {
    const isShared = buffer.byteLength !== byteLength || !(buffer instanceof ArrayBuffer);
    if (!isShared && !onItsWay.has(buffer)) buffer.transfer(0);
  }
}
