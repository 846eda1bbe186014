/** Real stores behind fault proxies, a project with a token, and Weirs as real processes between. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createWriteStream, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProjects } from '../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../src/postgres/accounts/tokens.ts';
import { readRuntime } from '../../src/service/runtime-file.ts';
import { freePort } from '../support/ports.ts';
import { type HttpProxy, type TcpProxy, startHttpProxy, startTcpProxy } from '../support/fault-proxy.ts';
import { type Kafka, startKafka } from '../support/kafka.ts';
import { isSkipped, moveToSmallDisk, type SmallDisk } from '../support/small-disk.ts';
import { type PostgresStores, type Stores, startPostgresStores, startStores } from '../support/stores.ts';
import { MAIN, NODE_FLAGS } from '../support/weir.ts';

/** One place where a Weir runs: its data directory outlives its processes. */
export type WeirPlace = {
  readonly dataDir: string;
  readonly logFile: string;
  /** Of the running process; null while there is none. */
  url(): string | null;
  pid(): number | null;
  /** Resolves when it listens. `more`: settings for this process only. */
  start(more?: Record<string, string>): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP, as a machine that swaps or a hypervisor that migrates it does; and SIGCONT. */
  freeze(): void;
  thaw(): void;
  /** How often it ended without being told to. */
  crashes(): number;
  /** Stops reading what it logs, as a collector that hangs, and goes on. */
  blockLog(): void;
  readLog(): void;
};

export type Rig = {
  readonly stores: Stores;
  readonly clickhouse: HttpProxy;
  readonly postgres: TcpProxy;
  /** What holds the tables of Postgres, where asked for and possible; null elsewhere. */
  readonly disk: SmallDisk | null;
  readonly projectId: string;
  readonly token: string;
  /** A place for one more Weir; nothing runs yet. */
  place(name: string, env?: Record<string, string>): WeirPlace;
  /** Ends everything and removes the data. Processes that still run are killed. */
  stop(options?: { keepLogs?: boolean }): Promise<void>;
};

/** The same around a Postgres that stores the events too. */
export type PostgresRig = Omit<Rig, 'stores' | 'clickhouse' | 'disk'> & {
  readonly stores: PostgresStores;
  readonly clickhouse: null;
};

const POLL_MS = 20;

/** Everything quicker than in production, so that a minute sees many cycles. */
const QUICK = {
  INGEST_FLUSH_INTERVAL: '200ms',
  INGEST_INSERT_TIMEOUT: '3s',
  INGEST_SHUTDOWN_GRACE: '10s',
  DLQ_DRAIN_INTERVAL: '300ms',
  LOG_LEVEL: 'info',
};

/** `diskMiB`: the size of a disk for the tables of Postgres alone; needs root, without which there is none outside CI. */
export async function startRig({ diskMiB = null }: { diskMiB?: number | null } = {}): Promise<Rig> {
  const stores = await startStores();
  const disk = diskMiB !== null && !isSkipped ? await moveToSmallDisk(stores, diskMiB) : null;
  const clickhouse = await startHttpProxy(stores.clickhouseUrl);
  const { stop, ...rig } = await startPlaces(stores, { CLICKHOUSE_URL: clickhouse.url });
  return {
    stores,
    clickhouse,
    disk,
    ...rig,
    async stop(options) {
      await stop(options, () => clickhouse.stop());
      disk?.stop();
    },
  };
}

export async function startPostgresRig(): Promise<PostgresRig> {
  const stores = await startPostgresStores();
  return { stores, clickhouse: null, ...(await startPlaces(stores, { EVENT_STORE: 'postgres' })) };
}

/** The same with a broker; its topic stands between the Weirs that take events and those that insert. */
export type KafkaRig = Rig & { readonly kafka: Kafka };

const TOPIC = 'weir.chaos';
const PARTITIONS = 4;

export async function startKafkaRig(broker: Parameters<typeof startKafka>[0] = {}): Promise<KafkaRig> {
  const [stores, kafka] = await Promise.all([startStores(), startKafka(broker)]);
  const [clickhouse] = await Promise.all([
    startHttpProxy(stores.clickhouseUrl),
    kafka.createTopic(TOPIC, { partitions: PARTITIONS }),
  ]);
  const settings = {
    CHANNEL: 'kafka',
    KAFKA_BROKERS: kafka.proxied,
    KAFKA_TOPIC: TOPIC,
  };
  const { stop, ...rig } = await startPlaces(stores, { CLICKHOUSE_URL: clickhouse.url, ...settings });
  return {
    stores,
    clickhouse,
    kafka,
    disk: null,
    ...rig,
    stop: (options) => stop(options, async () => void (await Promise.all([clickhouse.stop(), kafka.stop()]))),
  };
}

