/**
 * What the journal needs of a file system, and the real one. A separate seam, so that tests can use a file system that
 * distinguishes synced from unsynced bytes and crashes between the two.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { lockFile } from './lock.ts';

/** A file being written. After `sync` its content survives a power cut, if the directory was synced too. */
export type WritableFile = {
  /** Writes all of `bytes`, from `position` on. A failure may leave any part of them. */
  write(bytes: Buffer, position: number): Promise<void>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
};

export type JournalFiles = {
  makeDirectory(dir: string): Promise<void>;
  list(dir: string): Promise<string[]>;
  read(path: string): Promise<Buffer>;
  size(path: string): Promise<number>;
  /** Creates a file that must not exist. */
  create(path: string): Promise<WritableFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in the directory survive a power cut. */
  syncDirectory(dir: string): Promise<void>;
  /** Keeps every other process out until the release, or the end of this process. Throws `JournalLocked`. */
  lock(dir: string): Promise<() => void>;
};

/** The file system of the machine. */
export const nodeFiles: JournalFiles = {
  makeDirectory: async (dir) => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  },
  list: (dir) => readdir(dir),
  read: (path) => readFile(path),
  size: async (path) => (await stat(path)).size,
  create: async (path) => writableFile(await open(path, 'wx', 0o600)),
  rename,
  remove: unlink,
  syncDirectory: async (dir) => {
    const handle = await open(dir, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  lock: async (dir) => lockFile(join(dir, 'lock')),
};

/** The same files; `onSynced` receives the duration of each sync, whatever its outcome. */
export function timedFiles(
  files: JournalFiles,
  { clock, onSynced }: { clock: Pick<Clock, 'elapsed'>; onSynced: (elapsedMs: number) => void },
): JournalFiles {
  return { ...files, create };

  async function create(path: string): Promise<WritableFile> {
    const file = await files.create(path);
    return {
      ...file,
      async sync() {
        const startedAt = clock.elapsed();
        try {
          await file.sync();
        } finally {
          onSynced(clock.elapsed() - startedAt);
        }
      },
    };
  }
}

function writableFile(handle: FileHandle): WritableFile {
  return {
    write: async (bytes, position) => {
      for (let at = 0; at < bytes.length;) {
        at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
      }
    },
    truncate: (length) => handle.truncate(length),
    // Enough for a growing file: fdatasync also writes its size, which is needed to read the bytes back.
    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}
