/**
 * The stores, connected: where events go and are read, and where dead letters, projects, tokens and switches live. This
 * is the one place that chooses their software. Connecting waits for no store; one may be down.
 */
import { type ClickHouseAccess, openClickHouse } from '../clickhouse/event-storage.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Config } from '../config/config.ts';
import { QUERY_SLOTS } from '../http/read/query-slots.ts';
import type { Log } from '../log/log.ts';
import { failureOf } from '../pipeline/outcome.ts';
import type { EventStorage } from '../pipeline/storage-port.ts';
import { createPresence } from '../postgres/accounts/presence.ts';
import { createProjects } from '../postgres/accounts/projects.ts';
import { createSwitchboard } from '../postgres/accounts/switchboard.ts';
import { createSwitches } from '../postgres/accounts/switches.ts';
import { createTokens } from '../postgres/accounts/tokens.ts';
import { connectTrouble } from '../postgres/connection/connection-errors.ts';
import { createPostgresProbe } from '../postgres/connection/ping.ts';
import { createPostgres } from '../postgres/connection/pool.ts';
import { openPostgresEvents } from '../postgres/event-storage.ts';
import { createDeadLetters } from '../postgres/dead-letters/dead-letters.ts';
import { createDiskRoom } from '../postgres/dead-letters/disk-room.ts';
import { createLockedDeadLetters } from '../postgres/dead-letters/locked-dead-letters.ts';
import { createRejectedStore } from '../postgres/rejected-events/rejected-store.ts';

/** The addresses of the stores, whether configured or started here. */
export type StoreAccess = {
  readonly databaseUrl: string;
  /** null where Postgres stores the events. */
  readonly clickhouse: ClickHouseAccess | null;
};

export type ControlStorage = ReturnType<typeof openControlStorage>;

type StorageOptions = { readonly config: Config; readonly access: StoreAccess; readonly workers: number };
type StorageDeps = { readonly clock: Clock; readonly log: Log };

/** Look-ups, spills and the drain together; a Weir is a modest client of its Postgres. */
const POSTGRES_CONNECTIONS = 8;
/**
 * The same for one of several workers: all are clients of one Postgres, which accepts a hundred connections by default.
 */
const POSTGRES_CONNECTIONS_OF_WORKER = 4;
/** How much longer than an insert a lease lasts: the time of the statements around it. */
const LEASE_MARGIN_MS = 30_000;
/**
 * Where events are stored and read. The one place that chooses the software: an alternative implements `EventStorage`.
 */
export function openEventStorage({ config, access, workers }: StorageOptions, deps: StorageDeps): EventStorage {
  const { maxInFlight, insertTimeoutMs } = config;
  const limits = { maxInFlight, insertTimeoutMs, maxQueries: QUERY_SLOTS.maxAtOnce, workers };
  if (access.clickhouse === null) return openPostgresEvents({ url: access.databaseUrl, ...limits }, deps);
  const { database, cluster, insertQuorum } = config.clickhouse;
  return openClickHouse({ access: access.clickhouse, database, cluster, insertQuorum, ...limits }, deps);
}

/** Postgres: dead letters, projects, tokens, switches, and which processes run. */
export function openControlStorage({ config, access, workers }: StorageOptions, { clock, log }: StorageDeps) {
  const maxConnections = workers === 1 ? POSTGRES_CONNECTIONS : POSTGRES_CONNECTIONS_OF_WORKER;
  const { pool, db } = createPostgres({ url: access.databaseUrl, maxConnections }, log);
  const room = createDiskRoom({ db, clock, log }, config.deadLetters);
  const leaseMs = config.insertTimeoutMs + LEASE_MARGIN_MS;
  const probe = createPostgresProbe(pool, (isReadOnly) =>
    log[isReadOnly ? 'warn' : 'info']({}, isReadOnly ? 'postgres is read-only' : 'postgres accepts writes again'),
  );

  return {
    pool,
    projects: createProjects(db),
    tokens: createTokens(db),
    room,
    leaseMs,
    deadLetters: createDeadLetters(db, log, room),
    rejectedEvents: createRejectedStore(
      { db, log, hasRoom: () => room.shortSince() === null },
      { perProject: config.rejected.keep, keepForMs: config.rejected.keepForMs },
    ),
    lockedDeadLetters: createLockedDeadLetters({ pool, clock }, { lockMs: leaseMs }),
    switches: createSwitches(db),
    readDrainSwitch: () => createSwitchboard(db).read('drain'),
    presence: createPresence(db),
    probe,
    connectTrouble,
    usage: () => ({ connections: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: async () => void (await failureOf(pool.end())),
  };
}
