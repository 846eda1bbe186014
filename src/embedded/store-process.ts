/**
 * A database server as a child of Weir. Between the two runs a host process in a process group of its own: Ctrl-C
 * reaches only Weir, which stops its stores last, and however Weir dies, the host's stdin ends and takes the server
 * down with it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { pidIn } from './pid-line.ts';
import type { Log } from '../log/log.ts';

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type EmbeddedStore = {
  readonly url: string;
  /** The process that holds the data: signals sent to it hit the database itself. */
  readonly pid: number;
  readonly port: number;
  /** Resolves when the server is gone, for any reason. */
  readonly exited: Promise<Exit>;
  /** Stops the server and keeps its data. May be called again, also after the server died. */
  stop(): Promise<void>;
};

/** Why a store does not start, for the person who started Weir. */
export class EmbeddedStoreError extends Error {
  override readonly name = 'EmbeddedStoreError';
}

export type Recipe = {
  readonly name: string;
  readonly dir: string;
  readonly hostFile: string;
  /** Receives everything the server prints; kept over restarts up to a limit. */
  readonly logFile: string;
  hostArguments(port: number): readonly string[];
  /** Whether the server at `port` answers and is the process `pid`. */
  isReady(port: number, pid: number): Promise<boolean>;
};

type Running = { readonly port: number; readonly pid: number; readonly exited: Promise<Exit>; stop(): Promise<void> };

const MAX_LOG_BYTES = 4 * 1024 * 1024;
/** Recovery after a crash may replay a long log on a slow disk. */
const START_DEADLINE_MS = 60_000;
/** After a `kill -9` of Weir the old server may still be releasing its directory and port. */
const PREDECESSOR_DEADLINE_MS = 3000;
const RETRY_MS = 250;
const POLL_MS = 15;
const STOP_DEADLINE_MS = 15_000;

export type StartOptions = {
  readonly port?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Abandons the start when it aborts, with an `EmbeddedStoreError`; a server that already runs is left alone. */
  readonly signal?: AbortSignal;
};

/**
 * Starts the server and resolves when it answers. Without `port` it takes a free loopback port, and another one when a
 * different process was quicker.
 */
export async function startStore(
  recipe: Recipe,
  { port, clock = systemClock, log, signal }: StartOptions,
): Promise<Running> {
  const startedAt = clock.elapsed();
  for (;;) {
    if (signal?.aborted) throw givenUp(recipe.name);
    const attempt = await tryStart(recipe, port ?? (await findFreePort()), { clock, signal });
    if (attempt.outcome === 'ready') {
      log?.debug({ port: attempt.running.port, pid: attempt.running.pid }, 'embedded store started');
      return attempt.running;
    }
    if (signal?.aborted) throw givenUp(recipe.name);
    const mayClear = attempt.outcome === 'locked' || attempt.outcome === 'port taken';
    if (!mayClear || clock.elapsed() - startedAt > PREDECESSOR_DEADLINE_MS) throw explain(recipe, attempt, port);
    await clock.sleep(RETRY_MS);
  }
}

/**
 * Does `work` in the directory of a store that must not run, and retries while a predecessor may still be releasing it.
 * Throws what `work` throws, or names the process that holds it.
 */
export async function whileNotRunning(
  at: Pick<Recipe, 'name' | 'dir'>,
  clock: Clock,
  work: () => Promise<void>,
): Promise<void> {
  const startedAt = clock.elapsed();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const text = error instanceof Error ? error.message : '';
      if (outcomeOf(text) !== 'locked') throw error;
      if (clock.elapsed() - startedAt > PREDECESSOR_DEADLINE_MS) throw inUse(at, text);
    }
    await clock.sleep(RETRY_MS);
  }
}

type Attempt =
  | { readonly outcome: 'ready'; readonly running: Running }
  | { readonly outcome: 'locked' | 'port taken' | 'failed'; readonly text: string };

type StartDeps = { readonly clock: Clock; readonly signal: AbortSignal | undefined };

