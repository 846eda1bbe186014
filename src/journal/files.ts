/**
 * What the journal needs of a file system, and the real one. A separate seam, so that tests can use a file system that
 * distinguishes synced from unsynced bytes and crashes between the two.
 */
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { lockFile } from './lock.ts';

/** A file being written. */
export type WritableFile = {
  /**
   * Writes all of `bytes`, from `position` on. When it resolves they survive a power cut, if the directory was synced
   * too. A failure may leave any part of them, on disk or only for readers.
   */
  write(bytes: Buffer, position: number): Promise<void>;
  /** When it resolves, it survives a power cut. */
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
};

export type JournalFiles = {
  makeDirectory(dir: string): Promise<void>;
  list(dir: string): Promise<string[]>;
  /** All of it, however large. */
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

/**
 * Whether the system writes and syncs in one call, as Linux does for a file opened with `O_DSYNC`, its size included:
 * one way to the thread pool instead of two, which costs a single event a tenth of its processor time (decision 68). On
 * macOS that flag is less than what `fdatasync` of Node asks for, and Windows has none.
 */
const SYNCS_AS_IT_WRITES = platform() === 'linux';
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (SYNCS_AS_IT_WRITES ? constants.O_DSYNC : 0);

/** The file system of the machine. */
export const nodeFiles: JournalFiles = {
  makeDirectory: async (dir) => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  },
  list: (dir) => readdir(dir),
  read: readWhole,
  size: async (path) => (await stat(path)).size,
  create: async (path) => writableFile(await open(path, CREATE, 0o600)),
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

/** `readFile` refuses files of more than 2 GiB, and one read returns no more. */
const MAX_READ_BYTES = 1024 ** 3;

async function readWhole(path: string): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    const { size } = await handle.stat();
    const content = Buffer.allocUnsafeSlow(size);
    let at = 0;
    while (at < size) {
      const { bytesRead } = await handle.read(content, at, Math.min(MAX_READ_BYTES, size - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return content.subarray(0, at);
  } finally {
    await handle.close();
  }
}

/** The same files; `onSynced` receives how long each write took to be on disk, whatever its outcome. */
export function timedFiles(
  files: JournalFiles,
  { clock, onSynced }: { clock: Pick<Clock, 'elapsed'>; onSynced: (elapsedMs: number) => void },
): JournalFiles {
  return { ...files, create };

  async function create(path: string): Promise<WritableFile> {
    const file = await files.create(path);
    return {
      ...file,
      async write(bytes, position) {
        const startedAt = clock.elapsed();
        try {
          await file.write(bytes, position);
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
      // Enough for a file that grows: fdatasync also writes its size, which is needed to read the bytes back.
      if (!SYNCS_AS_IT_WRITES) await handle.datasync();
    },
    truncate: async (length) => {
      await handle.truncate(length);
      await handle.sync();
    },
    close: () => handle.close(),
  };
}
