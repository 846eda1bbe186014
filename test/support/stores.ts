/**
 * Real stores for integration tests: each caller has its own servers, directory and ports, so that files and whole test
 * runs do not collide.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { createClickHouse } from '../../src/clickhouse/connection/client.ts';
import { startEmbeddedClickHouse } from '../../src/embedded/clickhouse.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import type { EmbeddedStore } from '../../src/embedded/store-process.ts';
import { createLog } from '../../src/log/log.ts';
import { openPostgresEvents } from '../../src/postgres/event-storage.ts';
import { createEventSchema } from '../../src/clickhouse/migrations/event-schema.ts';
import { migrateStores } from '../../src/composition/migrate-stores.ts';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { createPostgres } from '../../src/postgres/connection/pool.ts';
import { migratePostgres, withMigrationLock } from '../../src/postgres/migrations/migrate.ts';
import { systemClock } from '../../src/runtime/clock.ts';

/** A server that tests can damage. It keeps its port and its data throughout. */
export type Server = {
  readonly url: string;
  readonly port: number;
  /** Of the current process. */
  pid(): number;
  /** Like `kill -9`; resolves when it is gone. */
  kill(): Promise<void>;
  /** Stops it as an operator would; resolves when it is gone. */
  stop(): Promise<void>;
  /** After `kill` or `stop`; resolves when it answers again. */
  start(): Promise<void>;
  /** Freezes it: connections open, but get no answer. */
  pause(): void;
  resume(): void;
};

export type Stores = {
  readonly clickhouseUrl: string;
  readonly databaseUrl: string;
  readonly database: string;
  readonly clickhouse: ClickHouseClient;
  readonly postgres: ReturnType<typeof createPostgres>;
  readonly clickhouseServer: Server;
  readonly postgresServer: Server;
  /** Rows of a ClickHouse query, as objects. */
  select<Row = Record<string, unknown>>(query: string): Promise<Row[]>;
  /** Closes the clients, ends the servers, removes the data. */
  stop(): Promise<void>;
};

const DATABASE = 'analytics';

/** Both servers, open to every client of this machine, migrated by default. */
export async function startStores({ isMigrated = true }: { isMigrated?: boolean } = {}): Promise<Stores> {
  const [clickhouseServer, postgresServer] = await Promise.all([startClickHouseOnly(), startPostgresOnly()]);
  const log = createLog('silent');
  const clickhouse = createClickHouse({ url: clickhouseServer.url, database: DATABASE, maxConnections: 16 });
  const postgres = createPostgres({ url: postgresServer.url, maxConnections: 10 }, log);
  const stop = async () => {
    await Promise.all([clickhouse.close(), postgres.pool.end()]);
    await Promise.all([clickhouseServer.discard(), postgresServer.discard()]);
  };
  if (isMigrated) {
    const migrating = migrateStores({ postgres: postgres.pool, events: createEventSchema(clickhouse, DATABASE) }, log);
    // A caller that gets no stores cannot stop them.
    await migrating.catch(async (error: unknown) => {
      await stop();
      throw error;
    });
  }

  return {
    clickhouseUrl: clickhouseServer.url,
    databaseUrl: postgresServer.url,
    database: DATABASE,
    clickhouse,
    postgres,
    clickhouseServer,
    postgresServer,
    async select<Row>(query: string) {
      const answer = await clickhouse.query({ query, format: 'JSONEachRow' });
      return answer.json<Row>();
    },
    stop,
  };
}

type Discardable = Server & { discard(): Promise<void> };

export const startClickHouseOnly = (): Promise<Discardable> =>
  startServer('clickhouse', (at) => startEmbeddedClickHouse({ ...at, key: null }));

/** `isDurable`: it waits for the disk, as a Postgres does outside of tests. */
export const startPostgresOnly = ({ isDurable = false } = {}): Promise<Discardable> =>
  startServer('postgres', async (at) => {
    const store = await startEmbeddedPostgres({ ...at, durable: isDurable });
    // Tests change settings of the server, and create roles and databases.
    return { ...store, url: superuserUrlOf(at.dir, store.port) };
  });

/** A Postgres alone with Weir's tables, and a pool on it. */
export async function startMigratedPostgres({ maxConnections = 4 } = {}) {
  const server = await startPostgresOnly();
  const postgres = createPostgres({ url: server.url, maxConnections }, createLog('silent'));
  const stop = async () => {
    await postgres.pool.end();
    await server.discard();
  };
  // A caller that gets no Postgres cannot stop it.
  await withMigrationLock(postgres.pool, systemClock, migratePostgres).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { server, postgres, stop };
}

/** The same server as an administrator may have set it: with another isolation for transactions that state none. */
export function isolatedUrl(url: string, level: string): string {
  const isolated = new URL(url);
  isolated.searchParams.set('options', `-c default_transaction_isolation=${level.replace(' ', String.raw`\ `)}`);
  return isolated.href;
}

