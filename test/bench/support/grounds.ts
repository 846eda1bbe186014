/**
 * Where benchmarks run: real stores of their own, a project with a token, and
 * Weirs and bare servers as processes of their own whose use of the machine can
 * be told from that of the load and the stores.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildServiceIfOlder } from '../../../build.ts';
import { SETTINGS } from '../../../src/config/settings.ts';
import type { ProjectId } from '../../../src/event/event.ts';
import { createProjects } from '../../../src/postgres/accounts/projects.ts';
import { createTokens } from '../../../src/postgres/accounts/tokens.ts';
import { readRuntime } from '../../../src/service/runtime-file.ts';
import { type PostgresStores, type Stores, startPostgresStores, startStores } from '../../support/stores.ts';
import { startWeir } from '../../support/weir.ts';
import { cpuMsOf, peakRssMiBOf, rssMiBOf, threadCpuMsOf } from './process-usage.ts';

/** A process under measurement. */
export type Benched = {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Processor time used so far. */
  cpuMs(): number;
  /** The memory it holds now. */
  rssMiB(): number;
  /** The most memory it has held so far; with several workers, that of the largest. */
  peakRssMiB(): number;
  /** Resolves when it has ended; throws when it did not end well. */
  stop(): Promise<void>;
};

export type BenchedWeir = Benched & {
  /** Resolves when nothing is pending: what was accepted is stored, or a dead letter. */
  settled(): Promise<void>;
  /** `/health`, as it is. */
  health(): Promise<Record<string, unknown>>;
  /** What it has logged so far. */
  logged(): string;
};

export type Grounds<S = Stores> = {
  readonly stores: S;
  readonly projectId: ProjectId;
  readonly token: string;
  /** A Weir that is ready: the settings of the grounds, then those given, over Weir's own defaults. */
  startBenched(settings?: Readonly<Record<string, string>>): Promise<BenchedWeir>;
  /** `bare-server.ts`: what HTTP and JSON cost by themselves. */
  startBare(): Promise<Benched>;
  /** Processor time that the store of the events has used so far. */
  storeCpuMs(): number;
  /** Stored rows since the last `forget`, and how many different events they are. */
  stored(): Promise<{ rows: number; events: number }>;
  /** Throws unless exactly so many events are stored, each once, and no dead letter is left. Call it when settled. */
  expectStored(acknowledged: number): Promise<void>;
  /** Empties the tables, so that no round has to work beside the merges of those before. */
  forget(): Promise<void>;
  /** Ends whatever still runs, and removes the data. */
  stop(): Promise<void>;
};

const BARE_SERVER = fileURLToPath(new URL('bare-server.ts', import.meta.url));
const READY_WITHIN_MS = 30_000;
/** Long enough to cost next to nothing beside the work it waits for. */
const POLL_MS = 25;
const SETTLED_WITHIN_MS = 300_000;
const LOG_SHOWN = 4_000;

type Settings = Readonly<Record<string, string>>;

/** In a batch, as INGEST_FLUSH_EVENTS is unless set otherwise. */
export const FLUSH_EVENTS = Number(SETTINGS.INGEST_FLUSH_EVENTS.default);
/** A whole round fits in: what is measured is not how often requests are refused. */
export const ROOM: Settings = { INGEST_EVENT_BUFFER: '250000', INGEST_BUFFER_BYTES: '256MiB' };
/** The rest of a round, too small for a batch, does not wait either: what is measured is not the flush interval. */
export const PROMPT: Settings = { ...ROOM, INGEST_FLUSH_INTERVAL: '200ms' };

export async function openGrounds({ settings = {} }: { settings?: Settings } = {}): Promise<Grounds> {
  const stores = await startStores();
  const holding = inClickHouse(stores);
  return groundsOn(stores, holding, { CLICKHOUSE_URL: stores.clickhouseUrl, ...settings });
}

/** Where Postgres stores the events too, and waits for the disk. */
export async function openPostgresGrounds({ settings = {} }: { settings?: Settings } = {}): Promise<
  Grounds<PostgresStores>
> {
  const stores = await startPostgresStores({ isDurable: true });
  return groundsOn(stores, inPostgres(stores), { EVENT_STORE: 'postgres', ...settings });
}

/** What a store has of events. */
type Holding = {
  pid(): number;
  stored(projectId: string): Promise<{ rows: number; events: number }>;
  forget(): Promise<void>;
};

