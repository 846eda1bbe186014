/**
 * Real stores for integration tests: each caller its own servers, directory
 * and ports, so that files and whole test runs do not meet.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClickHouseClient } from '@clickhouse/client';
import { createClickHouse } from '../../src/clickhouse/client.ts';
import { startEmbeddedClickHouse } from '../../src/embedded/clickhouse.ts';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import type { EmbeddedStore } from '../../src/embedded/store-process.ts';
import { createLog } from '../../src/log.ts';
import { migrateStores } from '../../src/migrate.ts';
import { createPostgres } from '../../src/postgres/pool.ts';

/** A server one can hurt. It keeps its port and its data whatever is done to it. */
export type Server = {
  readonly url: string;
  readonly port: number;
  /** Of the present incarnation. */
  pid(): number;
  /** As `kill -9`; resolves when it is gone. */
  kill(): Promise<void>;
  /** As an operator stops it; resolves when it is gone. */
  stop(): Promise<void>;
  /** After `kill` or `stop`; resolves when it answers again. */
  start(): Promise<void>;
  /** Hangs it: connections open, nobody answers. */
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

/** Both servers, migrated unless told otherwise. */
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
    const migrating = migrateStores({ postgres: postgres.pool, clickhouse, database: DATABASE }, log);
    // Whoever fails to get the stores cannot stop them.
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

export const startClickHouseOnly = (): Promise<Discardable> => startServer('clickhouse', startEmbeddedClickHouse);

export const startPostgresOnly = (): Promise<Discardable> =>
  startServer('postgres', (at) => startEmbeddedPostgres({ ...at, durable: false }));

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
    },
    async stop() {
      resume();
      await store.stop();
    },
    async start() {
      store = await launch({ dir, port });
    },
    pause() {
      // The parent first, so that it does not wonder about its children.
      paused = processFamily(store.pid);
      for (const pid of paused) signal(pid, 'SIGSTOP');
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
    // Gone by itself meanwhile, which a test that kills does not mind.
  }
}
