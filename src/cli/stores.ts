/**
 * Selects the stores of a command: the configured ones, or those of the Weir that runs in the data directory.
 */
import type { ClickHouseClient } from '@clickhouse/client';
import type { Pool } from 'pg';
import type { Place } from '../clickhouse/connection/layout.ts';
import { clickHouseAccess, type Config } from '../config/config.ts';
import { createLog } from '../log/log.ts';
import type { EventOperations } from '../pipeline/operator-port.ts';
import type { EventStorage, EventStoreName } from '../pipeline/storage-port.ts';
import type { Database } from '../postgres/connection/pool.ts';
import { STORE_NAMES, namedEventStore, rememberedEventStore } from '../service/event-store.ts';
import { readRuntime } from '../service/runtime-file.ts';
import { CommandFailure, type Cli } from './cli.ts';

/** Where a store is and what named it, for messages. */
export type Found<T> = T & { readonly from: string };
export type ClickHouseAccess = {
  readonly url: string;
  readonly database: string;
  readonly username: string;
  readonly password: string;
  /** The key of the embedded one; null for a configured one. */
  readonly key: string | null;
};

/** The software that stores the events, as settings, the running Weir or the last start say. */
export function eventStoreOf(config: Config): EventStoreName {
  const named = namedEventStore(config);
  if (named !== null) return STORE_NAMES[named];
  const runtime = readRuntime(config.dataDir);
  if (runtime.kind === 'running' && runtime.url !== null)
    return runtime.clickhouseUrl === null ? 'Postgres' : 'ClickHouse';
  return STORE_NAMES[rememberedEventStore(config.dataDir) ?? 'clickhouse'];
}

export function findPostgres(config: Config): Found<{ readonly url: string }> {
  if (config.databaseUrl !== null) return { url: config.databaseUrl, from: 'DATABASE_URL' };
  const { databaseUrl, from } = runningInstance(config, 'DATABASE_URL');
  if (databaseUrl === null) throw stillStarting(config);
  return { url: databaseUrl, from };
}

export function findClickHouse(config: Config): Found<ClickHouseAccess> {
  const { url, database, username, password } = config.clickhouse;
  if (url !== null) return { url, database, username, password, key: null, from: 'CLICKHOUSE_URL' };
  const { url: ownUrl, clickhouseUrl, clickhouseKey: key, from } = runningInstance(config, 'CLICKHOUSE_URL');
  if (clickhouseUrl === null && ownUrl !== null)
    throw new CommandFailure(
      `CLICKHOUSE_URL is not set, and ${from} stores its events in Postgres. Set CLICKHOUSE_URL.`,
    );
  if (clickhouseUrl === null) throw stillStarting(config);
  const named = new URL(clickhouseUrl);
  const given = named.username === '' ? { username, password } : { username: null, password: null };
  const access = clickHouseAccess(named, given);
  return { ...access, url: access.url!, database, key, from };
}

function runningInstance({ dataDir }: Config, setting: string) {
  const runtime = readRuntime(dataDir);
  if (runtime.kind === 'running')
    return { ...runtime, from: `the Weir running in ${dataDir} (process ${runtime.pid})` };
  if (runtime.kind === 'unreadable') throw unreadable(dataDir, runtime);
  const why =
    runtime.kind === 'stale'
      ? `the Weir that ran in ${dataDir} (process ${runtime.pid}) is gone`
      : `no Weir is running in ${dataDir}`;
  const instead = setting === 'CLICKHOUSE_URL' ? ' (or EVENT_STORE=postgres, if that stores the events)' : '';
  throw new CommandFailure(
    `${setting} is not set and ${why}.\nStart one with \`npm start\`, or set ${setting}${instead}.`,
  );
}

/** The Weir of the data directory is not known, because this user may not look for it. */
export function unreadable(dataDir: string, { code }: { readonly code: string }): CommandFailure {
  return new CommandFailure(
    code === 'ENOTDIR'
      ? `WEIR_DATA_DIR ${dataDir} is not a directory (${code}).\nName the directory of the Weir, or set DATABASE_URL and CLICKHOUSE_URL.`
      : `WEIR_DATA_DIR ${dataDir} cannot be read (${code}).\nRun this as the user that Weir runs as, or set DATABASE_URL and CLICKHOUSE_URL.`,
  );
}

