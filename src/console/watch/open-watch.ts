/** The watching part of one console, with connections of its own. Opening makes none; a store may be down. */
import { openEventOperations } from '../../composition/event-operations.ts';
import type { StoreAccess } from '../../composition/storage.ts';
import type { Config } from '../../config/config.ts';
import type { Log } from '../../log/log.ts';
import { failureOf } from '../../pipeline/outcome.ts';
import { createPostgres } from '../../postgres/connection/pool.ts';
import type { Clock } from '../../runtime/clock.ts';
import { type Watch, type WatchParts, createWatch } from './watch.ts';

export type OpenedWatch = Pick<Watch, 'routes' | 'receive'> & {
  /** Ends all streams, then closes the connections. Never rejects. */
  close(): Promise<void>;
};

export type WatchAccess = Pick<WatchParts['service'], 'order' | 'findPending'> & {
  readonly config: Config;
  readonly access: StoreAccess;
  readonly serviceUrl: string;
};

/** Two look for events at a time, in three places each. */
const CONNECTIONS = 4;
/** A person waits for it. */
const WITHIN_MS = 15_000;

export function openWatch(
  { config, access, serviceUrl, order, findPending }: WatchAccess,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): OpenedWatch {
  const stopping = new AbortController();
  const postgres = { url: access.databaseUrl, maxConnections: CONNECTIONS, statementMs: WITHIN_MS };
  const { pool, db } = createPostgres(postgres, log);
  const events = openEventOperations({ config, access }, { pool, clock, patienceMs: WITHIN_MS });
  const watch = createWatch({
    service: { url: serviceUrl, metricsToken: config.metricsToken, order, findPending },
    stores: { db, events: config.role === 'ingest' ? null : events.operations },
    hasTopic: config.kafka !== null,
    clock,
  });
  const running = watch.run(stopping.signal);
  return {
    routes: watch.routes,
    receive: watch.receive,
    async close() {
      stopping.abort();
      await running;
      await Promise.all([failureOf(pool.end()), events.close()]);
    },
  };
}