export type PostgresStores = Pick<Stores, 'databaseUrl' | 'postgres' | 'postgresServer' | 'select' | 'stop'>;

/** A Postgres that stores the events too, open to every client of this machine and migrated. */
export async function startPostgresStores({ isDurable = false } = {}): Promise<PostgresStores> {
  const server = await startPostgresOnly({ isDurable });
  const log = createLog('silent');
  const postgres = createPostgres({ url: server.url, maxConnections: 10 }, log);
  const limits = { maxInFlight: 1, insertTimeoutMs: 10_000, maxQueries: 1, workers: 1 };
  const { schema, close } = openPostgresEvents({ url: server.url, ...limits }, { clock: systemClock, log });
  const stop = async () => {
    await postgres.pool.end();
    await server.discard();
  };
  try {
    await migrateStores({ postgres: postgres.pool, events: schema }, log);
  } catch (error) {
    // A caller that gets no stores cannot stop them.
    await stop();
    throw error;
  } finally {
    await close();
  }
  return {
    databaseUrl: server.url,
    postgres,
    postgresServer: server,
    async select<Row>(query: string) {
      return (await postgres.pool.query(query)).rows as Row[];
    },
    stop,
  };
}

/** The plaintext of a public token of a new project. */
export async function newProjectToken({ postgres: { db } }: Pick<Stores, 'postgres'>, name: string): Promise<string> {
  const { id } = await createProjects(db).create({ name, retentionSeconds: null, allowedOrigins: [] });
  return (await createTokens(db).create({ projectId: id, kind: 'public', name: null, imported: null }))!.plaintext;
}

/** For an embedded Postgres: the superuser, which Weir may not be. */
export function superuserUrlOf(dir: string, port: number): string {
  const password = readFileSync(join(dir, 'data', 'weir-password'), 'utf8');
  return `postgres://weir:${password}@127.0.0.1:${port}/weir`;
}

async function startServer(
  name: string,
  launch: (at: { dir: string; port?: number }) => Promise<EmbeddedStore>,
): Promise<Discardable> {
  const dir = await mkdtemp(join(tmpdir(), `weir-${name}-`));
  let store = await launch({ dir });
  const { url, port } = store;
  let paused: readonly number[] = [];
  const resume = () => {
    for (const pid of paused) signal(pid, 'SIGCONT');
    paused = [];
  };

  return {
    url,
    port,
    pid: () => store.pid,
    async kill() {
      const family = processFamily(store.pid);
      paused = [];
      for (const pid of family) signal(pid, 'SIGKILL');
      await store.exited;
      await endedIn(join(dir, 'data'));
    },
    async stop() {
      resume();
      await store.stop();
    },
    async start() {
      store = await launch({ dir, port });
    },
    pause() {
      // The parent first, so that it does not react to its children.
      paused = processFamily(store.pid);
      for (const pid of paused) signal(pid, 'SIGSTOP');
      for (const pid of paused) waitUntilStopped(pid);
    },
    resume,
    async discard() {
      resume();
      await store.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The process and its children: every Postgres connection is a process of its own. */
function processFamily(pid: number): readonly number[] {
  const children = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((candidate) => parentOf(candidate) === pid);
  return [pid, ...children];
}

/**
 * Kills what still runs in the directory, and resolves when nothing does: a connection that was accepted a moment ago
 * has a process that its parent's list does not have yet, and one in the middle of a write ends after it.
 */
async function endedIn(dir: string): Promise<void> {
  for (let left = processesIn(dir); left.length > 0; left = processesIn(dir)) {
    for (const pid of left) signal(pid, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const processesIn = (dir: string): readonly number[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && directoryOf(entry) === dir)
    .map(Number);

const STOPPED_WITHIN_MS = 5_000;

/**
 * The embedded ClickHouse yields to everything else: on a busy machine the thread that is to hear of the signal may get
 * its turn long after others have served a request. Blocks, as the caller expects the server to be frozen.
 */
function waitUntilStopped(pid: number): void {
  const moment = new Int32Array(new SharedArrayBuffer(4));
  const deadline = performance.now() + STOPPED_WITHIN_MS;
  while (threadsOf(pid).some((thread) => !/^[TtZX]$/.test(stateOf(pid, thread)))) {
    if (performance.now() > deadline) throw new Error(`process ${pid} does not stop`);
    Atomics.wait(moment, 0, 0, 1);
  }
}

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // It has ended.
  }
}

function stateOf(pid: number, thread: string): string {
  try {
    return readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ').at(-1)![0]!;
  } catch {
    return 'X'; // It ended between the listing and the look.
  }
}

function directoryOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null; // It has ended, or is another user's.
  }
}

function parentOf(pid: number): number | null {
  try {
    // "pid (name) state parent …"; the name may hold spaces and parentheses.
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]);
  } catch {
    return null; // It ended between the listing and the look.
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself in the meantime, which is fine for a test that kills.
  }
}