async function tryStart(recipe: Recipe, port: number, { clock, signal }: StartDeps): Promise<Attempt> {
  const logFd = openSync(recipe.logFile, isTooLong(recipe.logFile) ? 'w' : 'a');
  const logStart = statSync(recipe.logFile).size;
  const host = spawn(process.execPath, [recipe.hostFile, ...recipe.hostArguments(port)], {
    detached: true,
    stdio: ['pipe', 'pipe', logFd],
  });
  closeSync(logFd);
  // A write to a dead host is no news: `exited` reports it.
  host.stdin?.on('error', () => {});
  const exited = once(host, 'exit').then(([code, signal]): Exit => ({ code, signal }));
  const pid = await Promise.race([pidOf(host), exited.then(() => null)]);
  const isReady = pid !== null && (await becomesReady(recipe, { port, pid, exited, clock, signal }));
  if (isReady) {
    letGo(host);
    return { outcome: 'ready', running: { port, pid, exited, stop: () => stopHost(host, pid, exited, clock) } };
  }
  await stopHost(host, pid, exited, clock);
  const text = readFileSync(recipe.logFile).subarray(logStart).toString();
  return { outcome: outcomeOf(text), text };
}

async function becomesReady(
  recipe: Recipe,
  { port, pid, exited, clock, signal }: StartDeps & { port: number; pid: number; exited: Promise<Exit> },
): Promise<boolean> {
  const gone = new AbortController();
  const over = signal ? AbortSignal.any([gone.signal, signal]) : gone.signal;
  exited.then(
    () => gone.abort(),
    () => gone.abort(),
  );
  const deadline = clock.elapsed() + START_DEADLINE_MS;
  while (!over.aborted && clock.elapsed() < deadline) {
    if (await recipe.isReady(port, pid)) return !over.aborted;
    await clock.sleep(POLL_MS, over);
  }
  return false;
}

/** As the host says it; null when it ends before. */
async function pidOf(host: ChildProcess): Promise<number | null> {
  if (!host.stdout) return null;
  for await (const line of createInterface({ input: host.stdout })) {
    const pid = pidIn(line);
    if (pid !== null) return pid;
  }
  return null;
}

/** A running store must not keep a program alive that has nothing else to do. */
function letGo(host: ChildProcess): void {
  host.unref();
  for (const stream of [host.stdin, host.stdout]) (stream as { unref?(): void } | null)?.unref?.();
  host.stdout?.resume();
}

async function stopHost(host: ChildProcess, pid: number | null, exited: Promise<Exit>, clock: Clock): Promise<void> {
  host.ref();
  const timer = new AbortController();
  const isGone = exited.then(() => timer.abort());
  // A paused server could not receive the request to stop.
  if (pid !== null) send(pid, 'SIGCONT');
  host.stdin?.end();
  await clock.sleep(STOP_DEADLINE_MS, timer.signal);
  if (!timer.signal.aborted) {
    if (pid !== null) send(pid, 'SIGKILL');
    if (host.pid !== undefined) send(-host.pid, 'SIGKILL');
  }
  await isGone;
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is already gone, which is what the signal is for.
  }
}

function isTooLong(file: string): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES;
}

function outcomeOf(text: string): 'locked' | 'port taken' | 'failed' {
  if (/Address already in use|could not bind/.test(text)) return 'port taken';
  if (/Cannot lock file|lock file ".*" already exists|pre-existing shared memory block/.test(text)) return 'locked';
  return 'failed';
}

/** The process ended first. */
export function givenUp(name: string): EmbeddedStoreError {
  return new EmbeddedStoreError(`${name}: the start was given up`);
}

function explain(recipe: Recipe, attempt: { outcome: string; text: string }, port: number | undefined): Error {
  const { name } = recipe;
  if (attempt.outcome === 'port taken')
    return new EmbeddedStoreError(`${name}: port ${port} is taken by another process`);
  if (attempt.outcome === 'locked') return inUse(recipe, attempt.text);
  const lastLines = attempt.text.trim().split('\n').slice(-5).join('\n');
  return new EmbeddedStoreError(`${name} did not start; the end of ${recipe.logFile}:\n${lastLines}`);
}

function inUse({ name, dir }: Pick<Recipe, 'name' | 'dir'>, text: string): EmbeddedStoreError {
  const pid = /PID:? (\d+)/.exec(text + statusOf(dir))?.[1];
  const owner = pid ? `the process ${pid}` : 'another process';
  return new EmbeddedStoreError(
    `${name}: the directory ${dir} is in use by ${owner}; stop it, or set WEIR_DATA_DIR to another directory`,
  );
}

/** The stores name the owner of a directory in a file: ClickHouse after a word, Postgres in the first line. */
function statusOf(dir: string): string {
  return textOf(`${dir}/data/status`) + textOf(`${dir}/data/postmaster.pid`).replace(/^/, 'PID: ');
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // The other store, or one that has just ended.
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
