/**
 * A file lock that the kernel releases when its holder dies, however it dies; so there are no stale locks to recognise
 * and no process ids that now belong to another program, and two containers on one volume see each other. Node has no
 * flock; SQLite, which is built in, takes the same kind of lock for a transaction that never ends.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { pid } from 'node:process';
import { DatabaseSync } from 'node:sqlite';

/** Another live process writes this journal. */
export class JournalLocked extends Error {
  override readonly name = 'JournalLocked';
  /** The holder, as `pid 12 on host`; null when it did not get to record that. */
  readonly holder: string | null;

  constructor(path: string, holder: string | null) {
    super(
      `the journal is in use by ${holder ?? 'another process'} (lock ${path}); ` +
        'stop that Weir, or give this one its own WEIR_DATA_DIR',
    );
    this.holder = holder;
  }
}

const SQLITE_BUSY = 5;

/** Takes the lock or throws `JournalLocked`. Returns its release. */
export function lockFile(path: string): () => void {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: unknown }).errcode !== SQLITE_BUSY) throw error;
    throw new JournalLocked(path, holderOf(path));
  }
  noteHolder(path);
  return () => database.close();
}

// In a file beside the lock: no other process can read the locked one itself.
const holderPath = (path: string) => `${path}.holder`;

function noteHolder(path: string): void {
  try {
    writeFileSync(holderPath(path), `pid ${pid} on ${hostname()}`);
  } catch {
    // It only improves another process's message; the lock itself is held.
  }
}

function holderOf(path: string): string | null {
  try {
    return readFileSync(holderPath(path), 'utf8');
  } catch {
    return null;
  }
}
