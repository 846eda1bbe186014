/**
 * The process around a running Weir: who runs in this data directory, the
 * embedded stores, the banner, signals and the exit code.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import closeWithGrace from 'close-with-grace';
import { banner } from './banner.ts';
import type { Io } from './cli/io.ts';
import { systemClock } from './clock.ts';
import { type Config, clickHouseAccess } from './config.ts';
import { type Demo, demoBeside } from './demo.ts';
import type { KeptStore } from './embedded/keep-running.ts';
import { CannotListen, findFreePort } from './http/server.ts';
import { type Log, createLog } from './log.ts';
import { AlreadyRunning, type RuntimeClaim, claimRuntime, readRuntime } from './runtime-file.ts';
import { JournalUnusable } from './safekeeping.ts';
import { type StoreAccess, startWeir } from './weir.ts';
import { abandonedWorkers, predecessorsGone } from './workers/places.ts';
import { WorkerCannotStart, startSupervisor } from './workers/supervisor.ts';

const DISK_FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Beyond the grace for the events: closing connections and ending embedded stores. */
const FOR_STORES_MS = 20_000;
/** Beyond the same grace: workers that lost their supervisor. */
const FOR_PREDECESSORS_MS = 5_000;

/** What one process does alone, or a supervisor has its workers do. */
type Service = {
  readonly port: number;
  /** null where there is to be none. May wait for the stores. */
  findDemo(): Promise<Demo | null>;
  admitAnonymous(projectId: string): void;
  /** `unclean`: workers that did not end as they should. */
  stop(): Promise<{ readonly lost: number; readonly unclean: number }>;
  /** Saves what is in memory, synchronously, and says how that went. */
  leave(why: string): void;
};

type Embedded = { readonly access: StoreAccess; readonly stores: readonly KeptStore[] };

/**
 * Runs until a signal or a fatal error ends the process; returns only when it
 * could not start, with the exit code. The process exits 0 when every accepted
 * event has a durable home.
 */
export async function serve(config: Config, io: Io): Promise<number> {
  const log = createLog(config.logLevel);
  let runtime: RuntimeClaim | null = null;
  let embedded: Embedded | null = null;
  try {
    if (readRuntime(config.dataDir).kind !== 'running') await predecessorsGone(config.dataDir, waitingFor(config, log));
    const port = await findFreePort(config);
    runtime = claimDirectory(config, log);
    embedded = await startMissingStores(config, log, io);
    const service = await startService({ config, port, access: embedded.access, log });
    stopOnSignals({ service, stores: embedded.stores, runtime, config, log });
    await announce({ service, embedded, runtime, config, log, io });
    return await new Promise<never>(() => {});
  } catch (error) {
    for (const store of embedded?.stores ?? []) await store.stop();
    runtime?.release();
    if (!(error instanceof Error) || !isExplained(error)) throw error;
    io.stderr(`${error.message}\n`);
    return 1;
  }
}

const waitingFor = ({ shutdownGraceMs }: Config, log: Log) => ({
  clock: systemClock,
  log,
  withinMs: shutdownGraceMs + FOR_PREDECESSORS_MS,
});

/** One process, unless there are to be several, or some of an earlier several left something. */
async function startService({
  config,
  port,
  access,
  log,
}: {
  config: Config;
  port: number;
  access: StoreAccess;
  log: Log;
}): Promise<Service> {
  const parts = { config, access, version: readVersion(), clock: systemClock, log };
  if (config.workers > 1 || abandonedWorkers(config.dataDir, config.workers).length > 0) {
    const { createFork } = await import('./workers/fork.ts');
    // One port for all of them, also when all of them die at the same time.
    const shared = { ...parts, config: { ...config, port } };
    const supervisor = await startSupervisor({ ...shared, fork: createFork(), random: Math.random });
    return {
      ...supervisor,
      leave(why) {
        supervisor.leave();
        log.fatal({ workers: config.workers }, why);
      },
    };
  }
  const weir = await startWeir(parts);
  return {
    ...weir,
    findDemo: () => demoBeside(config, weir),
    stop: async () => ({ lost: (await weir.stop()).lost, unclean: 0 }),
    leave: (why) => log.fatal({ ...weir.saveNow() }, why),
  };
}

/** The file that says who runs here is a convenience; a journal that has to be there is not. */
function claimDirectory({ dataDir, journal }: Config, log: Log): RuntimeClaim {
  try {
    return claimRuntime(dataDir, process.pid);
  } catch (error) {
    if (error instanceof AlreadyRunning) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    // A full disk is no reason to stay away: what the journal holds can be delivered, and that makes room.
    if (journal.mode === 'on' && !DISK_FULL.has(code)) {
      throw new JournalUnusable(
        `the data directory ${dataDir} cannot be used (${code}): make it writable, set WEIR_DATA_DIR to another directory, or INGEST_JOURNAL to prefer or off`,
        { cause: error },
      );
    }
    log.warn({ err: error, code }, 'data directory cannot be written; other commands will not find this process');
    return { publish: () => {}, release: () => {} };
  }
}