/** Places for Weirs with these settings, behind a proxy in front of Postgres. */
async function startPlaces(
  stores: Pick<Stores, 'databaseUrl' | 'postgres' | 'postgresServer' | 'stop'>,
  settings: Record<string, string>,
) {
  const dir = await mkdtemp(join(tmpdir(), 'weir-rig-'));
  const postgres = await startTcpProxy(stores.postgresServer.port);
  const databaseUrl = stores.databaseUrl.replace(`:${stores.postgresServer.port}/`, `:${postgres.port}/`);
  const { id: projectId } = await createProjects(stores.postgres.db).create({
    name: 'rig',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const token = await createTokens(stores.postgres.db).create({
    projectId,
    kind: 'public',
    name: 'rig',
    imported: null,
  });
  const children = new Set<ChildProcess>();
  const killAll = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  process.once('exit', killAll);

  return {
    postgres,
    projectId,
    token: token!.plaintext,
    place: (name: string, env: Record<string, string> = {}) =>
      createPlace(join(dir, name), { ...settings, DATABASE_URL: databaseUrl, ...QUICK, ...env }, children),
    async stop({ keepLogs = false }: { keepLogs?: boolean } = {}, stopOthers: () => Promise<void> = async () => {}) {
      const gone = [...children].map((child) => once(child, 'exit'));
      killAll();
      await Promise.all(gone);
      process.removeListener('exit', killAll);
      await Promise.all([stopOthers(), postgres.stop()]);
      await stores.stop();
      if (!keepLogs) await rm(dir, { recursive: true, force: true });
    },
  };
}

function createPlace(dataDir: string, env: Record<string, string>, children: Set<ChildProcess>): WeirPlace {
  const logFile = `${dataDir}.log`;
  let child: ChildProcess | null = null;
  let url: string | null = null;
  let isTold = false;
  let crashes = 0;

  return {
    dataDir,
    logFile,
    url: () => url,
    pid: () => child?.pid ?? null,
    start,
    async terminate() {
      const ended = end('SIGTERM');
      return ended;
    },
    async kill() {
      await end('SIGKILL');
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    crashes: () => crashes,
    blockLog: () => child?.stderr?.unpipe(),
    readLog: () => child?.stderr?.pipe(createWriteStream(logFile, { flags: 'a' })),
  };

  async function start(more: Record<string, string> = {}): Promise<void> {
    const log = openSync(logFile, 'a');
    const started = spawn(process.execPath, [...NODE_FLAGS, MAIN, 'serve'], {
      cwd: tmpdir(),
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        HOST: '127.0.0.1',
        PORT: String(freePort()),
        CONSOLE_PORT: 'off',
        WEIR_DATA_DIR: dataDir,
        ...env,
        ...more,
      },
      stdio: ['ignore', log, 'pipe'],
    });
    closeSync(log);
    started.stderr?.pipe(createWriteStream(logFile, { flags: 'a' }));
    children.add(started);
    started.once('exit', () => {
      children.delete(started);
      if (!isTold) crashes++;
      if (child === started) url = child = null;
    });
    child = started;
    isTold = false;
    while (url === null) {
      if (started.exitCode !== null || started.signalCode !== null) {
        throw new Error(`weir did not start:\n${readFileSync(logFile, 'utf8').slice(-2_000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const runtime = readRuntime(dataDir);
      // A file of the process before, which was killed, does not count.
      if (runtime.kind === 'running' && runtime.pid === started.pid) url = runtime.url;
    }
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    if (child === null) return null;
    const ending = child;
    isTold = true;
    const exited = once(ending, 'exit') as Promise<[number | null]>;
    ending.kill(signal);
    // Clients find out by themselves that nobody listens any more; new ones go elsewhere.
    if (signal === 'SIGKILL') url = null;
    const [code] = await exited;
    return code;
  }
}

/** What a Weir says of itself; null while it does not answer. */
export async function healthOf(url: string | null): Promise<Health | null> {
  if (url === null) return null;
  try {
    const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) });
    return (await answer.json()) as Health;
  } catch {
    return null;
  }
}

export type Health = {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly reasons: readonly string[];
  readonly pending: number;
  /** Also of events that were answered and are on their way to the journal. */
  readonly pending_bytes: number;
  readonly unhomed_batches: number;
  readonly breaker: string;
  readonly topic: { readonly reading: { readonly partitions: number; readonly lag_records: number } | null } | null;
};

export async function isReady(url: string | null): Promise<boolean> {
  if (url === null) return false;
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

/** Asks again until it holds. Throws with `what` when it does not within `timeoutMs`. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, timeoutMs = 90_000): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; !(await holds());) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Whether nothing is on its way any more: all memory empty, no dead letter that is still replayed. */
export async function isQuiet(rig: Rig | PostgresRig | KafkaRig, places: readonly WeirPlace[]): Promise<boolean> {
  const healths = await Promise.all(places.map(({ url }) => healthOf(url())));
  const isEmpty = (health: Health | null) =>
    health !== null &&
    health.pending === 0 &&
    health.pending_bytes === 0 &&
    health.unhomed_batches === 0 &&
    (health.topic?.reading?.lag_records ?? 0) === 0;
  if (!healths.every(isEmpty)) return false;
  // What nobody reads lags unseen.
  const readings = healths.flatMap((health) => health?.topic?.reading ?? []);
  if ('kafka' in rig && readings.reduce((sum, { partitions }) => sum + partitions, 0) !== PARTITIONS) return false;
  const { rows } = await rig.stores.postgres.pool.query(
    'SELECT 1 FROM failed_events WHERE quarantined_at IS NULL LIMIT 1',
  );
  return rows.length === 0;
}

/** Empties the stores of events, for the next test. */
export async function forgetEvents({ stores }: Rig | PostgresRig): Promise<void> {
  if ('clickhouse' in stores) {
    const { clickhouse, database } = stores;
    for (const table of ['events_raw_v1', 'event_counts_hourly', 'event_copies', 'event_users', 'identity_links']) {
      await clickhouse.command({ query: `TRUNCATE TABLE ${database}.${table}` });
    }
  } else {
    const tables = ['events_raw', 'event_batches', 'event_counts_hourly', 'identities', 'event_users_daily'];
    await stores.select(`TRUNCATE ${tables.map((table) => `analytics.${table}`).join(', ')}`);
  }
  await stores.postgres.pool.query('TRUNCATE failed_events, failed_events_audit');
}
