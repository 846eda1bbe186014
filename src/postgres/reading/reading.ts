/** What clients read of events in Postgres. Creating it makes no connection. */
import type { Log } from '../../log/log.ts';
import type { EventReading } from '../../pipeline/storage-port.ts';
import type { Clock } from '../../runtime/clock.ts';

export type ReadingOptions = {
  /** Of the database that has the events. */
  readonly url: string;
  /** Concurrent queries about projects. */
  readonly maxQueries: number;
  /** Processes that share the limits on counting. */
  readonly workers: number;
};

export type Reading = {
  /** Call it once. `downSignal` aborts while the store is known to be down; `stopping` ends what runs. */
  open(signals: { readonly downSignal: () => AbortSignal; readonly stopping: AbortSignal }): EventReading;
  /** Closes the connections. Never rejects. */
  close(): Promise<void>;
};

/**
 * Connections of its own, so that no insert waits behind a question. `analytics.event_counts_hourly` has the first 200
 * characters of a channel.
 */
export function createReading(_options: ReadingOptions, _deps: { clock: Clock; log: Log }): Reading {
  return {
    open() {
      throw new Error('events in Postgres cannot be read yet');
    },
    close: () => Promise.resolve(),
  };
}
