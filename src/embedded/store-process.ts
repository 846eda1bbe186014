/**
 * A database server as a child of Weir. Between the two stands a host process
 * of ours in a process group of its own: Ctrl-C reaches only Weir, which stops
 * its stores last, and when Weir dies in whatever way, the host's stdin ends
 * and takes the server down with it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type EmbeddedStore = {
  readonly url: string;
  /** The process that holds the data: signals sent to it hit the database itself. */
  readonly pid: number;
  readonly port: number;
  /** Resolves when the server is gone, for whatever reason. */
  readonly exited: Promise<Exit>;
  /** Ends the server with its data kept. May be called again, also after it died. */
  stop(): Promise<void>;
};

/** Why a store does not start, in words for the person who started Weir. */
export class EmbeddedStoreError extends Error {
  override readonly name = 'EmbeddedStoreError';
}

export type Recipe = {
  readonly name: string;
  readonly dir: string;
  readonly hostFile: string;
  /** Receives everything the server prints; kept over restarts up to a bound. */
  readonly logFile: string;
  hostArguments(port: number): readonly string[];
  /** The one at `port` answers, and is the process `pid`, not somebody else's server. */
  isReady(port: number, pid: number): Promise<boolean>;
};

type Running = { readonly port: number; readonly pid: number; readonly exited: Promise<Exit>; stop(): Promise<void> };

const MAX_LOG_BYTES = 4 * 1024 * 1024;
/** Recovery after a crash may replay a lot of log on a slow disk. */
const START_DEADLINE_MS = 60_000;
/** After a `kill -9` of Weir the old server may still be leaving its directory and port. */
const PREDECESSOR_DEADLINE_MS = 3000;
const RETRY_MS = 250;
const POLL_MS = 15;
const STOP_DEADLINE_MS = 15_000;

/**
 * Starts the server and resolves when it answers. Without `port` it takes a
 * free loopback port, and another one when somebody was quicker.
 */
export async function startStore(recipe: Recipe, port: number | undefined, clock: Clock, log?: Log): Promise<Running> {
  const startedAt = clock.elapsed();
  for (;;) {
    const attempt = await tryStart(recipe, port ?? (await findFreePort()), clock);
    if (attempt.outcome === 'ready') {
      log?.debug({ port: attempt.running.port, pid: attempt.running.pid }, 'embedded store started');
      return attempt.running;
    }
    const mayClear = attempt.outcome === 'locked' || attempt.outcome === 'port taken';
    if (!mayClear || clock.elapsed() - startedAt > PREDECESSOR_DEADLINE_MS) throw explain(recipe, attempt, port);
    await clock.sleep(RETRY_MS);
  }
}

type Attempt =
  | { readonly outcome: 'ready'; readonly running: Running }
  | { readonly outcome: 'locked' | 'port taken' | 'failed'; readonly text: string };

async function tryStart(recipe: Recipe, port: number, clock: Clock): Promise<Attempt> {
  const logFd = openSync(recipe.logFile, isTooLong(recipe.logFile) ? 'w' : 'a');
  const logStart = statSync(recipe.logFile).size;
  const host = spawn(process.execPath, [recipe.hostFile, ...recipe.hostArguments(port)], {
    detached: true,
    stdio: ['pipe', 'pipe', logFd],
  });
  closeSync(logFd);
  // Writing to a host that has died is not news: `exited` tells it.
  host.stdin?.on('error', () => {});
  const exited = once(host, 'exit').then(([code, signal]): Exit => ({ code, signal }));
  const pid = await Promise.race([firstNumber(host), exited.then(() => null)]);
  const isReady = pid !== null && (await becomesReady(recipe, { port, pid, exited, clock }));
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
  { port, pid, exited, clock }: { port: number; pid: number; exited: Promise<Exit>; clock: Clock },
): Promise<boolean> {
  const gone = new AbortController();
  exited.then(
    () => gone.abort(),
    () => gone.abort(),
  );
  const deadline = clock.elapsed() + START_DEADLINE_MS;
  while (!gone.signal.aborted && clock.elapsed() < deadline) {
    if (await recipe.isReady(port, pid)) return !gone.signal.aborted;
    await clock.sleep(POLL_MS, gone.signal);
  }
  return false;
}

/** The host prints the server's pid before anything else. */
async function firstNumber(host: ChildProcess): Promise<number | null> {
  if (!host.stdout) return null;
  for await (const line of createInterface({ input: host.stdout })) return Number(line);
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
  // A server that was paused could not hear the goodbye.
  if (pid !== null) signal(pid, 'SIGCONT');
  host.stdin?.end();
  await clock.sleep(STOP_DEADLINE_MS, timer.signal);
  if (!timer.signal.aborted) {
    if (pid !== null) signal(pid, 'SIGKILL');
    if (host.pid !== undefined) signal(-host.pid, 'SIGKILL');
  }
  await isGone;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already, which is what a signal here is for.
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

function explain(recipe: Recipe, attempt: { outcome: string; text: string }, port: number | undefined): Error {
  const { name, dir } = recipe;
  if (attempt.outcome === 'port taken')
    return new EmbeddedStoreError(`${name}: port ${port} is taken by another process`);
  if (attempt.outcome === 'locked') {
    const pid = /PID:? (\d+)/.exec(attempt.text + statusOf(dir))?.[1];
    const owner = pid ? `the process ${pid}` : 'another process';
    return new EmbeddedStoreError(
      `${name}: the directory ${dir} is in use by ${owner}; stop it, or set WEIR_DATA_DIR to another directory`,
    );
  }
  const lastLines = attempt.text.trim().split('\n').slice(-5).join('\n');
  return new EmbeddedStoreError(`${name} did not start; the end of ${recipe.logFile}:\n${lastLines}`);
}

/** ClickHouse names the owner of a directory in this file, not in its message. */
function statusOf(dir: string): string {
  try {
    return readFileSync(`${dir}/data/status`, 'utf8');
  } catch {
    return '';
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
