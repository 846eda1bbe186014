/**
 * `runtime.json` in the data directory identifies the Weir that runs there and where its stores listen, so that other
 * commands find them without settings. The file exists exactly while a Weir runs. A killed process leaves it behind,
 * which a reader can tell, because a process is identified by its id *and* its start.
 *
 * The URLs may hold passwords, and the key opens the embedded ClickHouse: hence mode 0600.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kill } from 'node:process';
import * as v from 'valibot';

/**
 * Where a running Weir and its stores can be reached; null until it knows. Only one without ClickHouse has a `url` and
 * no `clickhouseUrl`: Postgres stores its events.
 */
export type Endpoints = {
  readonly url: string | null;
  readonly clickhouseUrl: string | null;
  /** The key of the embedded ClickHouse. */
  readonly clickhouseKey: string | null;
  readonly databaseUrl: string | null;
  /** Where people open the console. */
  readonly consoleUrl: string | null;
};

export type Instance = Endpoints & { readonly pid: number };

export type Runtime =
  | ({ readonly kind: 'running' } & Instance)
  /** Its process is gone, or its id now belongs to another program. */
  | ({ readonly kind: 'stale' } & Instance)
  | { readonly kind: 'absent' }
  /** This user may not look, or there is no directory at that place. `code` is the system's. */
  | { readonly kind: 'unreadable'; readonly code: string };

export type RuntimeClaim = {
  /** Writes all addresses. May be called again. Throws when the file cannot be written. */
  publish(endpoints: Endpoints): void;
  /** Removes the file if it is still ours. Throws when that fails. */
  release(): void;
};

/** Another Weir runs on the same data directory. */
export class AlreadyRunning extends Error {
  override readonly name = 'AlreadyRunning';
}

const NullableText = v.nullable(v.string());
const RuntimeJson = v.object({
  pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
  /** Distinguishes this process from a later one with the same id; null where the system does not tell. */
  started: NullableText,
  url: NullableText,
  clickhouse_url: NullableText,
  /** This and the console's are absent in files of earlier versions. */
  clickhouse_key: v.optional(NullableText, null),
  database_url: NullableText,
  console_url: v.optional(NullableText, null),
});
type RuntimeJson = v.InferOutput<typeof RuntimeJson>;

/** The Weir of this data directory, as far as the file and the process table tell. */
export function readRuntime(dataDir: string): Runtime {
  let found: RuntimeJson | null;
  try {
    found = readJson(pathIn(dataDir));
  } catch (error) {
    return { kind: 'unreadable', code: String(codeOf(error)) };
  }
  if (found === null) return { kind: 'absent' };
  const { pid, url, clickhouse_url: clickhouseUrl, clickhouse_key: clickhouseKey, database_url: databaseUrl } = found;
  const endpoints: Endpoints = { url, clickhouseUrl, clickhouseKey, databaseUrl, consoleUrl: found.console_url };
  return { kind: isSameProcess(found) ? 'running' : 'stale', pid, ...endpoints };
}

/**
 * Claims the data directory for the process `pid`, before anything is started in it. Throws `AlreadyRunning` when
 * another process holds it. When two try at the same time, one wins.
 */
export function claimRuntime(dataDir: string, pid: number): RuntimeClaim {
  // The directory holds events and tokens, so only its owner may read it. An existing directory keeps its rights.
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = pathIn(dataDir);
  const draft = `${path}.${pid}`;
  const own = { pid, started: startOf(pid) };
  const unknown: Endpoints = {
    url: null,
    clickhouseUrl: null,
    clickhouseKey: null,
    databaseUrl: null,
    consoleUrl: null,
  };

  try {
    write(draft, own, unknown);
    removeStale(dataDir, pid);
    linkSync(draft, path);
  } catch (error) {
    if (isExisting(error)) throw alreadyRunning(dataDir, readRuntime(dataDir));
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return { publish, release };

  function publish(endpoints: Endpoints) {
    try {
      write(draft, own, endpoints);
      renameSync(draft, path);
    } finally {
      rmSync(draft, { force: true });
    }
  }

  function release() {
    const current = readJson(path);
    if (current?.pid === own.pid && current.started === own.started) rmSync(path, { force: true });
  }
}

function removeStale(dataDir: string, pid: number): void {
  const path = pathIn(dataDir);
  const found = readRuntime(dataDir);
  if (found.kind === 'running' && found.pid !== pid) throw alreadyRunning(dataDir, found);
  // It may be that of a running Weir of another user.
  if (found.kind === 'unreadable') throw Object.assign(new Error(`${path} cannot be read`), { code: found.code });
  rmSync(path, { force: true });
}

function alreadyRunning(dataDir: string, found: Runtime): AlreadyRunning {
  const who =
    found.kind === 'absent' || found.kind === 'unreadable' ? 'Another Weir' : `Another Weir (process ${found.pid})`;
  return new AlreadyRunning(
    `${who} uses the data directory ${dataDir}. Stop it first, or set WEIR_DATA_DIR to another directory.`,
  );
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'runtime.json');
}

function write(path: string, { pid, started }: Pick<RuntimeJson, 'pid' | 'started'>, endpoints: Endpoints): void {
  const written: RuntimeJson = {
    pid,
    started,
    url: endpoints.url,
    clickhouse_url: endpoints.clickhouseUrl,
    clickhouse_key: endpoints.clickhouseKey,
    database_url: endpoints.databaseUrl,
    console_url: endpoints.consoleUrl,
  };
  // A draft that a crash left behind keeps its mode, so it is not reused.
  rmSync(path, { force: true });
  writeFileSync(path, `${JSON.stringify(written, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
}

/** Null when there is none, or none that this version understands: in both cases nothing is known. */
function readJson(path: string): RuntimeJson | null {
  try {
    const parsed = v.safeParse(RuntimeJson, JSON.parse(readFileSync(path, 'utf8')));
    return parsed.success ? parsed.output : null;
  } catch (error) {
    if (error instanceof SyntaxError || codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function isSameProcess({ pid, started }: Pick<RuntimeJson, 'pid' | 'started'>): boolean {
  const current = startOf(pid);
  // Without a start on either side (no /proc) the id alone decides.
  return current === started && (current !== null || isAlive(pid));
}

/** The boot id and start tick of a process; null when it is gone, or the system has no /proc. */
function startOf(pid: number): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isZombie = fields[0] === 'Z';
    return isZombie ? null : `${boot} ${fields[19]}`;
  } catch {
    // Not Linux, or no such process: the caller tries another way.
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    return kill(pid, 0);
  } catch (error) {
    // It exists, but belongs to another user.
    return codeOf(error) === 'EPERM';
  }
}

function isExisting(error: unknown): boolean {
  return codeOf(error) === 'EEXIST';
}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as { code?: unknown }).code : undefined;
}