/** Failures whose message already says what to do; a stack would only hide it. */
function isExplained(error: Error): boolean {
  return (
    error instanceof CannotListen ||
    error instanceof AlreadyRunning ||
    error instanceof JournalUnusable ||
    error instanceof WorkerCannotStart ||
    error.name === 'EmbeddedStoreError'
  );
}

/** Starts each store that is not configured. The engines are loaded only then: production does not have them. */
async function startMissingStores(config: Config, log: Log, io: Io): Promise<Embedded> {
  const starting: Promise<KeptStore>[] = [];
  const options = { clock: systemClock, log };
  const startStore = (load: () => Promise<KeptStore>) => {
    if (starting.length === 0) io.stderr('Starting the embedded stores…\n');
    const started = load();
    starting.push(started);
    return started;
  };
  const clickhouse =
    config.clickhouse.url === null
      ? startStore(async () => {
          const { startEmbeddedClickHouse } = await import('./embedded/clickhouse.ts');
          const { keepRunning } = await import('./embedded/keep-running.ts');
          const dir = join(config.dataDir, 'clickhouse');
          return keepRunning('clickhouse', (port) => startEmbeddedClickHouse(place(dir, port, options)), options);
        })
      : null;
  const postgres =
    config.databaseUrl === null
      ? startStore(async () => {
          const { startEmbeddedPostgres } = await import('./embedded/postgres.ts');
          const { keepRunning } = await import('./embedded/keep-running.ts');
          const dir = join(config.dataDir, 'postgres');
          return keepRunning('postgres', (port) => startEmbeddedPostgres(place(dir, port, options)), options);
        })
      : null;

  const settled = await Promise.allSettled(starting);
  const stores = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed) {
    for (const store of stores) await store.stop();
    throw failed.reason;
  }
  return {
    stores,
    access: {
      databaseUrl: config.databaseUrl ?? (await postgres!).url,
      clickhouse: clickhouse
        ? withUrl(clickHouseAccess(new URL((await clickhouse).url), { username: null, password: null }))
        : withUrl(config.clickhouse),
    },
  };
}

const place = <T extends object>(dir: string, port: number | undefined, options: T) =>
  port === undefined ? { dir, ...options } : { dir, port, ...options };

const withUrl = <T extends { url: string | null }>(access: T) => ({ ...access, url: access.url! });

type Running = {
  readonly service: Service;
  readonly embedded: Embedded;
  readonly runtime: RuntimeClaim;
  readonly config: Config;
  readonly log: Log;
  readonly io: Io;
};

/** Tells scripts (runtime.json), logs and, outside production, the person at the terminal that it runs. */
async function announce({ service, embedded, runtime, config, log, io }: Running): Promise<void> {
  const host = config.host === '0.0.0.0' || config.host === '::' ? 'localhost' : config.host;
  const url = `http://${host}:${service.port}`;
  const { databaseUrl, clickhouse } = embedded.access;
  runtime.publish({ url, clickhouseUrl: withCredentials(clickhouse), databaseUrl });
  log.info({ url, settings: config.effective.filter(({ source }) => source !== 'default') }, 'listening');
  if (config.production) return;

  const demo = await service.findDemo();
  if (demo && config.anonymousProject === null) service.admitAnonymous(demo.project_id);
  io.stdout(
    banner({ url, dataDir: config.dataDir, token: demo?.public_token ?? null, isEmbedded: embedded.stores.length > 0 }),
  );
}

/** The address as a script can use it; `runtime.json` is readable by its owner only. */
function withCredentials({ url, username, password }: StoreAccess['clickhouse']): string {
  const full = new URL(url);
  if (username !== 'default' || password !== '') Object.assign(full, { username, password });
  return full.href.replace(/\/$/, '');
}

function stopOnSignals(running: {
  service: Service;
  stores: readonly KeptStore[];
  runtime: RuntimeClaim;
  config: Config;
  log: Log;
}): void {
  const { service, stores, runtime, config, log } = running;
  const saveAndLeave = (why: string) => {
    service.leave(why);
    runtime.release();
  };

  closeWithGrace(
    {
      delay: config.shutdownGraceMs + FOR_STORES_MS,
      logger: false,
      onTimeout: () => saveAndLeave('shutdown took too long'),
      onSecondSignal: () => saveAndLeave('second signal: leaving at once'),
      onSecondError: () => saveAndLeave('second error while shutting down'),
    },
    async ({ signal, err }) => {
      if (err) log.fatal({ err }, 'unexpected error: shutting down');
      else log.info({ signal }, 'signal received');
      const { lost, unclean } = await service.stop();
      await Promise.all(stores.map((store) => store.stop()));
      runtime.release();
      log.info({ lost }, 'stopped');
      // close-with-grace exits 1 on a failed close and 0 otherwise.
      if (unclean > 0) throw new Error(`${unclean} workers did not end in order`);
      if (lost > 0) throw new Error(`${lost} events have no durable home`);
    },
  );
}

function readVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}
