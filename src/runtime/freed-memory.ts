import type { Batch } from './batch.ts';
import type { Channel, Destination } from './channel-port.ts';

/**
 * Gives back the memory of rows that nothing will read again, instead of leaving it to the collection of garbage: rows
 * are most of what Weir allocates, and V8, which counts them, walks the whole heap once for every few batches. The
 * views of freed memory are empty. Nothing is freed that shares its memory with others, nor of a batch that is a dead
 * letter now: the end of an insert that was refused before it had arrived may still be on its way to a socket.
 */
export function freeRows({ chunks }: Pick<Batch, 'chunks'>, destination: Destination): void {
  if (destination === 'dead-lettered') return;
  for (const { buffer, byteLength } of chunks) {
    if (buffer.byteLength === byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
  }
}

/** The channel as the flusher sees it when there is no journal. */
export function memoryChannel(channel: Channel): Channel {
  return {
    ...channel,
    settle(batch, destination, takenOut) {
      channel.settle(batch, destination, takenOut);
      // What is told of the batch beside this has its turn first.
      queueMicrotask(() => freeRows(batch, destination));
    },
  };
}
