/**
 * Where each worker keeps its journal and spill files. Worker 1 uses the directory of a Weir without workers, so that
 * going from one worker to several and back loses nothing; every other one has `workers/<number>`. An abandoned
 * directory is kept until its events are delivered.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { JournalLocked, lockFile } from '../journal/lock.ts';
import type { Log } from '../log/log.ts';
import { type DurableDirs, durableDirs } from '../composition/durability.ts';

const CHECK_MS = 100;
/** Files that a journal leaves behind when all its events are delivered. */
const EMPTY_JOURNAL = /^(lock(\.holder)?|origin(\.draft)?|reserve|\d+\.(log|base|draft))$/;

const workersDir = (dataDir: string) => join(dataDir, 'workers');
const ownDir = (dataDir: string, worker: number) =>
  worker === 1 ? dataDir : join(workersDir(dataDir), String(worker));

export function workerDirectoryOf(dataDir: string, worker: number): DurableDirs {
  return durableDirs(ownDir(dataDir, worker));
}

/** The workers that left a directory and are not among the first `workers`. */
export function abandonedWorkers(dataDir: string, workers: number): number[] {
  return listed(workersDir(dataDir))
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((worker) => worker > workers)
    .sort((a, b) => a - b);
}

/**
 * Removes an abandoned directory after its delivery. One with unreadable files is kept under another name, which is
 * returned. Throws when that fails, for example where the directory is a mount point.
 */
export function removeWorkerDirectory(dataDir: string, worker: number): string | null {
  const dir = ownDir(dataDir, worker);
  const { journalDir, savedDir } = workerDirectoryOf(dataDir, worker);
  const isEmpty = listed(journalDir).every((name) => EMPTY_JOURNAL.test(name)) && listed(savedDir).length === 0;
  if (isEmpty) {
    rmSync(dir, { recursive: true, force: true });
    return null;
  }
  let keptAs = `${dir}.set-aside`;
  for (let copy = 2; existsSync(keptAs); copy++) keptAs = `${dir}.set-aside-${copy}`;
  renameSync(dir, keptAs);
  return keptAs;
}

/**
 * Claims the directory of a worker for this process, until the release or the end of the process. Throws
 * `JournalLocked` when another process holds it.
 */
export function claimWorkerDirectory(dataDir: string, worker: number): () => void {
  try {
    mkdirSync(workersDir(dataDir), { recursive: true, mode: 0o700 });
    return lockFile(join(workersDir(dataDir), `${worker}.lock`));
  } catch (error) {
    if (error instanceof JournalLocked) throw error;
    // Where nothing can be written there is nothing to protect; a required journal reports the problem.
    return () => {};
  }
}

/**
 * Workers whose supervisor was killed end by themselves, but not at once: waits until none is left, for as long as they
 * may take, or until `signal` aborts.
 */
export async function waitForPredecessors(
  dataDir: string,
  { clock, log, withinMs, signal }: { clock: Clock; log: Log; withinMs: number; signal?: AbortSignal },
): Promise<void> {
  const deadline = clock.elapsed() + withinMs;
  const locks = () => listed(workersDir(dataDir)).filter((name) => name.endsWith('.lock'));
  for (let checks = 0; locks().some((name) => isHeld(join(workersDir(dataDir), name))); checks++) {
    if (checks === 0) log.info({ withinMs }, 'waiting for workers whose supervisor was killed');
    if (signal?.aborted || clock.elapsed() >= deadline) return;
    await clock.sleep(CHECK_MS, signal);
  }
}

function isHeld(lock: string): boolean {
  try {
    lockFile(lock)();
    return false;
  } catch (error) {
    // A failed attempt to lock says nothing; the worker that needs the directory reports why.
    return error instanceof JournalLocked;
  }
}

function listed(dir: string): string[] {
  // Most data directories have never had a second worker.
  return existsSync(dir) ? readdirSync(dir) : [];
}
