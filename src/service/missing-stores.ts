/** Starts the stores that no setting names, for trying Weir out. */
import { join } from 'node:path';
import type { Io } from '../runtime/io.ts';
import { systemClock } from '../runtime/clock.ts';
import { type Config, clickHouseAccess } from '../config/config.ts';
import type { KeptStore } from '../embedded/keep-running.ts';
import type { Log } from '../log/log.ts';
import type { EventStoreChoice } from './event-store.ts';
import type { StoreAccess } from '../composition/storage.ts';

type KeptClickHouse = KeptStore & { readonly key: string };

/** Where the stores are, and which of them were started. */
export type Embedded = { readonly access: StoreAccess; readonly stores: readonly KeptStore[] };

/**
 * Starts each store that is not configured; `eventStore`: null where this process stores no events. The engines are loaded only then: production does not install them. Null
 * when `signal` aborted first; then none of them is left running.
 */
export async function startMissingStores(
  config: Config,
  eventStore: EventStoreChoice | null,
  { log, io, signal }: { log: Log; io: Io; signal: AbortSignal },
): Promise<Embedded | null> {
  const starting: Promise<KeptStore>[] = [];
  const options = { clock: systemClock, log };
  // A restart has a signal of its own: the store is needed until the last event is stored.
  const place = (dir: string, port?: number, stopping: AbortSignal = signal) => ({
    dir,
    ...(port !== undefined && { port }),
    signal: stopping,
    ...options,
  });
  const startStore = <T extends KeptStore>(load: () => Promise<T>) => {
    if (starting.length === 0) io.stderr('Starting the embedded stores…\n');
    const started = load();
    starting.push(started);
    return started;
  };
  const clickhouse =
    eventStore === 'clickhouse' && config.clickhouse.url === null
      ? startStore(async (): Promise<KeptClickHouse> => {
          const { newKey, startEmbeddedClickHouse } = await import('../embedded/clickhouse.ts');
          const { keepRunning } = await import('../embedded/keep-running.ts');
          const dir = join(config.dataDir, 'clickhouse');
          // One key for all its restarts: the same clients keep using it.
          const key = newKey();
          const start = (...again: [port?: number, stopping?: AbortSignal]) =>
            startEmbeddedClickHouse({ ...place(dir, ...again), key });
          return { ...(await keepRunning('clickhouse', start, options)), key };
        })
      : null;
  const postgres =
    config.databaseUrl === null
      ? startStore(async () => {
          const { startEmbeddedPostgres } = await import('../embedded/postgres.ts');
          const { keepRunning } = await import('../embedded/keep-running.ts');
          const dir = join(config.dataDir, 'postgres');
          return keepRunning('postgres', (...again) => startEmbeddedPostgres(place(dir, ...again)), options);
        })
      : null;

  const settled = await Promise.allSettled(starting);
  const stores = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed || signal.aborted) {
    await Promise.all(stores.map((store) => store.stop()));
    if (signal.aborted) return null;
    throw failed!.reason;
  }
  return {
    stores,
    access: {
      databaseUrl: config.databaseUrl ?? (await postgres!).url,
      clickhouse: clickhouse ? accessTo(await clickhouse) : configured(),
    },
  };

  function configured() {
    return eventStore !== 'clickhouse' ? null : { ...config.clickhouse, url: config.clickhouse.url!, key: null };
  }
}

const accessTo = ({ url, key }: KeptClickHouse) => {
  const access = clickHouseAccess(new URL(url), { username: null, password: null });
  return { ...access, url: access.url!, key };
};
