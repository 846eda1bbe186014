/**
 * Where each worker keeps what outlives it. Worker 1 has what a Weir that is
 * alone has, so that going from one to several and back loses nothing; every
 * other one has `workers/<number>`. A directory whose worker is no more is kept
 * until somebody has delivered what is in it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { JournalLocked, lockFile } from '../journal/lock.ts';
import type { Log } from '../log.ts';
import { type KeptIn, keptIn } from '../safekeeping.ts';

const AGAIN_MS = 100;
/** What a journal leaves behind when all it held has another home. */
const WORTHLESS = /^(lock(\.holder)?|reserve|\d+\.(log|base|draft))$/;

const workersDir = (dataDir: string) => join(dataDir, 'workers');
const ownDir = (dataDir: string, worker: number) =>
  worker === 1 ? dataDir : join(workersDir(dataDir), String(worker));

export function placeOf(dataDir: string, worker: number): KeptIn {
  return keptIn(ownDir(dataDir, worker));
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
 * Removes the directory of a worker that is no more, after it was delivered.
 * Files that could not be read are no rubbish: with them it stays, under
 * another name, which is returned.
 */
export function removePlace(dataDir: string, worker: number): string | null {
  const dir = ownDir(dataDir, worker);
  const { journalDir, savedDir } = placeOf(dataDir, worker);
  const isWorthless = listed(journalDir).every((name) => WORTHLESS.test(name)) && listed(savedDir).length === 0;
  if (isWorthless) {
    rmSync(dir, { recursive: true, force: true });
    return null;
  }
  let keptAs = `${dir}.set-aside`;
  for (let copy = 2; existsSync(keptAs); copy++) keptAs = `${dir}.set-aside-${copy}`;
  renameSync(dir, keptAs);
  return keptAs;
}

/** Says that this process is that worker, until the release or its end, however it comes. Throws `JournalLocked` when another one is. */
export function claimPlace(dataDir: string, worker: number): () => void {
  try {
    mkdirSync(workersDir(dataDir), { recursive: true });
    return lockFile(join(workersDir(dataDir), `${worker}.lock`));
  } catch (error) {
    if (error instanceof JournalLocked) throw error;
    // Where nothing can be written there is nothing to keep others from; a journal that has to be there says so.
    return () => {};
  }
}

/**
 * Workers whose supervisor was killed end by themselves, but not at once: waits
 * until none is left, for as long as they may take.
 */
export async function predecessorsGone(
  dataDir: string,
  { clock, log, withinMs }: { clock: Clock; log: Log; withinMs: number },
): Promise<void> {
  const deadline = clock.elapsed() + withinMs;
  const locks = () => listed(workersDir(dataDir)).filter((name) => name.endsWith('.lock'));
  for (let looks = 0; locks().some((name) => isHeld(join(workersDir(dataDir), name))); looks++) {
    if (looks === 0) log.info({ withinMs }, 'waiting for workers whose supervisor was killed');
    if (clock.elapsed() >= deadline) return;
    await clock.sleep(AGAIN_MS);
  }
}

function isHeld(lock: string): boolean {
  try {
    lockFile(lock)();
    return false;
  } catch (error) {
    // A lock that cannot be tried says nothing; whoever needs it says why.
    return error instanceof JournalLocked;
  }
}

function listed(dir: string): string[] {
  // Most data directories have never seen a second worker.
  return existsSync(dir) ? readdirSync(dir) : [];
}
