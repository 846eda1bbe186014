/** What clients read of events in Postgres. Creating it makes no connection. */
import type { Log } from '../../log/log.ts';
import { ReadFailure } from '../../pipeline/read-ports.ts';
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
  const unavailable = { kind: 'unavailable', isForOperator: true, clickhouse: null } as const;
  return {
    open: () => ({
      countEvents: () =>
        Promise.reject(new ReadFailure('events in Postgres cannot be read yet', { kind: 'unavailable' })),
      projectReader: {
        query: () => Promise.resolve(unavailable),
        stopped: () => Promise.resolve(),
        schema: () => Promise.resolve(unavailable),
      },
      queryLimits: { maxExecutionS: 30, maxRows: 10_000, maxResultBytes: 10 * 1024 * 1024 },
    }),
    close: () => Promise.resolve(),
  };
}
