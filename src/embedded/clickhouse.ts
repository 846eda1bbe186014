import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { EmbeddedStoreError, startStore } from './store-process.ts';
import type { EmbeddedStore } from './store-process.ts';

/**
 * A ClickHouse for trying out and for tests: the real server over HTTP on a
 * loopback port, its data under `dir` and kept between runs. Survives
 * `kill -9` with its data. Throws `EmbeddedStoreError` saying what to do.
 */
export async function startEmbeddedClickHouse(options: {
  dir: string;
  port?: number;
  log?: Log;
  clock?: Clock;
}): Promise<EmbeddedStore> {
  const libraryPath = findLibrary();
  const dir = resolve(options.dir);
  const dataDir = join(dir, 'data');
  mkdirSync(dataDir, { recursive: true });
  // Tells our server from a stranger's that got the port first.
  const name = hash('sha256', dir);
  const configFile = join(dir, 'config.xml');
  writeFileSync(configFile, configOf(name));

  const recipe = {
    name: 'embedded ClickHouse',
    dir,
    hostFile: join(import.meta.dirname, 'clickhouse-host.ts'),
    logFile: join(dir, 'clickhouse.log'),
    hostArguments: (port: number) => [libraryPath, ...serverArguments(dataDir, configFile, port)],
    isReady: async (port: number, pid: number) => (await answersAs(name, port)) && holdsDirectory(dataDir, pid),
  };
  const running = await startStore(recipe, options.port, options.clock ?? systemClock, options.log);
  return { ...running, url: `http://127.0.0.1:${running.port}` };
}

function serverArguments(dataDir: string, configFile: string, port: number): readonly string[] {
  // A flag it does not know ends it without a word: settings belong in its configuration file.
  return [
    'clickhouse',
    '--path',
    dataDir,
    `--config-file=${configFile}`,
    '--listen_host=127.0.0.1',
    `--http_port=${port}`,
    '--multiquery',
    '--query',
    // The second statement keeps it alive; the clients' queries run beside it.
    `SYSTEM START LISTEN HTTP;
     SELECT sleepEachRow(3) FROM system.numbers FORMAT Null
     SETTINGS function_sleep_max_microseconds_per_block = 0, max_execution_time = 0`,
  ];
}

async function answersAs(name: string, port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/?query=SELECT+1`, { signal: AbortSignal.timeout(2000) });
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

function findLibrary(): string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new EmbeddedStoreError(
      `the embedded ClickHouse exists only for linux-x64 with glibc, this is ${process.platform}-${process.arch}; set CLICKHOUSE_URL`,
    );
  }
  const { resolve: find } = createRequire(import.meta.url);
  for (const packageName of ['@chdb/lib-linux-x64-gnu', 'ffi-rs']) {
    try {
      find(packageName);
    } catch (cause) {
      throw new EmbeddedStoreError(
        `the embedded ClickHouse needs the package ${packageName}, which is not installed; set CLICKHOUSE_URL, or run npm ci with its optional and development packages`,
        { cause },
      );
    }
  }
  return join(dirname(find('@chdb/lib-linux-x64-gnu')), 'libchdb.so');
}

/** Modest, for a machine of two cores that also runs everything else. */
const configOf = (name: string) => `<clickhouse>
  <display_name>${name}</display_name>
  <keep_alive_timeout>30</keep_alive_timeout>
  <max_server_memory_usage>3000000000</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <merge_tree>
    <!-- These must not exceed the small pool above, or merges and mutations never start. -->
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    <merge_with_ttl_timeout>3600</merge_with_ttl_timeout>
    <!-- Parts wait for more of their size before they are merged (usually 5): each row is then rewritten less often. -->
    <merge_selector_base>8</merge_selector_base>
  </merge_tree>
</clickhouse>
`;
