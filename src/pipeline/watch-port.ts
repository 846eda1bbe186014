/** What somebody who looks at events on their way is told, while somebody does. */
import type { Envelope, ProjectId } from '../event/event.ts';
import type { Accepted } from './accept.ts';
import type { Batch } from './batch.ts';
import type { Channel, Destination, OfferRefusal } from './channel-port.ts';

/** A request of which events were accepted, or all rejected. */
export type WatchedRequest = {
  readonly requestId: string;
  readonly projectId: ProjectId;
  /** Epoch ms; every row of it has this arrival. */
  readonly receivedAt: number;
  readonly rejected: number;
  /** How safe its sender wants the events to be. */
  readonly ack: string;
};

/** Every function returns at once and throws nothing. */
export type Watcher = {
  /**
   * `envelope`: null where no event was accepted; `reached`: how safe the others become. Returns the request's number, for
   * `refused`.
   */
  took(request: WatchedRequest, envelope: Envelope | null, reached: Promise<Accepted | OfferRefusal> | null): number;
  /** In the end the request was refused as a whole: there was no room for it, or the journal failed. */
  refused(request: number): void;
  /** The batch was cut: its chunks are the rows of envelopes, the same objects. */
  cut(batch: Batch): void;
  settled(batch: Batch, destination: Destination, takenOut: readonly number[]): void;
};

/** Where a watcher is looked for: null unless somebody looks. */
export type WatchPoint = { watcher: Watcher | null };

/** The channel, whose batches the watcher is told of. */
export function watchedChannel(channel: Channel, point: WatchPoint): Channel {
  return {
    ...channel,
    async take() {
      const batch = await channel.take();
      if (batch !== null) point.watcher?.cut(batch);
      return batch;
    },
    settle(batch, destination, takenOut = []) {
      // Behind it nothing reads the rows.
      point.watcher?.settled(batch, destination, takenOut);
      channel.settle(batch, destination, takenOut);
    },
  };
}
