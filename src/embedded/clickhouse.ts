import { hash, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { KEY_HEADER } from '../clickhouse/connection/key.ts';
import { hostFileOf } from '../runtime/own-files.ts';
import { configOf } from './clickhouse-config.ts';
import { EmbeddedStoreError, startStore } from './store-process.ts';
import type { EmbeddedStore, StartOptions } from './store-process.ts';

const LIBRARY = '@chdb/lib-linux-x64-gnu';
const { resolve: find } = createRequire(import.meta.url);

/** A key that every request to one embedded ClickHouse must carry: 256 random bits. */
export const newKey = (): string => randomBytes(32).toString('hex');

/**
 * A ClickHouse for trying out and for tests: the real server over HTTP on a loopback port, with its data kept under
 * `dir` between runs. The data survives `kill -9`. Any user of the machine reaches the port, so it only answers
 * requests with `key` in the header `KEY_HEADER`; null opens it to everybody. Throws `EmbeddedStoreError` with the
 * remedy.
 */
export async function startEmbeddedClickHouse(
  options: StartOptions & { dir: string; key: string | null },
): Promise<EmbeddedStore> {
  const libraryPath = findLibrary();
  const dir = resolve(options.dir);
  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Also for a directory that an earlier version created with other rights: its content is ClickHouse's alone.
  chmodSync(dir, 0o700);
  // Distinguishes our server from another one that took the port first.
  const name = hash('sha256', dir);
  const { key } = options;
  const configFile = writeConfig(dir, configOf({ name, key }));

  const recipe = {
    name: 'embedded ClickHouse',
    dir,
    hostFile: hostFileOf('embedded/clickhouse-host'),
    logFile: join(dir, 'clickhouse.log'),
    hostArguments: (port: number) => [libraryPath, ...serverArguments(dataDir, configFile, port)],
    isReady: async (port: number, pid: number) =>
      (await answersAs({ name, key }, port)) && holdsDirectory(dataDir, pid),
  };
  const running = await startStore(recipe, options);
  return { ...running, url: `http://127.0.0.1:${running.port}` };
}

function serverArguments(dataDir: string, configFile: string, port: number): readonly string[] {
  // An unknown flag ends it without a message: settings belong in its configuration file.
  return [
    'clickhouse',
    '--path',
    dataDir,
    `--config-file=${configFile}`,
    '--listen_host=127.0.0.1',
    `--http_port=${port}`,
    '--multiquery',
    '--query',
    // The second statement keeps it alive; clients' queries run beside it.
    `SYSTEM START LISTEN HTTP;
     SELECT sleepEachRow(3) FROM system.numbers FORMAT Null
     SETTINGS function_sleep_max_microseconds_per_block = 0, max_execution_time = 0`,
  ];
}

/** The file holds the key, so only its owner may read it, whatever rights an earlier file had. */
function writeConfig(dir: string, content: string): string {
  const file = join(dir, 'config.xml');
  rmSync(file, { force: true });
  writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
  return file;
}

async function answersAs({ name, key }: { name: string; key: string | null }, port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/?query=SELECT+1`, {
      headers: key === null ? {} : { [KEY_HEADER]: key },
      signal: AbortSignal.timeout(2000),
    });
    await answer.arrayBuffer();
    return answer.ok && answer.headers.get('x-clickhouse-server-display-name') === name;
  } catch {
    return false; // Not listening yet; the caller asks again.
  }
}

/** Not the one that was killed a moment ago and still answers on the same port. */
function holdsDirectory(dataDir: string, pid: number): boolean {
  return readFileSync(join(dataDir, 'status'), 'utf8').startsWith(`PID: ${pid}\n`);
}

/** Why there is no embedded ClickHouse here, in words; null when there is. */
export function whyNoEmbeddedClickHouse(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `the embedded ClickHouse exists only for linux-x64 with glibc, this is ${process.platform}-${process.arch}`;
  for (const packageName of [LIBRARY, 'ffi-rs']) {
    try {
      find(packageName);
    } catch {
      return `the embedded ClickHouse needs the package ${packageName}, which is not installed`;
    }
  }
  return null;
}

function findLibrary(): string {
  const why = whyNoEmbeddedClickHouse();
  if (why === null) return join(dirname(find(LIBRARY)), 'libchdb.so');
  throw new EmbeddedStoreError(
    `${why}; set CLICKHOUSE_URL, or EVENT_STORE=postgres, or run npm ci with its optional and development packages`,
  );
}