async function groundsOn<S extends Stores | PostgresStores>(
  stores: S,
  holding: Holding,
  settings: Settings,
): Promise<Grounds<S>> {
  if (!(await buildServiceIfOlder())) throw new Error('npm ci brings what builds the service');
  const { id } = await createProjects(stores.postgres.db).create({
    name: 'bench',
    retentionSeconds: null,
    allowedOrigins: [],
  });
  const projectId = id as ProjectId;
  const token = await createTokens(stores.postgres.db).create({
    projectId,
    kind: 'public',
    name: 'bench',
    imported: null,
  });
  const children = new Set<ChildProcess>();
  const dataDirs: string[] = [];
  const killAll = () => {
    for (const child of children) child.kill('SIGKILL');
  };
  process.once('exit', killAll);

  return {
    stores,
    projectId,
    token: token!.plaintext,
    startBenched,
    startBare,
    storeCpuMs: () => cpuMsOf(holding.pid()),
    stored: () => holding.stored(projectId),
    expectStored,
    forget,
    async stop() {
      const ended = [...children].map((child) => once(child, 'close'));
      killAll();
      await Promise.all(ended);
      await stores.stop();
      for (const dir of dataDirs) rmSync(dir, { recursive: true, force: true });
      process.off('exit', killAll);
    },
  };

  async function startBenched(more: Readonly<Record<string, string>> = {}): Promise<BenchedWeir> {
    const dataDir = mkdtempSync(join(tmpdir(), 'weir-bench-'));
    dataDirs.push(dataDir);
    const weir = startWeir(['serve'], {
      cwd: dataDir,
      env: {
        HOST: '127.0.0.1',
        PORT: '0',
        WEIR_DATA_DIR: dataDir,
        DATABASE_URL: stores.databaseUrl,
        ...settings,
        ...more,
      },
    });
    own(weir.child);
    const explain = (what: string) => new Error(`${what}:\n${weir.written().slice(-LOG_SHOWN)}`);
    // One that takes no events is never ready.
    const page = more['INGEST_DISABLED'] === 'true' ? 'livez' : 'readyz';
    const url = await answeringUrlOf(dataDir, page, () => weir.child.exitCode !== null).catch((error: Error) => {
      throw explain(`Weir did not get ready (${error.message})`);
    });
    return {
      ...benched(weir.child, url),
      health: () => healthOf(url),
      logged: weir.written,
      async settled() {
        const until = performance.now() + SETTLED_WITHIN_MS;
        while ((await healthOf(url))['pending'] !== 0) {
          if (performance.now() > until) throw explain('Weir did not come to rest');
          await sleep(POLL_MS);
        }
      },
      async stop() {
        weir.child.kill('SIGTERM');
        const { code } = await weir.finished;
        rmSync(dataDir, { recursive: true, force: true });
        if (code !== 0) throw explain(`Weir ended with ${code}`);
      },
    };
  }

  async function startBare(): Promise<Benched> {
    const child = spawn(process.execPath, [BARE_SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
    own(child);
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    return {
      ...benched(child, `http://127.0.0.1:${Number(port.toString())}`),
      async stop() {
        const ended = once(child, 'close');
        child.kill('SIGTERM');
        await ended;
      },
    };
  }

  function own(child: ChildProcess) {
    children.add(child);
    child.once('close', () => children.delete(child));
  }

  async function expectStored(acknowledged: number) {
    const { rows, events } = await holding.stored(projectId);
    const { rows: letters } = await stores.postgres.pool.query<{ count: string }>('SELECT count(*) FROM failed_events');
    const dead = Number(letters[0]!.count);
    if (acknowledged > 0 && rows === acknowledged && events === acknowledged && dead === 0) return;
    throw new Error(
      `acknowledged ${acknowledged} events, but there are ${rows} rows of ${events} events and ${dead} dead letters`,
    );
  }

  async function forget() {
    await holding.forget();
    await stores.postgres.pool.query('TRUNCATE failed_events, failed_events_audit');
  }
}

const inClickHouse = (stores: Stores): Holding => ({
  pid: () => stores.clickhouseServer.pid(),
  async stored(projectId) {
    const [counted] = await stores.select<{ rows: string; events: string }>(
      `SELECT toString(count()) AS rows, toString(uniqExact(event_id)) AS events
       FROM ${stores.database}.events_raw_v1 WHERE project_id = '${projectId}'`,
    );
    return { rows: Number(counted!.rows), events: Number(counted!.events) };
  },
  async forget() {
    for (const table of ['events_raw_v1', 'event_counts_hourly', 'event_users', 'identity_links']) {
      await stores.clickhouse.command({ query: `TRUNCATE TABLE ${stores.database}.${table}` });
    }
  },
});

const inPostgres = (stores: PostgresStores): Holding => ({
  pid: () => stores.postgresServer.pid(),
  async stored(projectId) {
    const [counted] = await stores.select<{ rows: string; events: string }>(
      `SELECT count(*) AS rows, count(DISTINCT event_id) AS events
       FROM analytics.events_raw WHERE project_id = '${projectId}'`,
    );
    return { rows: Number(counted!.rows), events: Number(counted!.events) };
  },
  async forget() {
    await stores.select(
      `TRUNCATE analytics.events_raw, analytics.event_batches, analytics.event_counts_hourly,
         analytics.identities, analytics.event_users_daily`,
    );
  },
});

function benched(child: ChildProcess, url: string): Omit<Benched, 'stop'> {
  const pid = child.pid!;
  return {
    url,
    port: Number(new URL(url).port),
    pid,
    cpuMs: () => threadCpuMsOf(pid),
    rssMiB: () => rssMiBOf(pid),
    peakRssMiB: () => peakRssMiBOf(pid),
  };
}

/** Where the Weir of that directory listens, once the page says that all is well. */
async function answeringUrlOf(dataDir: string, page: string, hasEnded: () => boolean): Promise<string> {
  const until = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const runtime = readRuntime(dataDir);
    const url = runtime.kind === 'running' ? runtime.url : null;
    if (url && (await fetch(`${url}/${page}`).catch(() => null))?.ok) return url;
    if (hasEnded()) throw new Error('it has ended');
    if (performance.now() > until) throw new Error('it took too long');
    await sleep(POLL_MS);
  }
}

async function healthOf(url: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${url}/health`)).json()) as Record<string, unknown>;
}