function stillStarting({ dataDir }: Config): CommandFailure {
  return new CommandFailure(`The Weir in ${dataDir} is still starting its stores. Try again in a moment.`);
}

/** Opens the database for `work` and closes it afterwards. */
export async function withPostgres<T>({ config }: Cli, work: (db: Database, pool: Pool) => Promise<T>): Promise<T> {
  const settings = config();
  const { url, from } = findPostgres(settings);
  const { createPostgres } = await import('../postgres/connection/pool.ts');
  const { pool, db } = createPostgres({ url, maxConnections: 1, statementMs: PATIENCE_MS }, createLog('silent'));
  try {
    return await work(db, pool);
  } catch (error) {
    const [{ PostgresFailure }, { explainFailure }] = await Promise.all([
      import('../postgres/connection/errors.ts'),
      import('../postgres/connection/connection-errors.ts'),
    ]);
    if (!(error instanceof PostgresFailure)) throw error;
    throw new CommandFailure(`${explainFailure(error)} (from ${from}).`, { cause: error });
  } finally {
    await pool.end();
  }
}

/** Deleting and counting may keep a store silent for a long time. */
const PATIENCE_MS = 15 * 60_000;

/** Opens a ClickHouse client for `work` and closes it afterwards. */
export async function withClickHouse<T>(
  { config }: Cli,
  work: (client: ClickHouseClient, place: Place) => Promise<T>,
): Promise<T> {
  const settings = config();
  const found = findClickHouse(settings);
  const [{ createClickHouse }, { explainFailure }, { NotClickHouse }] = await Promise.all([
    import('../clickhouse/connection/client.ts'),
    import('../clickhouse/connection/connection-errors.ts'),
    import('../clickhouse/connection/verified-answers.ts'),
  ]);
  const client = createClickHouse({ ...found, requestTimeoutMs: PATIENCE_MS });
  try {
    return await work(client, { database: found.database, cluster: settings.clickhouse.cluster });
  } catch (error) {
    const { PostgresFailure } = await import('../postgres/connection/errors.ts');
    // Errors of the driver carry a code; any other error belongs to the other store, is already explained, or is a bug.
    const isDrivers = error instanceof Error && typeof (error as { code?: unknown }).code === 'string';
    if (!(isDrivers || error instanceof NotClickHouse) || error instanceof PostgresFailure) throw error;
    throw new CommandFailure(`${explainFailure(error)} (from ${found.from}).`, { cause: error });
  } finally {
    await client.close();
  }
}

/** Opens the store of the events for `work` and closes it afterwards. */
export async function withEvents<T>(cli: Cli, work: (events: EventOperations) => Promise<T>): Promise<T> {
  const { clock } = cli;
  if (eventStoreOf(cli.config()) === 'Postgres') {
    return withPostgres(cli, async (_, pool) => {
      const { createEventOperations } = await import('../postgres/event-operations/event-operations.ts');
      return work(createEventOperations({ pool, clock }));
    });
  }
  return withClickHouse(cli, async (client, place) => {
    const { createEventOperations } = await import('../clickhouse/operations/event-operations.ts');
    return work(createEventOperations({ client, clock }, place));
  });
}

/** The store of the events in Postgres, opened for a command, which closes it. */
export async function openPostgresEventsOf({ config, clock }: Pick<Cli, 'config' | 'clock'>): Promise<EventStorage> {
  const settings = config();
  const { openPostgresEvents } = await import('../postgres/event-storage.ts');
  const { insertTimeoutMs } = settings;
  const limits = { maxInFlight: 1, insertTimeoutMs, maxQueries: 1, workers: 1 };
  return openPostgresEvents({ url: findPostgres(settings).url, ...limits }, { clock, log: createLog('silent') });
}
