import { freeMemory } from '../runtime/freed-memory.ts';
import type { Channel } from './channel-port.ts';

/** The channel as the flusher sees it when there is no journal: what has settled is nowhere any more. */
export function memoryChannel(channel: Channel): Channel {
  return {
    ...channel,
    settle(batch, destination, takenOut) {
      channel.settle(batch, destination, takenOut);
      freeMemory(batch.chunks);
    },
  };
}
