/**
 * What the journal asks of a file system, and the real one. A seam of its own so
 * that tests can put a file system there that keeps what was synced apart from
 * what was not, and crashes between the two.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFile } from './lock.ts';

/** A file being written. After `sync` what was written survives a power cut, if also the directory was synced. */
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
  /** Makes a file that was not there. */
  create(path: string): Promise<WritableFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in it survive a power cut. */
  syncDirectory(dir: string): Promise<void>;
  /** Keeps every other process out until the release, or the end of this process. Throws `JournalLocked`. */
  lock(dir: string): Promise<() => void>;
};

/** The file system of the machine. */
export const nodeFiles: JournalFiles = {
  makeDirectory: async (dir) => {
    await mkdir(dir, { recursive: true });
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

function writableFile(handle: FileHandle): WritableFile {
  return {
    write: async (bytes, position) => {
      for (let at = 0; at < bytes.length;) {
        at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
      }
    },
    truncate: (length) => handle.truncate(length),
    // Enough for a growing file: what is needed to read the bytes back, its size, is written too.
    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}
