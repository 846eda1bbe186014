/**
 * Where Weir's own files are, whether Node runs its sources (`src/`) or what is built of them (`dist/weir/`, all of it in
 * one folder): both are two folders below the root when this module is asked.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const IS_BUILT = import.meta.url.endsWith('.js');

/** The path of a file that is beside `src/`, such as `package.json`. */
export const fileOfRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The version of this Weir. */
export const ownVersion = (): string =>
  (JSON.parse(readFileSync(fileOfRoot('package.json'), 'utf8')) as { version: string }).version;

/** A program that runs in a process of its own: its file below `src/`, without the ending. */
export type HostProgram =
  | 'console/console-host'
  | 'embedded/clickhouse-host'
  | 'embedded/postgres-host'
  | 'workers/worker-host';

/** What Node is to run for it. */
export const hostFileOf = (program: HostProgram): string =>
  fileURLToPath(new URL(IS_BUILT ? `${basename(program)}.js` : `../${program}.ts`, import.meta.url));

/** Where Node keeps what it has compiled. What it holds is run, so it is not the shared /tmp. */
export const compileCacheDir = (): string => fileOfRoot('node_modules/.cache/weir');
